//! From rounds to what the probes are told. Remembers only what verdicts need: since when the
//! server is silent, and what has been true once since it started.

use std::time::Instant;

use crate::health::{Answer, Membership, Observation, Role, Silence};
use crate::redis::Failure;

use super::model::Own;

/// What is known of the own server.
#[derive(Debug)]
pub struct Watch {
    seen: Observation,
}

impl Watch {
    /// Goes on from what is on the board: nothing, or what a keeper saw that panicked.
    pub fn new(board: Observation, cluster_enabled: bool) -> Watch {
        let mut seen = Observation { cluster_enabled, ..board };
        if !cluster_enabled {
            seen.membership = Membership::NotWanted;
        }
        Watch { seen }
    }

    /// What the probes are told now.
    pub fn observation(&self, now: Instant) -> Observation {
        Observation { written: now, ..self.seen.clone() }
    }

    /// The server replied as it should.
    pub fn answered(&mut self, now: Instant) {
        self.said(now, Answer::Ok);
    }

    /// There was no reply that is of use.
    pub fn failed(&mut self, now: Instant, failure: &Failure) {
        match failure {
            Failure::Silent(error) => self.silent(now, error),
            Failure::Closed => self.silent(now, "connection refused"),
            Failure::Said(answer) => self.said(now, answer.clone()),
            Failure::Garbage(what) => self.said(now, Answer::Strange(what.clone())),
            Failure::Ours(what) => {
                self.seen.unasked = Some(what.clone());
                self.seen.silent = None;
            }
        }
    }

    /// The server reported all of this.
    pub fn own(&mut self, now: Instant, own: &Own) {
        self.said(now, if own.serves { Answer::Ok } else { Answer::MasterDown });
        self.state(own.state_ok);
        self.role(if own.table.me().flags.replica && own.replication.role == Role::Master {
            // It has just started: it reports a master until its first look at its own table, within
            // 100 ms (`clusterCron`), and has synced nothing.
            Role::Replica { link_up: false, synced_once: false }
        } else {
            own.replication.role.clone()
        });
    }

    /// The server reported its cluster state.
    pub fn state(&mut self, ok: bool) {
        self.seen.state_ok = ok;
        self.seen.state_ok_once |= ok;
    }

    /// The server reported its role. A replica has synced once its link was up, and stays so
    /// until it has been a master in between.
    pub fn role(&mut self, role: Role) {
        let before = matches!(self.seen.role, Some(Role::Replica { synced_once: true, .. }));
        self.seen.role = Some(match role {
            Role::Replica { link_up, synced_once } => {
                Role::Replica { link_up, synced_once: synced_once || before }
            }
            Role::Master => Role::Master,
        });
        let now = self.seen.last_answer.as_ref().map(|(now, _)| *now);
        let is_master = self.seen.role == Some(Role::Master);
        self.seen.master_since = self.seen.master_since.or(now).filter(|_| is_master);
    }

    /// Whether the cluster state was ok once since the server started.
    pub fn was_ok(&self) -> bool {
        self.seen.state_ok_once
    }

    /// The plan says how the pod stands to the cluster.
    pub fn membership(&mut self, membership: Membership) {
        self.seen.membership = membership;
    }

    fn said(&mut self, now: Instant, answer: Answer) {
        self.seen.last_answer = Some((now, answer));
        self.seen.silent = None;
        self.seen.unasked = None;
    }

    fn silent(&mut self, now: Instant, error: &str) {
        self.seen.unasked = None;
        let silence = self.seen.silent.get_or_insert_with(|| Silence {
            since: now,
            attempts: 0,
            error: String::new(),
        });
        silence.attempts += 1;
        silence.error = error.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::memory::tests::linked;
    use crate::health::Phase;

    #[test]
    fn replica_that_still_reports_a_master_has_synced_nothing() {
        let (mut own, now) = (linked().own, Instant::now());
        assert!(own.table.me().flags.replica);
        own.replication.role = Role::Master;
        let mut watch = Watch::new(Observation::unknown(now, Phase::Running(now)), true);
        watch.own(now, &own);
        let expected = Role::Replica { link_up: false, synced_once: false };
        assert_eq!(watch.observation(now).role, Some(expected));
    }
}
