//! A shard that no pod has a copy of any more: held, or, where the user wants that, given empty to
//! its fresh pods.
//!
//! Each pod acts in its own table: it forgets the owner, and when nobody knows an owner of the slots
//! any more, the fresh pods take them, one after the other, in the order of their ids.

use std::collections::BTreeSet;
use std::fmt;

use crate::cluster::model::{Discovery, Pod, SLOTS, View, is_healthy, literal_ip, seat_range};
use crate::config::lost_shard::OnLostShard;
use crate::config::shape::Shape;
use crate::health::Membership;
use crate::nodes_conf::{NOWHERE, Node, NodeId, SlotRange};

use super::{Plan, Reason, Replicate, Settings, Step, form, ghosts, join};

/// A master with slots that is gone, with all its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The master.
    pub owner: NodeId,
    /// Its slots.
    pub slots: Vec<SlotRange>,
    /// The replicas of it that are still known.
    pub replicas: Vec<NodeId>,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: Vec<String> = self.slots.iter().map(ToString::to_string).collect();
        let ids = std::iter::once(&self.owner).chain(&self.replicas);
        let ids: Vec<String> = ids.map(ToString::to_string).collect();
        write!(
            f,
            "no pod has a copy of the slots {}: all pods answer, and none as {}",
            slots.join(" "),
            ids.join(", ")
        )
    }
}

/// Gives up what is lost where that is wanted, and holds it otherwise.
pub(super) fn plan(view: &View, shape: Shape, settings: &Settings, plan: &mut Plan) -> Vec<Lost> {
    let all = lost(view, shape);
    for lost in &all {
        let line = view.own.table.find(lost.owner);
        let serves = line.is_some_and(|line| !line.slots.is_empty());
        let kept = is_half_moved(view, lost.owner) || has_orphans(view);
        if settings.on_lost_shard == OnLostShard::Hold || kept {
            plan.hold(lost.owner, Reason::ShardLost(lost.clone()));
        } else if serves && line.is_some_and(is_gone) {
            plan.steps.push(Step::GiveUp(lost.clone()));
        }
    }
    all
}

/// Whether a node has failed, or its address led to somebody else, or was taken out since we are
/// there ourselves. Others then may have no address of it either, and never agree that it failed.
pub(super) fn is_gone(node: &Node) -> bool {
    node.flags.fail || node.flags.noaddr || literal_ip(node) == Some(NOWHERE)
}

/// What is lost for certain: all expected pods are members and answer, none as the owner or as a
/// replica of it, none of them has a link to the owner, and nobody without a role holds keys, as a
/// volume does that lost its `nodes.conf`. A pod that is down may have a copy, and so may a replica
/// that was not elected.
fn lost(view: &View, shape: Shape) -> Vec<Lost> {
    let Some(ids) = members(view, shape) else { return Vec::new() };
    let pods = view.pods();
    if pods.iter().any(|pod| is_without_role(pod) && pod.keys > 0) {
        return Vec::new();
    }
    let reached = |id: NodeId| pods.iter().any(|it| it.table.find(id).is_some_and(is_healthy));
    let mut lost: Vec<Lost> = Vec::new();
    for pod in pods.iter().filter(|pod| ids.binary_search(&pod.id()).is_ok()) {
        for node in pod.table.others() {
            let gone = !node.slots.is_empty() && is_gone(node);
            let gone = gone && !lives(&pods, node.id) && !reached(node.id);
            if gone && lost.iter().all(|lost| lost.owner != node.id) {
                let replicas = pod.table.others().iter().filter(|it| it.master == Some(node.id));
                let mut replicas: Vec<NodeId> = replicas.map(|it| it.id).collect();
                replicas.sort_unstable();
                lost.push(Lost { owner: node.id, slots: node.slots.clone(), replicas });
            }
        }
    }
    lost
}

