//! A fresh pod finds a formed cluster, meets it, and becomes the replica that it lacks.

use crate::cluster::model::{View, is_healthy, is_up, seat_range};
use crate::config::shape::Shape;
use crate::health::Membership;
use crate::nodes_conf::Node;

use super::{Meet, Plan, Reason, Replicate, Step, heal};

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
    let masters = whole.table.nodes().filter(|node| !node.slots.is_empty()).count();
    if u32::try_from(masters).ok() != Some(shape.shards) {
        return plan.hold_back(Reason::OtherShape { masters, shape });
    }
    if u32::try_from(members.len()).is_ok_and(|n| n >= shape.expected()) {
        return plan.hold_back(Reason::NoSeat(members.len()));
    }
    plan.wait("a cluster is there; joins it");
    for member in members {
        if let Some(at) = member.at {
            plan.steps.push(heal::meet(*member, at, Meet::Join));
        }
    }
}

/// A member without slots and without a master follows the master that lacks a replica: that of
/// the shard which its ordinal belongs to, or else the one with the fewest.
pub(super) fn take_role(view: &View, shape: Shape, ordinal: u32, plan: &mut Plan) {
    let table = &view.own.table;
    let me = table.me();
    if me.flags.replica || !me.slots.is_empty() {
        plan.membership = Membership::Member;
        return;
    }
    if view.own.keys > 0 {
        return plan.hold_back(Reason::HoldsKeys(view.own.keys));
    }
    plan.wait("a cluster is there; becomes a replica in it");
    let home = shape
        .shard_of(ordinal)
        .and_then(|shard| table.owner_of(seat_range(shard, shape.shards).first));
    if let Some(home) = home
        && !is_up(&home.flags)
    {
        return plan.hold_back(Reason::MasterDown(home.id));
    }
    let wanted = usize::try_from(shape.replicas).unwrap_or(usize::MAX);
    let lacks = |node: &&Node| table.live_replicas(node.id) < wanted;
    let fewest = || {
        table
            .others()
            .iter()
            .filter(|node| !node.slots.is_empty() && is_healthy(node))
            .min_by_key(|node| (table.live_replicas(node.id), node.slots[0].first))
    };
    if let Some(master) = home.filter(lacks).or_else(fewest)
        && is_healthy(master)
    {
        plan.steps.push(Step::Replicate { master: master.id, why: Replicate::Join });
    }
}
