//! The integration tests.

mod ground;
mod http;
mod support;
