//! A fresh pod finds a formed cluster, meets it, and becomes the replica that it lacks.

use crate::cluster::model::{Table, View, is_healthy, is_up, seat_range};
use crate::config::shape::Shape;
use crate::health::Membership;
use crate::nodes_conf::{Node, SlotRange};

use super::{Lost, Meet, Plan, Reason, Replicate, Step, heal};

/// Meets the cluster that most of the pods that answer belong to, where it has a seat free.
pub(super) fn meet(view: &View, shape: Shape, plan: &mut Plan) {
    let own = &view.own;
    if !own.table.is_fresh() || own.keys > 0 {
        return plan.hold_back(Reason::DataWithoutCluster(own.keys));
    }
    let pods = view.pods();
    let others = || pods.iter().filter(|pod| pod.at.is_some());
    // A cluster is what one of its members knows; the largest first.
    let Some((whole, members)) = others()
        .filter(|pod| pod.table.is_whole())
        .map(|whole| {
            let members = others().filter(|pod| whole.table.find(pod.id()).is_some());
            (whole, members.collect::<Vec<_>>())
        })
        .max_by_key(|(_, members)| members.len())
    else {
        return;
    };
    if members.len() * 2 <= others().count() {
        return plan.hold_back(Reason::NoMajority);
    }
    // One address of somebody else's cluster, given out again or come here by mistake, may be all
    // that is found while the other pods are still to come.
    let up = whole.table.nodes().filter(|node| is_up(&node.flags)).count();
    if members.len() * 2 <= up {
        return plan.hold_back(Reason::PartOfCluster { found: members.len(), up });
    }
    let masters = whole.table.owners().count();
    if u32::try_from(masters).ok() != Some(shape.shards) {
        return plan.hold_back(Reason::OtherShape { masters, shape });
    }
    if u32::try_from(members.len()).is_ok_and(|n| n >= shape.expected()) {
        return plan.hold_back(Reason::NoSeat(members.len()));
    }
    plan.wait("a cluster is there; joins it");
    for member in members {
        if let Some(at) = member.at {
            plan.steps.push(heal::meet(view, *member, at, Meet::Join));
        }
    }
}

/// A member without slots and without a master follows the master that lacks a replica: that of
/// the shard which its ordinal belongs to, or else the one with the fewest.
pub(super) fn take_role(view: &View, shape: Shape, ordinal: u32, lost: &[Lost], plan: &mut Plan) {
    let table = &view.own.table;
    if !lacks_role(view, plan) {
        return;
    }
    plan.wait("a cluster is there; becomes a replica in it");
    let home = home(table, shape, ordinal);
    if let Some(home) = home
        && !is_up(&home.flags)
    {
        // Held already, and said more clearly.
        if let Some(lost) = lost.iter().find(|lost| lost.owner == home.id) {
            return plan.wait(&lost.to_string());
        }
        return plan.hold_back(Reason::MasterDown(home.id));
    }
    let fewest = || {
        table
            .others()
            .iter()
            .filter(|node| !node.slots.is_empty() && is_healthy(node))
            .min_by_key(|node| (table.live_replicas(node.id), node.slots[0].first))
    };
    follow(home.filter(|home| lacks_replica(table, home, shape)).or_else(fewest), plan);
}

/// A member that does not know yet who serves each slot. It hears that from each owner only, since
/// gossip tells of nodes and not of their slots: of an owner that is gone it never will. When
/// nothing else is left to be heard it takes its place in its own shard, or says whom that lacks.
pub(super) fn learn(view: &View, shape: Shape, ordinal: u32, plan: &mut Plan) {
    let table = &view.own.table;
    let unheard: Vec<&Node> = view
        .reports()
        .filter(|report| table.find(report.table.id()).is_some())
        .flat_map(|report| report.table.nodes())
        .filter(|node| node.slots.iter().any(|range| table.owner_of(range.first).is_none()))
        .collect();
    let may_be_heard = |node: &&Node| is_healthy(node) || view.pod(node.id).is_some();
    if unheard.is_empty() || unheard.iter().any(may_be_heard) || !view.is_complete() {
        return plan.wait(LEARNS);
    }
    if !lacks_role(view, plan) {
        return;
    }
    plan.wait(LEARNS);
    let Some(slot) = home_slot(shape, ordinal) else { return };
    let owns = |range: &SlotRange| (range.first..=range.last).contains(&slot);
    match unheard.iter().find(|node| node.slots.iter().any(owns)) {
        Some(gone) => plan.hold_back(Reason::MasterDown(gone.id)),
        None => {
            let home = table.owner_of(slot);
            follow(home.filter(|home| lacks_replica(table, home, shape)), plan);
        }
    }
}

const LEARNS: &str = "learns from the others who serves which slots";

/// Whether the own server is neither master nor replica, and may be made one. Who has a role is a
/// member; one with keys is held.
fn lacks_role(view: &View, plan: &mut Plan) -> bool {
    let me = view.own.table.me();
    if me.flags.replica || !me.slots.is_empty() {
        plan.membership = Membership::Member;
        return false;
    }
    if view.own.keys > 0 {
        plan.hold_back(Reason::KeysWithoutSlots(view.own.keys));
        return false;
    }
    true
}

/// The first slot of the shard that an ordinal belongs to.
fn home_slot(shape: Shape, ordinal: u32) -> Option<u16> {
    shape.shard_of(ordinal).map(|shard| seat_range(shard, shape.shards).first)
}

/// The owner of the slots that the pods of this ordinal's shard had first.
pub(super) fn home(table: &Table, shape: Shape, ordinal: u32) -> Option<&Node> {
    table.owner_of(home_slot(shape, ordinal)?)
}

/// Whether a master has fewer replicas than it should have.
pub(super) fn lacks_replica(table: &Table, master: &Node, shape: Shape) -> bool {
    table.live_replicas(master.id) < usize::try_from(shape.replicas).unwrap_or(usize::MAX)
}

fn follow(master: Option<&Node>, plan: &mut Plan) {
    if let Some(master) = master
        && is_healthy(master)
    {
        plan.steps.push(Step::Replicate { master: master.id, why: Replicate::Join });
    }
}
