//! The integration tests.

mod cli;
mod config;
mod forming;
mod ground;
mod http;
mod init;
mod model;
mod nodes_conf;
mod probes;
mod support;
