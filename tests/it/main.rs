//! The integration tests.

mod cli;
mod commands;
mod config;
mod ground;
mod http;
mod init;
mod nodes_conf;
mod probes;
mod support;
