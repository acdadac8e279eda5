//! The init: starts one child, passes every signal on to it, reaps whatever ends, and ends with the
//! child's exit code. It runs on the main thread and is the only place that waits for a process.
//!
//! In order: [`Inherited::capture`] first of all in `main`; [`Init::new`]; perhaps
//! [`Init::wait_until`]; [`Init::spawn`]; [`Init::run`]. The rest of the program lives in other
//! threads and asks through a [`Handle`]. Where nothing happens, nothing wakes up.
//!
//! Signals go to the child alone, not to its group: Redis looks after its own children.

mod inherited;
mod relay;
mod request;
mod signals;
mod spawn;
mod status;
mod supervise;
mod sys;
mod terminal;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::unistd::{Pid, chdir, getpid};
use signal_hook::low_level::emulate_default_handler;

pub use inherited::Inherited;
use relay::Relay;
use request::Requests;
pub use request::{Handle, Release};
use signals::Queue;
pub use signals::Signal;
pub use spawn::{Child, Command, SpawnError};
use supervise::Supervisor;

/// Told about the first SIGTERM or SIGINT, on the init's own thread, so it must not block. The
/// signal is held until the [`Release`] is dropped, which another thread may do later.
pub type Interceptor = Box<dyn FnOnce(Signal, Release) + Send>;

/// The init could not get the few descriptors it needs.
#[derive(Debug, thiserror::Error)]
#[error("cannot start as an init: no descriptor for signals; check the limit on open files")]
pub struct InitError(#[from] Errno);

/// The init of a container or of any process tree.
#[derive(Debug)]
pub struct Init {
    inherited: Inherited,
    signals: Queue,
    requests: Arc<Requests>,
    /// Whether this is PID 1, to which stop signals mean nothing and orphans come by themselves.
    pid_1: bool,
}

impl Init {
    /// Becomes the init: from now on orphans among our descendants come to us, also where this
    /// process is not PID 1 (shared process namespace, `docker --init`).
    ///
    /// # Errors
    /// When there is no descriptor left for signals and requests.
    pub fn new(inherited: Inherited) -> Result<Init, InitError> {
        let pid_1 = getpid() == Pid::from_raw(1);
        if !pid_1 {
            // Fails only on kernels before 3.4, where orphans then go to PID 1 as ever.
            let _ = prctl::set_child_subreaper(true);
        }
        Ok(Init { inherited, signals: Queue::open(u64::MAX)?, requests: Requests::open()?, pid_1 })
    }

    /// How another thread asks for a signal to the child.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.requests))
    }

    /// Waits, before the command runs, until the descriptor can be read or its other end is gone
    /// (so prefer a pipe or socket: a thread that dies closes it). Reaps meanwhile, and can be
    /// stopped from a terminal. Signals that do not end the wait reach the command later.
    ///
    /// # Errors
    /// The SIGTERM, SIGINT, SIGQUIT or SIGHUP that came first, unless it was inherited ignored or
    /// blocked: end with its [`Signal::exit_code`].
    pub fn wait_until(&self, ready: BorrowedFd<'_>) -> Result<(), Signal> {
        let mask = self.inherited.leaving() | Signal::TSTP.bit() | Signal::CHLD.bit();
        // Without a descriptor for it the wait just cannot be cut short.
        let early = Queue::open(mask).ok();
        loop {
            wait_for_any(early.as_ref().map(AsFd::as_fd).into_iter().chain([ready]));
            while let Some(signal) = early.as_ref().and_then(Queue::next) {
                match signal {
                    Signal::CHLD => while sys::wait_any().is_some() {},
                    Signal::TSTP => self.stop(),
                    signal => return Err(signal),
                }
            }
            if is_ready(ready) {
                return Ok(());
            }
        }
    }

    /// Starts the command in a process group of its own, with the mask, dispositions and
    /// descriptors that we inherited. Must be called on the main thread. Leaves the working
    /// directory for `/` afterwards, so that no volume is pinned by us.
    ///
    /// # Errors
    /// When it cannot be run; nothing of it is left behind then.
    pub fn spawn(&self, command: &Command) -> Result<Child, SpawnError> {
        let child = spawn::spawn(&self.inherited, command)?;
        let _ = chdir("/");
        Ok(child)
    }

    /// Forwards and reaps until the child has ended; returns its exit code, or 128 and the number
    /// of the signal that ended it. All zombies are reaped by then. Without an interceptor every
    /// signal passes at once.
    pub fn run(self, child: Child, interceptor: Option<Interceptor>) -> u8 {
        let mut supervisor = Supervisor {
            init: &self,
            child,
            relay: if interceptor.is_some() { Relay::Watching } else { Relay::Open },
            interceptor,
            stopped: false,
        };
        loop {
            wait_for_any([self.signals.as_fd(), self.requests.event.as_fd()]);
            supervisor.forward_signals();
            supervisor.serve_requests();
            if let Some(code) = supervisor.reap() {
                return code;
            }
        }
    }

    /// Stops this process until somebody continues it, as a stop signal would if it were not
    /// blocked. Does nothing as PID 1, which nobody could continue.
    fn stop(&self) {
        if !self.pid_1 {
            let _ = emulate_default_handler(Signal::TSTP.number());
        }
    }
}

/// Sleeps until one of the descriptors has something to say; there is no timeout on purpose.
fn wait_for_any<'a>(descriptors: impl IntoIterator<Item = BorrowedFd<'a>>) {
    let mut polled: Vec<_> =
        descriptors.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    // An interrupted wait is a wait that is over: all that follows looks before it acts.
    let _ = poll(&mut polled, PollTimeout::NONE);
}

fn is_ready(descriptor: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(descriptor, PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}
