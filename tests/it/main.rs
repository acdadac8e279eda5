//! The integration tests.
mod config;
