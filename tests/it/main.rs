//! The integration tests.

mod nodes_conf;
