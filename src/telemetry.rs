//! Metrics for Prometheus, and logs.

pub mod logs;
pub mod metrics;
