//! Signals by number, real-time ones included, and the queue that the init reads them from.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::getpid;
use signal_hook::consts::signal as names;
use signal_hook::low_level::signal_name;

use super::sys;
use crate::exit;

/// The highest signal number of Linux.
const LAST: i32 = 64;
/// The first real-time signal that glibc leaves to programs.
const FIRST_REAL_TIME: i32 = 34;

/// A signal, by its number (1 to 64). `nix` has a type too, but without the real-time signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// The terminal is gone; for many programs: read the configuration again.
    pub const HUP: Signal = Signal(names::SIGHUP);
    /// Ctrl-C.
    pub const INT: Signal = Signal(names::SIGINT);
    /// Ctrl-\.
    pub const QUIT: Signal = Signal(names::SIGQUIT);
    /// A write into a pipe or socket that nobody reads from.
    pub const PIPE: Signal = Signal(names::SIGPIPE);
    /// How Kubernetes asks a container to end.
    pub const TERM: Signal = Signal(names::SIGTERM);
    /// A child ended, stopped or went on.
    pub const CHLD: Signal = Signal(names::SIGCHLD);
    /// Go on after a stop.
    pub const CONT: Signal = Signal(names::SIGCONT);
    /// Ctrl-Z.
    pub const TSTP: Signal = Signal(names::SIGTSTP);
    /// A background group reads from the terminal.
    pub const TTIN: Signal = Signal(names::SIGTTIN);
    /// A background group changes the terminal, or writes to it.
    pub const TTOU: Signal = Signal(names::SIGTTOU);

    /// The signal of that number, if Linux has one.
    pub fn new(number: i32) -> Option<Signal> {
        (1..=LAST).contains(&number).then_some(Signal(number))
    }

    /// The number, 1 to 64.
    pub fn number(self) -> i32 {
        self.0
    }

    /// What a shell reports for a command that the signal ended: 128 and the number.
    pub fn exit_code(self) -> u8 {
        exit::SIGNAL_BASE + self.0 as u8
    }

    /// Whether it asks for an orderly end, so that something may have to be done first.
    pub fn asks_to_leave(self) -> bool {
        self == Signal::TERM || self == Signal::INT
    }

    /// Whether job control sends it to stop a process.
    pub(super) fn stops_jobs(self) -> bool {
        [Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&self)
    }

    /// The bit of the signal in a kernel mask.
    pub(super) fn bit(self) -> u64 {
        1 << (self.0 - 1)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (signal_name(self.0), self.0 - FIRST_REAL_TIME) {
            (Some(name), _) => f.write_str(name),
            (None, 0..) => write!(f, "SIGRTMIN+{}", self.0 - FIRST_REAL_TIME),
            (None, _) => write!(f, "signal {}", self.0),
        }
    }
}

/// A view of the pending signals of this process: all that are blocked wait there, none is lost.
#[derive(Debug)]
pub(super) struct Queue(SignalFd);

impl Queue {
    /// Opens a view of the signals in `mask`; the others stay pending untouched.
    pub(super) fn open(mask: u64) -> nix::Result<Queue> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&sys::signal_set(mask), flags).map(Queue)
    }

    /// Takes the next signal, if one waits. One that this process caused itself is dropped:
    /// a write of ours to a closed pipe (SIGPIPE) is nothing that the child should hear of.
    pub(super) fn next(&self) -> Option<Signal> {
        while let Ok(Some(info)) = self.0.read_signal() {
            if info.ssi_pid != getpid().as_raw() as u32 || info.ssi_signo == Signal::CHLD.0 as u32 {
                return Signal::new(info.ssi_signo as i32);
            }
        }
        None
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_1_to_64_are_no_signals() {
        assert_eq!(Signal::new(0), None);
        assert_eq!(Signal::new(65), None);
        assert_eq!(Signal::new(64).map(Signal::number), Some(64));
    }

    #[test]
    fn signals_that_we_caused_ourselves_are_dropped() {
        let before = sys::swap_signal_mask(u64::MAX);
        let queue = Queue::open(Signal::PIPE.bit() | Signal::CHLD.bit()).expect("a descriptor");
        for signal in [Signal::PIPE, Signal::CHLD] {
            signal_hook::low_level::raise(signal.number()).expect("sent to this thread");
        }
        assert_eq!(queue.next(), Some(Signal::CHLD));
        assert_eq!(queue.next(), None);
        sys::swap_signal_mask(before);
    }

    #[test]
    fn names_are_those_of_the_manual() {
        let shown = |number| Signal::new(number).expect("1 to 64").to_string();
        assert_eq!(shown(15), "SIGTERM");
        assert_eq!(shown(33), "signal 33");
        assert_eq!(shown(34), "SIGRTMIN+0");
        assert_eq!(shown(64), "SIGRTMIN+30");
    }
}
