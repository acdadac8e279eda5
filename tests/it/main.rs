//! The integration tests.

mod ground;
mod support;
