//! The integration tests.

mod cli;
mod config;
mod forming;
mod ground;
mod guard;
mod http;
mod init;
mod nodes_conf;
mod probes;
mod support;
