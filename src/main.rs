//! The `rejoin` binary.
#![no_main]

use std::error::Error;
use std::ffi::{c_char, c_int};
use std::panic::catch_unwind;

use rejoin::exit;
use rejoin::init::{Command, Inherited, Init};

/// The C entry point: std's runtime would ignore SIGPIPE before we could see what was inherited.
#[allow(unsafe_code, reason = "the entry point has to be found by its C name")]
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let inherited = Inherited::capture();
    // 101 is what std gives for a panic in main.
    catch_unwind(|| run(inherited)).map_or(101, c_int::from)
}

fn run(inherited: Inherited) -> u8 {
    let mut args = std::env::args_os().skip(1).peekable();
    args.next_if(|arg| arg == "--");
    let Some(command) = Command::from_args(args) else {
        eprintln!("rejoin: no command given; try: rejoin redis-server /conf/redis.conf");
        return exit::CONFIG;
    };
    let init = match Init::new(inherited) {
        Ok(init) => init,
        Err(error) => return fail(&error, exit::NOT_EXECUTABLE),
    };
    match init.spawn(&command) {
        Ok(child) => init.run(child, None),
        Err(error) => fail(&error, error.exit_code()),
    }
}

/// Prints the error with all its causes on one line, and yields the exit code.
fn fail(error: &dyn Error, code: u8) -> u8 {
    let mut line = format!("rejoin: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    eprintln!("{line}");
    code
}
