//! Every exit code of our own, and the line that explains it. While a command runs under us, its
//! own status is ours instead.

use std::error::Error;

/// All went well; for a probe: yes.
pub const OK: u8 = 0;
/// A probe says no, or there is no running `rejoin` to ask.
pub const NO: u8 = 1;
/// A file could not be read or written (`EX_IOERR` of `sysexits.h`).
pub const IO: u8 = 74;
/// Wrong usage, a wrong variable, or a state of `nodes.conf` that only a person can decide about
/// (`EX_CONFIG` of `sysexits.h`).
pub const CONFIG: u8 = 78;
/// The command was found but could not be executed, as a shell reports it.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found, as a shell reports it.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended the command, as a shell reports it.
pub const SIGNAL_BASE: u8 = 128;

/// The error and its sources on one line, as it is printed at the very end.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        // Some errors say their source themselves.
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        source = error.source();
    }
    line
}
