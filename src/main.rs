//! The `rejoin` binary: [`rejoin::run`] says what each command does.
#![no_main]

use std::ffi::{c_char, c_int};
use std::panic::catch_unwind;

use rejoin::init::Inherited;

/// The C entry point: std's runtime would ignore SIGPIPE before we could see what was inherited.
#[allow(unsafe_code, reason = "the entry point has to be found by its C name")]
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let inherited = Inherited::capture();
    // 101 is what std gives for a panic in main.
    catch_unwind(|| rejoin::run::run(inherited)).map_or(101, c_int::from)
}
