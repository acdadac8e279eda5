//! Wait status to exit code. Pure.

use nix::libc;

use super::signals::Signal;

/// What `waitpid` said about a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is gone and reaped; holds the exit code that a shell would report.
    Ended(u8),
    /// It was stopped by that signal, and lives.
    Stopped(Signal),
    /// Anything else, none of which ends a child.
    Other,
}

/// Reads a raw wait status: the child's own exit code, or 128 and the number of the signal that
/// ended it, whether or not it dumped core.
pub(super) fn change(status: i32) -> Change {
    if libc::WIFEXITED(status) {
        return Change::Ended(libc::WEXITSTATUS(status) as u8);
    }
    if libc::WIFSIGNALED(status) {
        return Signal::new(libc::WTERMSIG(status))
            .map_or(Change::Other, |signal| Change::Ended(signal.exit_code()));
    }
    if libc::WIFSTOPPED(status) {
        return Signal::new(libc::WSTOPSIG(status)).map_or(Change::Other, Change::Stopped);
    }
    Change::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: i32, expected: Change) {
        assert_eq!(change(status), expected, "status {status:#x}");
    }

    #[test]
    fn exit_codes_pass_unchanged() {
        for code in 0..=255 {
            check(code << 8, Change::Ended(code as u8));
        }
    }

    #[test]
    fn death_by_signal_is_128_and_its_number() {
        for signal in 1..=64 {
            check(signal, Change::Ended(128 + signal as u8));
            check(signal | 0x80, Change::Ended(128 + signal as u8));
        }
    }

    #[test]
    fn a_stop_is_no_end() {
        check(19 << 8 | 0x7f, Change::Stopped(Signal::new(19).expect("SIGSTOP")));
        check(20 << 8 | 0x7f, Change::Stopped(Signal::TSTP));
        check(0xffff, Change::Other);
    }
}
