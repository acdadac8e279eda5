//! A replica that has just lost its link to its master is not elected for a moment.
//!
//! Who answers next where its master was is not known yet, and it may copy that one and be elected
//! with it before anybody has looked: Valkey 8.1 and later marks a master as failed as soon as another
//! node answers in its place. A master that is only gone is not marked before the node timeout has
//! passed, so for half of that nobody misses an election. Pure.

use std::time::{Duration, Instant};

use super::model::{Own, View};
use super::plan::meets_stranger;

/// How long a master must have been nowhere for an election beside a stranger to be better than none:
/// the stranger would be copied in the end.
const MISSING: Duration = Duration::from_secs(1);

/// Whether the server is kept from being elected because its link is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shield {
    /// The link is up, or was never seen to be.
    #[default]
    Idle,
    /// It is, since then.
    Raised(Instant),
    /// It was; the link is still down.
    Lowered,
}

impl Shield {
    /// Whether to raise it, after a look at the own server: it has lost the link over which it had
    /// its master's data. One that is raised when the link is up again, and breaks again before
    /// the master was seen at the other end, is raised anew: nobody else would lower it.
    pub fn rises(&mut self, last: Option<&View>, own: &Own) -> bool {
        let flagged = own.table.me().flags.nofailover;
        let raised = matches!(self, Shield::Raised(_)) && flagged;
        if !own.is_cut_off() {
            if !raised {
                *self = Shield::Idle;
            }
            return false;
        }
        let had_link = last.is_some_and(|last| {
            (last.past.is_copy || last.past.is_dated) && !last.own.is_cut_off()
        });
        had_link && (raised || *self == Shield::Idle && !flagged)
    }

    /// Whether to lower it, after a look at everybody. What has strayed by then stays as it is, until
    /// it copies its master again. A copy of the master before the present one serves as well, for who
    /// is gone before it was copied leaves nothing better; but not beside a stranger, where a master
    /// may be marked as failed that only moves.
    pub fn falls(&self, view: &View, now: Instant, node_timeout: Duration) -> bool {
        let Shield::Raised(since) = self else { return false };
        let past = &view.past;
        let is_shards = past.is_copy || past.is_dated && !past.strayed;
        let is_shards = is_shards && holds_copy(&view.own);
        let missing = past.missing.is_some_and(|missing| missing >= MISSING);
        let safe = missing || !meets_stranger(view);
        is_shards && safe && now.duration_since(*since) >= node_timeout / 2
    }
}

/// Whether a server without a link still has what it had copied. It says an offset of 1 when it has
/// dropped that for a copy of whoever it reaches now, and 0 where nothing was written since its copy
/// was made (`genRedisInfoString` in `src/server.c`).
pub fn holds_copy(own: &Own) -> bool {
    own.replication.stream.offset != 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::memory::tests::{alone, linked};

    const NODE_TIMEOUT: Duration = Duration::from_secs(4);

    /// A replica that copied its master until its link broke a moment ago.
    fn cut_off() -> (View, View) {
        let (mut before, mut now) = (linked(), alone());
        (before.past.is_copy, now.past.is_copy) = (true, true);
        (before, now)
    }

    /// The same with somebody else where its master was.
    fn beside_stranger() -> View {
        let (before, mut view) = cut_off();
        let mut stranger = before.peers[0].clone();
        if let Ok(report) = &mut stranger.answer {
            report.table = view.own.table.clone();
        }
        view.peers = vec![stranger];
        assert!(meets_stranger(&view));
        view
    }

    #[track_caller]
    fn falls(view: &View, after: u64, expected: bool) {
        let since = Instant::now();
        let now = since + Duration::from_secs(after);
        assert_eq!(Shield::Raised(since).falls(view, now, NODE_TIMEOUT), expected);
    }

    #[test]
    fn shield_rises_once_when_the_link_to_the_own_master_breaks() {
        let (before, now) = cut_off();
        assert!(Shield::Idle.rises(Some(&before), &now.own));
        assert!(!Shield::Raised(Instant::now()).rises(Some(&before), &now.own));
        let mut lowered = Shield::Lowered;
        assert!(!lowered.rises(Some(&before), &now.own));
        assert!(!lowered.rises(Some(&now), &before.own));
        assert_eq!(lowered, Shield::Idle, "the link is up");
    }

    fn flagged(mut view: View) -> View {
        let own = &mut view.own.table;
        *own = own.with_line(own.id(), |me| me.flags.nofailover = true);
        view
    }

    #[test]
    fn shield_rises_anew_when_the_link_breaks_again_before_the_flag_was_taken_back() {
        let (before, now) = cut_off();
        let (before, now) = (flagged(before), flagged(now));
        let raised = Shield::Raised(Instant::now());
        let mut shield = raised;
        assert!(!shield.rises(Some(&now), &before.own));
        assert_eq!(shield, raised);
        assert!(shield.rises(Some(&before), &now.own));
        assert!(!shield.rises(Some(&now), &now.own));
        // It was taken back.
        assert!(!shield.rises(Some(&now), &cut_off().0.own));
        assert_eq!(shield, Shield::Idle);
    }

    #[test]
    fn shield_does_not_rise_where_nothing_was_lost_or_the_user_wants_no_election() {
        let (mut before, now) = cut_off();
        assert!(!Shield::Idle.rises(None, &now.own));
        assert!(!Shield::Idle.rises(Some(&now), &now.own));
        before.past.is_copy = false;
        assert!(!Shield::Idle.rises(Some(&before), &now.own));
        before.past.is_copy = true;
        assert!(!Shield::Idle.rises(Some(&before), &flagged(now).own));
    }

    #[test]
    fn shield_falls_after_half_the_node_timeout_where_the_master_is_only_gone() {
        let (_, view) = cut_off();
        falls(&view, 1, false);
        falls(&view, 2, true);
        assert!(!Shield::Idle.falls(&view, Instant::now(), NODE_TIMEOUT));
        assert!(!Shield::Lowered.falls(&view, Instant::now(), NODE_TIMEOUT));
    }

    #[test]
    fn shield_stays_beside_a_stranger_until_the_master_has_been_nowhere_for_a_second() {
        let mut view = beside_stranger();
        falls(&view, 60, false);
        view.past.missing = Some(Duration::from_millis(900));
        falls(&view, 60, false);
        view.past.missing = Some(Duration::from_secs(1));
        falls(&view, 60, true);
    }

    #[test]
    fn shield_falls_with_the_data_of_the_master_before_where_nobody_else_was_seen() {
        let (_, mut view) = cut_off();
        (view.past.is_copy, view.past.is_dated) = (false, true);
        falls(&view, 1, false);
        falls(&view, 2, true);
        view.past.strayed = true;
        view.past.missing = Some(Duration::from_secs(60));
        falls(&view, 60, false);
        view.past.strayed = false;
        view.own.replication.stream.offset = 1;
        falls(&view, 60, false);
    }

    #[test]
    fn shield_stays_where_the_data_may_be_somebody_elses() {
        let (_, mut view) = cut_off();
        view.own.replication.stream.offset = 1;
        falls(&view, 60, false);
        view.own.replication.stream.offset = 0;
        falls(&view, 60, true);
        view.past.is_copy = false;
        falls(&view, 60, false);
    }
}
