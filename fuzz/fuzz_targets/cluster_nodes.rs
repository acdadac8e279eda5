//! See `entries::cluster_nodes`.
#![no_main]

#[path = "../../tests/it/fuzz/entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::cluster_nodes(bytes));
