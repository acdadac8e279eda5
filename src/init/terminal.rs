//! The controlling terminal, and which process group it belongs to.
//!
//! The child has a group of its own in the foreground: the terminal then sends Ctrl-C to the child
//! and not to us, so that it gets exactly one SIGINT. (Redis takes a second one as an order to
//! quit without saving.) All signals are blocked here, SIGTTOU among them, so none of these calls
//! can stop us. No terminal is no error.

use std::fs::OpenOptions;
use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc;
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// The controlling terminal of our session.
#[derive(Debug)]
pub(super) struct Terminal(OwnedFd);

impl Terminal {
    /// The controlling terminal, if there is one: `/dev/tty`, or, in an image without that file, a
    /// standard stream.
    pub(super) fn open() -> Option<Terminal> {
        let device = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
            .open("/dev/tty")
            .map(OwnedFd::from);
        let streams = [
            || stdin().as_fd().try_clone_to_owned(),
            || stdout().as_fd().try_clone_to_owned(),
            || stderr().as_fd().try_clone_to_owned(),
        ];
        std::iter::once(device)
            .chain(streams.into_iter().map(|stream| stream()))
            .flatten()
            .find(|descriptor| tcgetpgrp(descriptor).is_ok())
            .map(Terminal)
    }

    /// Whether our group is the foreground one. A background job must leave the terminal alone.
    pub(super) fn is_ours(&self) -> bool {
        self.belongs_to(getpgrp())
    }

    /// Whether that group is the foreground one.
    pub(super) fn belongs_to(&self, group: Pid) -> bool {
        tcgetpgrp(&self.0) == Ok(group)
    }

    /// Makes that group the foreground one; false if the kernel refuses. Async-signal-safe.
    pub(super) fn give(&self, group: Pid) -> bool {
        tcsetpgrp(&self.0, group).is_ok()
    }

    /// Makes our group the foreground one again, if that group is.
    pub(super) fn take_back(&self, group: Pid) {
        if self.belongs_to(group) {
            self.give(getpgrp());
        }
    }
}
