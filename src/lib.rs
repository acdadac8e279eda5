//! PID 1 for a Redis or Valkey Cluster pod.

pub mod exit;
pub mod health;
pub mod nodes_conf;
pub mod nodes_file;
