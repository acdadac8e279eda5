//! What the integration tests share.

pub mod left_out;
pub mod process;
