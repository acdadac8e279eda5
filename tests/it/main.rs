//! The integration tests.

mod cli;
mod config;
