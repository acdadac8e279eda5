//! The keeper.
pub mod model;
pub mod plan;
