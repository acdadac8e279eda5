//! When a replica may order its own takeover. The plan remembers nothing; this does.

use std::time::{Duration, Instant};

use crate::health::Role;

use super::model::View;

/// The longest wait. Short, since a replica soon copies whatever answers where its master was: by
/// default a server waits 5 s before it gives a first copy (`repl-diskless-sync-delay`).
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// How long a takeover has been wanted, and when it was last ordered.
#[derive(Debug)]
pub struct Takeover {
    node_timeout: Duration,
    since: Option<Instant>,
    ordered: Option<Instant>,
    /// The replication id of the own master, seen while it answered where it was copied from.
    history: Option<String>,
}

impl Takeover {
    /// Nothing is wanted yet.
    pub fn new(node_timeout: Duration) -> Takeover {
        Takeover { node_timeout, since: None, ordered: None, history: None }
    }

    /// Notes whose data the own server holds, where the view leaves no doubt: its link is up, to an
    /// address that answered as its master afterwards.
    pub fn learn(&mut self, view: &View, history: Option<&str>) {
        let own = &view.own;
        let master = own.table.me().master.and_then(|master| view.pod(master));
        let copied_from = own.replication.master_host.as_deref().and_then(|host| host.parse().ok());
        let link_up = matches!(own.replication.role, Role::Replica { link_up: true, .. });
        if link_up
            && copied_from.is_some()
            && copied_from == master.and_then(|pod| pod.at).map(|at| at.ip())
        {
            self.history = history.map(ToOwned::to_owned);
        }
    }

    /// The replication id of what the own master wrote; `None` since the start of this process
    /// until [`Takeover::learn`] has seen it.
    pub fn history(&self) -> Option<&str> {
        self.history.as_deref()
    }

    /// Whether it is to be ordered now, which counts as done then: what the own server holds is
    /// known, it was wanted without a break for a while, and no earlier election may still run,
    /// which takes up to twice the node timeout (`clusterHandleSlaveFailover`; at least 2 s).
    pub fn is_due(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let election = (self.node_timeout * 2).max(Duration::from_secs(2));
        let runs = self.ordered.is_some_and(|at| now.duration_since(at) < election);
        let wait = self.node_timeout.min(LONGEST_WAIT);
        let due = now.duration_since(since) >= wait && !runs && self.history.is_some();
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
        takeover.history = Some("of the master".to_owned());
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
    fn takeover_is_ordered_after_a_while() {
        assert_eq!(due(&[(0, true), (2, true), (3, true), (4, true)]), [3]);
    }

    #[test]
    fn takeover_is_not_ordered_again_while_an_election_may_run() {
        assert_eq!(due(&[(0, true), (3, true), (12, true), (13, true), (22, true)]), [3, 13]);
    }

    #[test]
    fn takeover_is_wanted_anew_after_it_was_not() {
        assert_eq!(due(&[(0, true), (2, true), (2, false), (3, true), (5, true), (6, true)]), [6]);
        // A break does not end an election.
        let calls = [(0, true), (3, true), (4, false), (5, true), (9, true), (13, true)];
        assert_eq!(due(&calls), [3, 13]);
    }

    #[test]
    fn nothing_is_taken_over_by_a_replica_whose_data_is_unknown() {
        let (mut takeover, start) = (Takeover::new(Duration::ZERO), Instant::now());
        assert!(!takeover.is_due(start) && !takeover.is_due(start + Duration::from_secs(60)));
    }
}
