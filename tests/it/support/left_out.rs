//! Says loudly that something was not tested here.

use std::fs::OpenOptions;
use std::io::Write;

/// Notes what this machine cannot test and why: on stderr, and in the file that
/// `REJOIN_TEST_LEFT_OUT` names, so that a run that tested less does not look like a full one.
pub fn left_out(reason: &str) {
    eprintln!("LEFT OUT: {reason}");
    if let Some(path) = std::env::var_os("REJOIN_TEST_LEFT_OUT") {
        let mut file =
            OpenOptions::new().create(true).append(true).open(path).expect("open the list");
        writeln!(file, "{reason}").expect("write the list");
    }
}
