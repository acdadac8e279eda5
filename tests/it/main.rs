//! The integration tests.

mod http;
mod ground;
mod support;
mod config;
mod nodes_conf;
