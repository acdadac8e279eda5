//! PID 1 for a Redis or Valkey Cluster pod.

pub mod agent;
pub mod board;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod discovery;
pub mod exit;
pub mod guard;
pub mod handover;
pub mod health;
pub mod http;
pub mod init;
pub mod install;
pub mod nodes_conf;
pub mod nodes_file;
pub mod probe;
pub mod redis;
pub mod run;
pub mod status;
pub mod telemetry;
