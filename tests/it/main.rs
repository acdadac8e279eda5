//! The integration tests.

mod init;
mod support;
