//! What we inherited from whoever started us, and give on to the child unchanged.

use super::signals::Signal;
use super::spawn::{Command, Image, SpawnError};
use super::sys;

/// The signals that may end a wait before the command runs.
const LEAVING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP];

/// The signal mask and the dispositions as they were when this process began.
///
/// Nothing else has to be remembered: what was ignored stays ignored here too (a blocked signal
/// is queued even so, and can be forwarded), and descriptors are never touched.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    mask: u64,
    chld_ignored: bool,
    pipe_ignored: bool,
}

impl Inherited {
    /// Takes the record and makes this process safe to run as an init. Must be called once, first
    /// of all, before a thread or a descriptor exists, and before std's runtime starts (hence
    /// `no_main`: it would ignore SIGPIPE, and abort where there is no `/dev/null`):
    ///
    /// - blocks every signal; blocked ones wait even for PID 1, so from here on none is lost, and
    ///   threads started later inherit the mask;
    /// - gives SIGCHLD its default effect: while it is ignored, the kernel reaps children itself
    ///   and their exit codes are lost;
    /// - fills closed standard descriptors, so that none of our sockets ever becomes the standard
    ///   output of somebody. The child finds them closed again.
    pub fn capture() -> Inherited {
        let mask = sys::swap_signal_mask(u64::MAX);
        let chld_ignored = sys::is_ignored(Signal::CHLD.number());
        if chld_ignored {
            sys::set_default(Signal::CHLD.number());
        }
        sys::occupy_closed_standard_descriptors();
        Inherited { mask, chld_ignored, pipe_ignored: sys::is_ignored(Signal::PIPE.number()) }
    }

    /// Puts mask and dispositions of this thread back as they were: for a subcommand that is no
    /// init (Ctrl-C ends it again), and in the child right before its exec. Async-signal-safe.
    pub fn restore(&self) {
        if self.chld_ignored {
            sys::ignore(Signal::CHLD.number());
        }
        if self.pipe_ignored {
            sys::ignore(Signal::PIPE.number());
        } else {
            sys::set_default(Signal::PIPE.number());
        }
        sys::swap_signal_mask(self.mask);
    }

    /// Replaces this process by the command, which finds everything as we did. Comes back only
    /// when that fails.
    pub fn exec(&self, command: &Command) -> SpawnError {
        match Image::prepare(command) {
            Ok(image) => {
                self.restore();
                let errno = image.exec().run();
                image.error(errno)
            }
            Err(error) => error,
        }
    }

    /// The signals, as a kernel mask, that end a wait before the command runs: those that ask a
    /// program to end, unless we were started with them ignored (`nohup`) or blocked.
    pub(super) fn leaving(&self) -> u64 {
        LEAVING
            .into_iter()
            .filter(|signal| !sys::is_ignored(signal.number()))
            .fold(0, |mask, signal| mask | signal.bit())
            & !self.mask
    }
}
