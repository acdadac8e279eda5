//! The `rejoin` binary.
fn main() {}
