//! When a replica may order its own takeover. The plan remembers nothing; this does.

use std::time::{Duration, Instant};

/// How long a takeover has been wanted, and when it was last ordered.
#[derive(Debug)]
pub struct Takeover {
    node_timeout: Duration,
    since: Option<Instant>,
    ordered: Option<Instant>,
}

impl Takeover {
    /// Nothing is wanted yet.
    pub fn new(node_timeout: Duration) -> Takeover {
        Takeover { node_timeout, since: None, ordered: None }
    }

    /// Whether it is to be ordered now, which counts as done then: it was wanted without a break
    /// for the node timeout, after which Redis gives up any other node, and no earlier election
    /// may still run, which takes up to twice the node timeout (`clusterHandleSlaveFailover`; at
    /// least 2 s).
    pub fn is_due(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let election = (self.node_timeout * 2).max(Duration::from_secs(2));
        let runs = self.ordered.is_some_and(|at| now.duration_since(at) < election);
        let due = now.duration_since(since) >= self.node_timeout && !runs;
        if due {
            self.ordered = Some(now);
        }
        due
    }

    /// It is not wanted, or that is not known.
    pub fn not_wanted(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(calls: &[(u64, bool)]) -> Vec<u64> {
        let start = Instant::now();
        let mut takeover = Takeover::new(Duration::from_secs(5));
        let mut due = Vec::new();
        for (second, wanted) in calls {
            if !wanted {
                takeover.not_wanted();
            } else if takeover.is_due(start + Duration::from_secs(*second)) {
                due.push(*second);
            }
        }
        due
    }

    #[test]
    fn takeover_is_ordered_after_the_node_timeout() {
        assert_eq!(due(&[(0, true), (4, true), (5, true), (6, true)]), [5]);
    }

    #[test]
    fn takeover_is_not_ordered_again_while_an_election_may_run() {
        assert_eq!(due(&[(0, true), (5, true), (14, true), (15, true), (24, true)]), [5, 15]);
    }

    #[test]
    fn takeover_is_wanted_anew_after_it_was_not() {
        assert_eq!(
            due(&[(0, true), (4, true), (4, false), (5, true), (9, true), (10, true)]),
            [10]
        );
        // A break does not end an election.
        assert_eq!(
            due(&[(0, true), (5, true), (6, false), (7, true), (12, true), (15, true)]),
            [5, 15]
        );
    }
}
