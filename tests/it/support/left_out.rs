//! The record of what could not run on this machine.

use std::fs::OpenOptions;
use std::io::Write;

/// Notes that something was left out, with the reason, on stderr and in the file that
/// `REJOIN_TEST_LEFT_OUT` names, which `make test` prints at its end. The caller then returns.
pub fn left_out(reason: &str) {
    eprintln!("left out: {reason}");
    let Some(path) = std::env::var_os("REJOIN_TEST_LEFT_OUT") else { return };
    // One write of one line, so that tests in other processes do not mix with it.
    let noted = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{reason}\n").as_bytes()));
    if let Err(error) = noted {
        eprintln!("cannot note it in {}: {error}", path.display());
    }
}
