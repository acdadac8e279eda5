//! A replica takes over from a master that has lost its address and is nowhere to be found.
//!
//! Once another node answers where it was, Redis up to 8.6 and Valkey 8.0 watch such a master no
//! more (`clusterCron` skips `noaddr`), so it is never marked as failed, nobody is elected, and
//! clients are sent to port 0.

use std::cmp::Reverse;
use std::time::Duration;

use crate::cluster::model::{Own, View, is_healthy, is_up};
use crate::cluster::replies::Stream;
use crate::health::Answer;
use crate::nodes_conf::{Node, NodeId};
use crate::redis::Failure;

use super::{Lack, Plan, Reason, Settings, Step, stray};

/// The shortest time that a master has to come back, and what it has beyond the node timeout. Its
/// pings clear the flag everywhere as soon as it runs, unless it has links that it still takes for
/// good: those it gives up after half the node timeout (`clusterCron`).
const SHORTEST_WAIT: Duration = Duration::from_secs(2);
const MARGIN: Duration = Duration::from_secs(1);

/// How often the node timeout fits into the age at which Redis refuses a replica's data by default
/// (`cluster-replica-validity-factor`).
pub const VALIDITY_FACTOR: u32 = 10;

/// How long the server itself waits before it asks for votes again: an order before that does
/// nothing (`auth_retry_time` in `clusterHandleSlaveFailover`: four node timeouts, 4 s at least;
/// a manual failover ends after 5 s).
fn election(node_timeout: Duration) -> Duration {
    (node_timeout * 4).max(Duration::from_secs(5)) + MARGIN
}

/// The own master, where it cannot be reached and answers nowhere, nobody sees it or a successor, and
/// nobody is there who might be it: every pod that the Service names answers, and every member that
/// counts as up.
pub fn missing_master(view: &View) -> Option<NodeId> {
    let own = &view.own;
    let master = own.table.find(own.table.me().master?)?;
    let slot = master.slots.first()?.first;
    if is_healthy(master) || !view.is_complete() {
        return None;
    }
    let is_missing = |node: &Node| is_up(&node.flags) && view.pod(node.id).is_none();
    let silent = own.table.others().iter().any(|node| node.id != master.id && is_missing(node));
    if silent || view.peers.iter().any(|peer| starts(&peer.answer)) {
        return None;
    }
    let pods = view.pods();
    let reached = pods
        .iter()
        .any(|pod| pod.id() == master.id || pod.table.find(master.id).is_some_and(is_healthy));
    let succeeded = pods
        .iter()
        .filter(|pod| own.table.find(pod.id()).is_some())
        .any(|pod| pod.table.owner_of(slot).is_some_and(|owner| owner.id != master.id));
    (!reached && !succeeded).then_some(master.id)
}

/// A server lives there that cannot say yet who it is. One that refuses our login, or has
/// another CA, is somebody else's; where the Service names it, it is out of reach.
fn starts<T>(answer: &Result<T, Failure>) -> bool {
    matches!(answer, Err(Failure::Said(answer)) if !matches!(answer, Answer::Refused(_) | Answer::NoTls(_)))
}

/// Adds the order to take over, or says why nobody does.
pub(super) fn plan(view: &View, settings: &Settings, plan: &mut Plan) {
    let Some(master) = missing_master(view) else { return };
    let wait = settings.node_timeout.max(SHORTEST_WAIT) + MARGIN;
    if view.past.missing.is_none_or(|missing| missing < wait) {
        return;
    }
    match stream_of(view, settings, master) {
        Ok(stream) => plan.steps.push(Step::TakeOver { master, stream: stream.id.clone() }),
        Err(lack) => plan.hold(master, Reason::MasterGone(lack)),
    }
}

/// The stream that this replica has of its master, where it may take over with it.
fn stream_of<'a>(view: &'a View, settings: &Settings, master: NodeId) -> Result<&'a Stream, Lack> {
    let own = &view.own;
    let (voters, needed) = voters(view);
    if voters < needed {
        return Err(Lack::Voters { voters, needed });
    }
    if !has_lost_address(own, master) {
        return Err(match own.table.me().flags.nofailover {
            _ if stray::may_be_strange(view) => Lack::Data,
            true => Lack::Flagged,
            false => Lack::Elected,
        });
    }
    // Another replica may have more, which is of another stream by now and cannot be compared.
    if view.past.is_dated {
        return Err(Lack::Dated);
    }
    let stream = &own.replication.stream;
    if !view.past.is_copy || !own.is_cut_off() || !stream.is_whole() {
        return Err(Lack::Data);
    }
    let oldest = settings.node_timeout * VALIDITY_FACTOR;
    if own.replication.down_for.is_none_or(|down| down > oldest) {
        return Err(Lack::Age);
    }
    if let Some(sibling) = sibling_ahead(view, master, stream) {
        return Err(Lack::Behind(sibling));
    }
    match view.past.ordered {
        Some(ago) if ago < election(settings.node_timeout) => Err(Lack::Votes),
        _ => Ok(stream),
    }
}

/// How many masters can vote for this replica, and how many votes it takes. All with slots count,
/// the one that is gone included (`size / 2 + 1`, `clusterHandleSlaveFailover`).
fn voters(view: &View) -> (usize, usize) {
    let masters = || view.own.table.owners();
    let answers = |node: &&Node| {
        is_healthy(node) && view.pod(node.id).is_some_and(|pod| pod.table.me().flags.master)
    };
    (masters().filter(answers).count(), masters().count() / 2 + 1)
}

/// Whether the server has given the master up without calling it failed. One that is marked as
/// failed is left to the server's own election, which has rules of its own.
fn has_lost_address(own: &Own, master: NodeId) -> bool {
    own.table.find(master).is_some_and(|line| line.flags.noaddr && !line.flags.fail)
}

/// Another replica that answers and has more of the same stream, or as much and the lower id. Two
/// that ask for votes at once may both get too few.
fn sibling_ahead(view: &View, master: NodeId, ours: &Stream) -> Option<NodeId> {
    let own = (ours.offset, Reverse(view.own.table.id()));
    view.reports()
        .filter(|report| report.table.me().master == Some(master) && report.stream.id == ours.id)
        .find(|report| (report.stream.offset, Reverse(report.table.id())) > own)
        .map(|report| report.table.id())
}

/// Whether the own server is still as it was when it was to take over, as far as it knows itself.
pub fn still_takes_over(own: &Own, master: NodeId, stream: &str) -> bool {
    own.table.me().master == Some(master)
        && has_lost_address(own, master)
        && own.is_cut_off()
        && own.replication.stream.is_whole()
        && own.replication.stream.id == stream
}
