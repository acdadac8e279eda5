//! The board: what PID 1 and the keeper write, and the probes read.
//!
//! Reading costs one short lock and never waits for the keeper. What is on it survives a panic of
//! whoever held it: every write replaces whole values, so a poisoned lock is as good as any other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::health::verdict::{live, ready, startup};
use crate::health::{Observation, Phase, SILENCE_BOUND, STALE_BOUND};
use crate::status::{Handover, Probes, Status, Step};

/// How many of the keeper's last steps are kept.
const STEPS: usize = 16;

/// A handle of the one board of the process; clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Board {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    pod: String,
    phase: Phase,
    observation: Arc<Observation>,
    status: Arc<Status>,
    steps: VecDeque<(Instant, Step)>,
    handover: Option<Handover>,
    agent_restarts: u64,
    kept_back: bool,
}

impl Board {
    /// A board of a server that is not started yet, because of `waiting`.
    pub fn new(pod: &str, waiting: &str) -> Board {
        let phase = Phase::Waiting(waiting.to_owned());
        let inner = Inner {
            pod: pod.to_owned(),
            observation: Arc::new(Observation::unknown(Instant::now(), phase.clone())),
            phase,
            status: Arc::default(),
            steps: VecDeque::new(),
            handover: None,
            agent_restarts: 0,
            kept_back: false,
        };
        Board { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Written by PID 1: where the server's life stands. Nothing comes after
    /// [`Phase::Leaving`], so whatever is written later is ignored, its own moment included.
    pub fn set_phase(&self, phase: Phase) {
        let mut inner = self.lock();
        if !matches!(inner.phase, Phase::Leaving(_)) {
            inner.phase = phase;
        }
    }

    /// Written by the keeper after each round. `observation.phase` is not read; of `status`, only
    /// what [`Status`] does not say to be made when it is read.
    pub fn publish(&self, observation: Observation, status: Status) {
        let (observation, status) = (Arc::new(observation), Arc::new(status));
        let mut inner = self.lock();
        inner.observation = observation;
        inner.status = status;
    }

    /// Written by the keeper: it has just done this. `kind` is one of a small fixed set of words.
    pub fn acted(&self, kind: &str, what: &str, now: Instant) {
        let step = Step { kind: kind.to_owned(), what: what.to_owned(), age_s: 0.0 };
        let mut inner = self.lock();
        if inner.steps.len() == STEPS {
            inner.steps.pop_front();
        }
        inner.steps.push_back((now, step));
    }

    /// Written by the keeper: it tells the server not to be elected. As long as the server runs, the
    /// next keeper may take that back, if this one panics; what the user has set it may not.
    pub fn keeps_back(&self) {
        self.lock().kept_back = true;
    }

    /// Whether a keeper has told the server not to be elected.
    pub fn is_kept_back(&self) -> bool {
        self.lock().kept_back
    }

    /// Written by the hand-over: how far it is.
    pub fn hands_over(&self, handover: Handover) {
        self.lock().handover = Some(handover);
    }

    /// Written by PID 1: the second thread has ended, and is started again.
    pub fn agent_restarted(&self) {
        self.lock().agent_restarts += 1;
    }

    /// Where the server's life stands.
    pub fn phase(&self) -> Phase {
        self.lock().phase.clone()
    }

    /// The latest observation, with the phase of this moment.
    pub fn observation(&self) -> Observation {
        let (phase, observation) = {
            let inner = self.lock();
            (inner.phase.clone(), Arc::clone(&inner.observation))
        };
        Observation { phase, ..Observation::clone(&observation) }
    }

    /// What the three probes answer at `now`.
    pub fn probes(&self, now: Instant) -> Probes {
        let observation = self.observation();
        Probes {
            live: live(&observation, now, SILENCE_BOUND),
            ready: ready(&observation, now, STALE_BOUND),
            startup: startup(&observation, now),
        }
    }

    /// The latest status as of `now`.
    pub fn status(&self, now: Instant) -> Status {
        let probes = self.probes(now);
        let inner = self.lock();
        let status = Arc::clone(&inner.status);
        let written = inner.observation.written;
        let (pod, phase) = (inner.pod.clone(), inner.phase.clone());
        let (steps, agent_restarts) = (inner.steps.clone(), inner.agent_restarts);
        let handover = inner.handover.clone();
        drop(inner);
        let age = |at: Instant| rounded(now.saturating_duration_since(at));
        Status {
            rejoin: env!("CARGO_PKG_VERSION").to_owned(),
            pod,
            phase: phase_word(&phase),
            observed_age_s: age(written),
            probes,
            acting: steps.into_iter().map(|(at, step)| Step { age_s: age(at), ..step }).collect(),
            handover,
            agent_restarts,
            ..Status::clone(&status)
        }
    }

    /// How often the second thread has been started again.
    pub fn agent_restarts(&self) -> u64 {
        self.lock().agent_restarts
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds to a millisecond: more digits would only be noise.
fn rounded(age: Duration) -> f64 {
    (age.as_secs_f64() * 1000.0).round() / 1000.0
}

fn phase_word(phase: &Phase) -> String {
    match phase {
        Phase::Waiting(reason) => format!("waiting: {reason}"),
        Phase::Running(_) => "running".to_owned(),
        Phase::Leaving(_) => "leaving".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Answer, Membership, Role};

    fn fine(now: Instant) -> Observation {
        Observation {
            last_answer: Some((now, Answer::Ok)),
            role: Some(Role::Master),
            membership: Membership::NotWanted,
            ..Observation::unknown(now, Phase::Waiting("ignored".to_owned()))
        }
    }

    #[test]
    fn sigterm_is_seen_at_once_whatever_the_keeper_writes_later() {
        let (board, now) = (Board::new("redis-0", "the lock"), Instant::now());
        board.set_phase(Phase::Running(now));
        board.publish(fine(now), Status::default());
        assert!(board.probes(now).ready.ok);
        board.set_phase(Phase::Leaving(now));
        board.set_phase(Phase::Running(now));
        board.publish(fine(now), Status::default());
        let status = board.status(now);
        assert_eq!(status.probes.ready.reason, "not ready: leaving since 0.0 s");
        assert!(status.probes.live.ok);
        assert_eq!(status.phase, "leaving");
    }

    #[test]
    fn waiting_board_is_alive_and_not_ready_and_says_why() {
        let board = Board::new("redis-0", "the lock of nodes.conf");
        let probes = board.probes(Instant::now());
        assert_eq!(probes.live.reason, "live: the server waits: the lock of nodes.conf");
        assert_eq!(probes.ready.reason, "not ready: the server waits: the lock of nodes.conf");
        assert_eq!((probes.live.ok, probes.ready.ok, probes.startup.ok), (true, false, false));
    }

    #[test]
    fn status_before_the_first_round_names_pod_and_version() {
        let status = Board::new("redis-0", "the lock").status(Instant::now());
        assert_eq!(status.pod, "redis-0");
        assert_eq!(status.rejoin, env!("CARGO_PKG_VERSION"));
        assert_eq!(status.phase, "waiting: the lock");
    }

    #[test]
    fn last_steps_are_kept_with_their_ages() {
        let (board, start) = (Board::new("redis-0", ""), Instant::now());
        for step in 0..20u64 {
            board.acted("meet", &step.to_string(), start + Duration::from_secs(step));
        }
        let steps = board.status(start + Duration::from_secs(20)).acting;
        assert_eq!(steps.len(), STEPS);
        assert_eq!((steps[0].what.as_str(), steps[0].age_s), ("4", 16.0));
        assert_eq!((steps[15].what.as_str(), steps[15].age_s), ("19", 1.0));
    }

    #[test]
    fn panic_of_whoever_holds_the_board_does_not_stop_the_probes() {
        let board = Board::new("redis-0", "the lock");
        let clone = board.clone();
        let panicked = std::thread::spawn(move || {
            let _held = clone.lock();
            panic!("on purpose, with the lock held");
        });
        assert!(panicked.join().is_err());
        board.agent_restarted();
        assert_eq!(board.status(Instant::now()).agent_restarts, 1);
        assert!(board.probes(Instant::now()).live.ok);
    }
}