/// Whether a pod answers as this node, or as a replica of it.
fn lives(pods: &[Pod<'_>], id: NodeId) -> bool {
    pods.iter().any(|pod| pod.id() == id || pod.table.me().master == Some(id))
}

/// All expected pods, where all of them are members by our own table, and answer.
fn members(view: &View, shape: Shape) -> Option<Vec<NodeId>> {
    let own = &view.own.table;
    (view.discovery == Discovery::Done).then_some(())?;
    ghosts::all_answering(view, shape, |pod| own.find(pod.id()).is_some())
}

fn is_without_role(pod: &Pod<'_>) -> bool {
    !pod.table.me().flags.replica && pod.table.me().slots.is_empty()
}

/// Somebody has begun to take slots over from the owner, and may have keys of them.
fn is_half_moved(view: &View, owner: NodeId) -> bool {
    view.pods().iter().any(|pod| pod.table.me().importing.iter().any(|(_, from)| *from == owner))
}

/// A replica without its master has keys of we do not know which shard: replication knows no ids,
/// and it may have copied from whoever came to its master's address.
fn has_orphans(view: &View) -> bool {
    let pods = view.pods();
    pods.iter().any(|pod| {
        let master = pod.table.me().master;
        pod.keys > 0 && master.is_some_and(|master| view.pod(master).is_none())
    })
}

/// Whether slots were given up in a cluster whose pods are all there. One that is being formed lacks
/// slots, too: its pods have numbers, and its masters sit in their seats.
pub(super) fn is_holed(view: &View, shape: Shape, settings: &Settings) -> bool {
    let own = &view.own.table;
    let wanted = settings.on_lost_shard == OnLostShard::Recreate;
    if !wanted || own.is_whole() || own.is_fresh() || members(view, shape).is_none() {
        return false;
    }
    let pods = view.pods();
    let is_numbered = |pod: &Pod<'_>| {
        let ordinal = form::ordinal_of(pod.table.me().config_epoch);
        is_without_role(pod) && ordinal.is_some_and(|ordinal| ordinal < shape.expected())
    };
    let mut masters = pods.iter().filter(|pod| !pod.table.me().slots.is_empty());
    let forms =
        pods.iter().any(is_numbered) && masters.all(|master| form::sits_in_its_seat(master, shape));
    !forms
}

/// The part of a pod in a cluster that [`is_holed`]: members stay members, and the fresh pod with
/// the lowest id takes slots that nobody knows an owner of.
pub(super) fn fill(view: &View, shape: Shape, ordinal: u32, plan: &mut Plan) {
    let own = &view.own.table;
    let pods = view.pods();
    if !is_without_role(&pods[0]) {
        plan.membership = Membership::Member;
        return;
    }
    if let Some(pod) = pods.iter().find(|pod| is_without_role(pod) && pod.keys > 0) {
        return plan.hold_back(Reason::KeysWithoutSlots(pod.keys));
    }
    plan.wait("a shard is lost, and its slots are given to fresh pods");
    // Whose shard is there already is none of those that take slots.
    if let Some(home) = join::home(own, shape, ordinal).filter(|home| is_healthy(home))
        && join::lacks_replica(own, home, shape)
    {
        return plan.steps.push(Step::Replicate { master: home.id, why: Replicate::Join });
    }
    let next = pods.iter().filter(|pod| is_without_role(pod)).map(Pod::id).min();
    let known = || pods.iter().flat_map(|pod| pod.table.nodes());
    // Once all that is lost was given up, so that each pod can take what its own seat had.
    let waits = known().any(|node| !node.slots.is_empty() && !lives(&pods, node.id));
    let free = free(known());
    if next != Some(own.id()) || free.is_empty() || waits {
        return;
    }
    let others = known().filter(|node| node.id != own.id());
    if others.map(|node| node.config_epoch).max() >= Some(own.me().config_epoch) {
        return plan.steps.push(Step::BumpEpoch);
    }
    let owners: BTreeSet<NodeId> =
        known().filter(|node| !node.slots.is_empty()).map(|node| node.id).collect();
    let share = share(&free, owners.len(), shape, ordinal);
    plan.steps.extend(share.into_iter().map(Step::AddSlots));
}

/// The slots that none of these nodes owns, in runs.
fn free<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<SlotRange> {
    let mut owned: Vec<SlotRange> = nodes.flat_map(|node| node.slots.clone()).collect();
    owned.sort_unstable_by_key(|range| range.first);
    let end = SlotRange { first: u16::try_from(SLOTS).unwrap_or(u16::MAX), last: u16::MAX };
    let (mut free, mut next) = (Vec::new(), 0);
    for range in owned.into_iter().chain([end]) {
        if next < range.first {
            free.push(SlotRange { first: next, last: range.first - 1 });
        }
        next = range.last.saturating_add(1).max(next);
    }
    free
}

/// What this pod takes of them: all for the last master that is missing, else those of one seat, the
/// own one where it can be.
fn share(free: &[SlotRange], masters: usize, shape: Shape, ordinal: u32) -> Vec<SlotRange> {
    if u32::try_from(masters).is_ok_and(|masters| masters + 1 >= shape.shards) {
        return free.to_vec();
    }
    let of_seat = |shard: u32| -> Vec<SlotRange> {
        let seat = seat_range(shard, shape.shards);
        let cut = |range: &SlotRange| SlotRange {
            first: range.first.max(seat.first),
            last: range.last.min(seat.last),
        };
        free.iter().map(cut).filter(|range| range.first <= range.last).collect()
    };
    let own = shape.shard_of(ordinal).into_iter();
    own.chain(0..shape.shards).map(of_seat).find(|slots| !slots.is_empty()).unwrap_or_default()
}
