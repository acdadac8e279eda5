//! PID 1 for a Redis or Valkey Cluster pod.

pub mod cli;
pub mod config;
pub mod exit;
pub mod health;
pub mod install;
pub mod nodes_conf;
