//! Which signal goes on to the child now, and which is held for a hand-over. Pure.

use super::signals::Signal;

/// What happens to a signal that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes to the child now.
    Pass,
    /// It waits until the hand-over is done, or another one comes.
    Hold,
}

/// Holds the first SIGTERM or SIGINT; everything else, and everything after it, passes.
#[derive(Debug)]
pub(super) enum Relay {
    /// No such signal has come yet, and somebody wants to know.
    Watching,
    /// That one is held.
    Holding(Signal),
    /// Nothing is held any more.
    Open,
}

impl Relay {
    /// Decides about a signal that came in.
    pub(super) fn receive(&mut self, signal: Signal) -> Verdict {
        if !signal.asks_to_leave() {
            return Verdict::Pass;
        }
        match self {
            Relay::Watching => {
                *self = Relay::Holding(signal);
                Verdict::Hold
            }
            // Somebody insists. The held one is dropped: two of them in a row make Redis quit
            // without saving.
            Relay::Holding(_) | Relay::Open => {
                *self = Relay::Open;
                Verdict::Pass
            }
        }
    }

    /// The hand-over is done: the signal to pass on, if one is still held.
    pub(super) fn release(&mut self) -> Option<Signal> {
        let Relay::Holding(signal) = *self else { return None };
        *self = Relay::Open;
        Some(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Hold, Pass};
    use super::*;

    const USR1: fn() -> Signal = || Signal::new(10).expect("SIGUSR1");

    #[test]
    fn the_first_is_held_and_released_once() {
        for signal in [Signal::TERM, Signal::INT] {
            let mut relay = Relay::Watching;
            assert_eq!(relay.receive(signal), Hold);
            assert_eq!(relay.release(), Some(signal));
            assert_eq!(relay.release(), None);
            assert_eq!(relay.receive(signal), Pass);
        }
    }

    #[test]
    fn a_second_one_passes_and_the_held_one_is_dropped() {
        let mut relay = Relay::Watching;
        assert_eq!(relay.receive(Signal::TERM), Hold);
        assert_eq!(relay.receive(Signal::INT), Pass);
        assert_eq!(relay.release(), None);
    }

    #[test]
    fn other_signals_pass_at_any_time() {
        let mut relay = Relay::Watching;
        assert_eq!(relay.receive(USR1()), Pass);
        assert_eq!(relay.receive(Signal::TERM), Hold);
        assert_eq!(relay.receive(USR1()), Pass);
        assert_eq!(relay.release(), Some(Signal::TERM));
    }

    #[test]
    fn nothing_is_held_when_nobody_asks() {
        let mut relay = Relay::Open;
        assert_eq!(relay.receive(Signal::TERM), Pass);
        assert_eq!(relay.release(), None);
    }
}
