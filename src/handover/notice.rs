//! The seam between the two threads: PID 1 gives notice and returns at once, the agent hands over,
//! and the signal goes out in time whatever becomes of the agent.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::warn;

use crate::init::Release;

/// That the pod is to leave, and the signal that is held back meanwhile. Outlives a panic of the
/// agent, so that the next one goes on where it was.
#[derive(Debug)]
pub struct Notice {
    /// Longest hold of the signal. `None`: it passes at once.
    limit: Option<Duration>,
    state: Mutex<State>,
    /// Wakes the agent.
    given: Notify,
    /// Wakes the thread that bounds the hold.
    passed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    release: Option<Release>,
    passed: Option<Instant>,
    ordered: Option<Instant>,
}

impl Notice {
    /// A notice that is not given yet.
    pub fn new(limit: Option<Duration>) -> Arc<Notice> {
        let (given, passed) = (Notify::new(), Condvar::new());
        Arc::new(Notice { limit, state: Mutex::default(), given, passed })
    }

    /// The first SIGTERM or SIGINT came. Returns at once; the signal passes when the agent says
    /// so, or after the limit, which a thread of its own sees to: the agent may hang, or just be
    /// started again. Without such a thread nothing is held.
    pub fn give(self: &Arc<Notice>, release: Release) {
        let now = Instant::now();
        {
            let mut state = self.state();
            state.told = Some(now);
            state.release = Some(release);
        }
        let bound = self.limit.and_then(|limit| {
            let notice = Arc::clone(self);
            let thread = thread::Builder::new().name("hold".to_owned());
            thread.spawn(move || notice.pass_after(limit)).ok()
        });
        if bound.is_none() {
            self.pass();
        }
        // One permit is kept for an agent that does not wait at this moment.
        self.given.notify_one();
    }

    fn pass_after(&self, limit: Duration) {
        let held = |state: &mut State| state.release.is_some();
        let waited = self.passed.wait_timeout_while(self.state(), limit, held);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        if self.pass() {
            warn!("the hand-over has not ended within {limit:?}: the signal passes");
        }
    }

    /// Waits for the notice; when it came.
    pub async fn given(&self) -> Instant {
        loop {
            if let Some(told) = self.state().told {
                return told;
            }
            self.given.notified().await;
        }
    }

    /// Lets the signal pass; whether it was held until now.
    pub fn pass(&self) -> bool {
        let mut state = self.state();
        let release = state.release.take();
        if release.is_some() {
            state.passed = Some(Instant::now());
            self.passed.notify_all();
        }
        release.is_some()
    }

    /// When the signal passed, if it has.
    pub fn passed(&self) -> Option<Instant> {
        self.state().passed
    }

    /// When the signal passes at the latest; `None`: it is not held.
    pub fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        state.release.as_ref()?;
        Some(state.told? + self.limit?)
    }

    /// When a replica was told to take over last, unless it refused.
    pub fn ordered(&self) -> Option<Instant> {
        self.state().ordered
    }

    /// Notes when an order was given, or that it was refused.
    pub fn note_order(&self, order: Option<Instant>) {
        self.state().ordered = order;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough never to come.
    const NEVER: Option<Duration> = Some(Duration::from_secs(1000));

    #[test]
    fn signal_is_held_until_it_is_passed_once() {
        let (release, is_released) = Release::observed();
        let notice = Notice::new(NEVER);
        assert_eq!((notice.deadline(), notice.passed()), (None, None));
        notice.give(release);
        assert!(!is_released() && notice.deadline().is_some() && notice.passed().is_none());
        assert!(notice.pass());
        assert!(is_released() && notice.deadline().is_none() && notice.passed().is_some());
        assert!(!notice.pass());
    }

    #[test]
    fn signal_passes_at_once_where_nothing_is_to_be_held() {
        let (release, is_released) = Release::observed();
        let notice = Notice::new(None);
        notice.give(release);
        assert!(is_released() && notice.passed().is_some());
    }

    #[test]
    fn signal_passes_at_the_limit_though_no_agent_ever_looks() {
        let (release, is_released) = Release::observed();
        let notice = Notice::new(Some(Duration::from_millis(20)));
        notice.give(release);
        let state = notice.state();
        let held = |state: &mut State| state.release.is_some();
        drop(notice.passed.wait_while(state, held).unwrap());
        assert!(notice.passed().unwrap() >= notice.state().told.unwrap() + notice.limit.unwrap());
        assert!(is_released());
    }

    #[test]
    fn notice_given_before_anybody_waits_is_seen() {
        let notice = Notice::new(NEVER);
        notice.give(Release::observed().0);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let told = runtime.block_on(notice.given());
        assert_eq!(runtime.block_on(notice.given()), told);
        notice.pass();
    }
}
