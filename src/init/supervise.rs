//! What the init does when it wakes: forward, serve requests, reap.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::unistd::Pid;

use super::relay::{Relay, Verdict};
use super::request::Release;
use super::signals::Signal;
use super::spawn::Child;
use super::status::{Change, change};
use super::{Init, Interceptor, sys};

/// Signals forwarded in one go before the init looks after the dead again: a flood of real-time
/// signals must not keep zombies waiting.
const BATCH: usize = 64;

/// The init while its child lives.
pub(super) struct Supervisor<'a> {
    pub(super) init: &'a Init,
    pub(super) child: Child,
    pub(super) relay: Relay,
    pub(super) interceptor: Option<Interceptor>,
    /// We stopped ourselves together with the child's group, and it has to be continued with us.
    pub(super) stopped: bool,
}

impl Supervisor<'_> {
    /// Forwards what is pending. Comes before [`Supervisor::reap`]: after a stop both SIGCONT and
    /// the news of the child's stop are pending, and the child has to go on before we look.
    pub(super) fn forward_signals(&mut self) {
        for signal in std::iter::from_fn(|| self.init.signals.next()).take(BATCH) {
            match signal {
                Signal::CHLD => {}
                Signal::CONT => self.resume(),
                signal if self.relay.receive(signal) == Verdict::Hold => self.intercept(signal),
                signal => {
                    self.send(signal);
                    if signal.stops_jobs() {
                        self.stop_with_child();
                    }
                }
            }
        }
    }

    /// Does what other threads have asked for.
    pub(super) fn serve_requests(&mut self) {
        let requests = &self.init.requests;
        requests.clear();
        if requests.take_release()
            && let Some(signal) = self.relay.release()
        {
            self.send(signal);
        }
        for signal in requests.take_signals() {
            self.send(signal);
        }
    }

    /// Reaps all that has ended. The child's exit code, once it is among them; by then every other
    /// zombie is reaped too.
    pub(super) fn reap(&mut self) -> Option<u8> {
        let mut code = None;
        while let Some((pid, status)) = sys::wait_any() {
            if pid != self.child.pid {
                continue;
            }
            match change(status) {
                Change::Ended(ended) => code = Some(ended),
                Change::Stopped(signal) => self.child_stopped(signal),
                Change::Other => {}
            }
        }
        if code.is_some()
            && let Some(terminal) = &self.child.terminal
        {
            // Whatever comes after us in the same script reads from it next.
            terminal.take_back(self.child.pid);
        }
        code
    }

    /// Tells the interceptor, who alone decides how long the signal is held. If it panics, the
    /// release is dropped with it, so the signal passes, and the child does not die with us.
    fn intercept(&mut self, signal: Signal) {
        let release = Release(self.init.requests.clone());
        if let Some(interceptor) = self.interceptor.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| interceptor(signal, release)));
        }
    }

    /// Sends a signal to the child. It is not reaped yet, so its process id is still its own.
    fn send(&self, signal: Signal) {
        // EPERM: the child runs as another user and we lack the right; there is no remedy.
        let _ = sys::kill(self.child.pid, signal.number());
    }

    /// The child's whole group goes on: the terminal stopped all of it.
    fn resume_group(&self) {
        let group = Pid::from_raw(-self.child.pid.as_raw());
        if sys::kill(group, Signal::CONT.number()).is_err() {
            self.send(Signal::CONT);
        }
    }

    /// SIGCONT came. A shell that brings its job to the foreground gives our group the terminal,
    /// and it is the child's that needs it.
    fn resume(&mut self) {
        self.hand_over_terminal();
        if std::mem::take(&mut self.stopped) {
            self.resume_group();
        } else {
            self.send(Signal::CONT);
        }
    }

    /// Gives the terminal to the child's group if our group has it; whether that was so.
    fn hand_over_terminal(&self) -> bool {
        self.child
            .terminal
            .as_ref()
            .is_some_and(|terminal| terminal.is_ours() && terminal.give(self.child.pid))
    }

    /// The child was stopped. A shell sees only us, so we stop too and give the terminal back;
    /// but not for a plain SIGSTOP without a terminal, where we still have probes to answer.
    fn child_stopped(&mut self, signal: Signal) {
        let wants_terminal = signal == Signal::TTIN || signal == Signal::TTOU;
        if wants_terminal && self.hand_over_terminal() {
            // A shell brought us to the foreground without a SIGCONT, as we were not stopped.
            return self.resume_group();
        }
        let holds_terminal =
            self.child.terminal.as_ref().is_some_and(|it| it.belongs_to(self.child.pid));
        if signal.stops_jobs() || holds_terminal {
            self.stop_with_child();
        }
    }

    fn stop_with_child(&mut self) {
        if self.init.pid_1 {
            return;
        }
        if let Some(terminal) = &self.child.terminal {
            terminal.take_back(self.child.pid);
        }
        self.stopped = true;
        self.init.stop();
    }
}
