//! The integration tests.

mod config;
mod ground;
mod http;
mod init;
mod nodes_conf;
mod support;
