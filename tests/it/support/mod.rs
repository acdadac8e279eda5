//! What the integration tests, the benchmark and the demo stand on: real servers, wrapped or bare,
//! with addresses of their own on this machine, and guards that leave nothing behind.
//!
//! In reading order:
//! - [`left_out`]: says that something could not run on this machine;
//! - [`process`]: the one place that starts and ends processes;
//! - [`wait`]: waits for a state, with a deadline;
//! - [`server`]: the Redis and Valkey versions to test against;
//! - [`block`]: loopback addresses that nobody else uses;
//! - [`pod`], [`http`]: one server with its init, and what it answers;
//! - [`view`], [`fleet`]: the cluster as a node sees it, and many pods;
//! - [`dns`], [`netns`]: a name server and a network of the test's own.

#![allow(dead_code, reason = "each of the programs that include this uses a part of it")]

pub mod block;
pub mod dns;
pub mod fleet;
pub mod http;
pub mod left_out;
pub mod netns;
pub mod pod;
pub mod process;
pub mod server;
pub mod view;
pub mod wait;
