//! A replica takes over from a master that Redis itself never declares failed.
//!
//! Where another node answers at a master's address, Redis up to 8.6 and Valkey up to 8.0 mark the
//! master `noaddr`, and nothing watches a node without an address any more (`clusterCron`,
//! `clusterSendPing`): its replicas wait for ever, and clients are sent to port 0.

use crate::cluster::model::{Discovery, View, is_healthy};
use crate::health::Role;
use crate::nodes_conf::{Node, NodeId};

use super::{Plan, Step};

/// Adds the order to take over, which is given only when it has been wanted for a while.
pub(super) fn plan(view: &View, plan: &mut Plan) {
    if lost_master(view).is_some_and(|master| is_first_of(view, master.id)) {
        plan.steps.push(Step::Failover);
    }
}

/// The own master, where it has no address, answers nowhere, and nobody has taken its slots. An id
/// that is marked as failed is left to the server's own election, which has rules of its own.
fn lost_master(view: &View) -> Option<&Node> {
    let own = &view.own;
    let master = own.table.find(own.table.me().master?)?;
    let flags = &master.flags;
    let link_down = matches!(own.replication.role, Role::Replica { link_up: false, .. });
    let unwatched = flags.noaddr && !flags.fail && link_down;
    // A resolver that fails says nothing about who is gone, nor does a search that finds no member.
    let searched = view.discovery == Discovery::Done
        && view.pods()[1..].iter().any(|pod| own.table.find(pod.id()).is_some());
    let slot = master.slots.first()?.first;
    let pods = view.pods();
    let reached = pods
        .iter()
        .any(|pod| pod.id() == master.id || pod.table.find(master.id).is_some_and(is_healthy));
    let succeeded = pods
        .iter()
        .filter(|pod| own.table.find(pod.id()).is_some())
        .any(|pod| pod.table.owner_of(slot).is_some_and(|owner| owner.id != master.id));
    (unwatched && searched && !reached && !succeeded).then_some(master)
}

/// Whether none of its other replicas that answer comes before this one: who holds more keys, then
/// the lower id. Two that ask for votes at once may both get too few.
fn is_first_of(view: &View, master: NodeId) -> bool {
    let own = (std::cmp::Reverse(view.own.keys), view.own.table.id());
    view.pods()
        .iter()
        .filter(|pod| pod.table.me().master == Some(master))
        .all(|pod| own <= (std::cmp::Reverse(pod.keys), pod.id()))
}
