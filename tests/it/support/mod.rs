//! What the integration tests, the benchmark and the demo stand on: real servers, wrapped or bare,
//! with addresses of their own on this machine, and guards that leave nothing behind.
//!
//! In reading order:
//! - [`left_out`]: says that something could not run on this machine;
//! - [`process`]: the one place that starts and ends processes;
//! - [`wait`]: waits for a state, with a deadline;
//! - [`running`]: a process that is spoken to by lines;
//! - [`server`]: the Redis and Valkey versions to test against;
//! - [`block`]: loopback addresses that nobody else uses;
//! - [`lock`]: certificates, users and passwords;
//! - [`pod`], [`http`]: one server with its init, and what it answers;
//! - [`view`], [`fleet`]: the cluster as a node sees it, and many pods;
//! - [`keys`]: keys in a fleet;
//! - [`writer`]: clients that write all the time, and what they lost;
//! - [`other`], [`forward`]: what is no Redis at all, and what is in front of one;
//! - [`dns`], [`netns`]: a name server and a network of the test's own;
//! - [`routed`]: a network for each pod, and a router between them that loses packets;
//! - [`engine`]: containers and their networks;
//! - [`rng`]: random numbers from a seed.

#![allow(dead_code, reason = "each of the programs that include this uses a part of it")]

pub mod block;
pub mod dns;
pub mod engine;
pub mod fleet;
pub mod forward;
pub mod http;
pub mod keys;
pub mod left_out;
pub mod lock;
pub mod netns;
pub mod other;
pub mod pod;
pub mod process;
pub mod rng;
pub mod routed;
pub mod running;
pub mod server;
pub mod view;
pub mod wait;
pub mod writer;
