//! The integration tests.

mod http;
mod ground;
mod support;
