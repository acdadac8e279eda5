//! The integration tests.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod chaos;
mod cli;
mod commands;
mod config;
mod containers;
mod documents;
mod forming;
mod fuzz;
mod ground;
mod guard;
mod healing;
mod http;
mod init;
mod leaving;
mod locked;
mod manifests;
mod model;
mod nodes_conf;
mod probes;
mod support;
