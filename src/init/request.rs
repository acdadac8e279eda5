//! How other threads ask the init for something. They never signal the child themselves: only the
//! init knows whether the process id is still the child's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::signals::Signal;

/// What is asked for and not done yet. Bounded by its nature: equal requests are one.
#[derive(Debug)]
pub(super) struct Requests {
    /// Wakes the init.
    pub(super) event: EventFd,
    /// The hold of the first SIGTERM or SIGINT is over.
    released: AtomicBool,
    /// Signals for the child, one bit each.
    signals: AtomicU64,
}

impl Requests {
    pub(super) fn open() -> nix::Result<Arc<Requests>> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Arc::new(Requests {
            event,
            released: AtomicBool::new(false),
            signals: AtomicU64::new(0),
        }))
    }

    /// Takes note that the init is awake. To be called before the requests are taken.
    pub(super) fn clear(&self) {
        // EAGAIN: nothing was asked for.
        let _ = self.event.read();
    }

    pub(super) fn take_release(&self) -> bool {
        self.released.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take_signals(&self) -> impl Iterator<Item = Signal> + use<> {
        let bits = self.signals.swap(0, Ordering::AcqRel);
        (1..=64).filter_map(Signal::new).filter(move |signal| bits & signal.bit() != 0)
    }

    fn wake(&self) {
        // EAGAIN: the counter is full, so the init is being woken already.
        let _ = self.event.write(1);
    }
}

/// Lets any thread ask the init to signal the child.
#[derive(Clone, Debug)]
pub struct Handle(pub(super) Arc<Requests>);

impl Handle {
    /// Asks the init to send the signal to the child, if it still lives. Returns at once. The same
    /// signal asked for twice before the init gets to it is sent once.
    pub fn signal_child(&self, signal: Signal) {
        self.0.signals.fetch_or(signal.bit(), Ordering::AcqRel);
        self.0.wake();
    }
}

/// Holds back the first SIGTERM or SIGINT for as long as it lives. Dropping it passes the signal
/// on, once, so a thread that panics or forgets cannot keep the child from ending. Once a second
/// such signal has passed at once, dropping this does nothing.
#[derive(Debug)]
pub struct Release(pub(super) Arc<Requests>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.released.store(true, Ordering::Release);
        self.0.wake();
    }
}

#[cfg(test)]
impl Release {
    /// One of no init, and whether it was dropped.
    pub(crate) fn observed() -> (Release, impl Fn() -> bool) {
        let requests = Requests::open().expect("an eventfd");
        let release = Release(Arc::clone(&requests));
        (release, move || requests.released.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_requests_are_one_and_all_are_taken_once() {
        let requests = Requests::open().expect("an eventfd");
        let handle = Handle(Arc::clone(&requests));
        handle.signal_child(Signal::TERM);
        handle.signal_child(Signal::HUP);
        handle.signal_child(Signal::TERM);
        requests.clear();
        assert_eq!(requests.take_signals().collect::<Vec<_>>(), [Signal::HUP, Signal::TERM]);
        assert_eq!(requests.take_signals().count(), 0);
    }

    #[test]
    fn a_dropped_release_is_a_release() {
        let requests = Requests::open().expect("an eventfd");
        drop(Release(Arc::clone(&requests)));
        assert!(requests.take_release());
        assert!(!requests.take_release());
    }
}
