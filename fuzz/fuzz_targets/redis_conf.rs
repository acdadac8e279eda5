//! See `entries::redis_conf`.
#![no_main]

#[path = "../../tests/it/fuzz/entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::redis_conf(bytes));
