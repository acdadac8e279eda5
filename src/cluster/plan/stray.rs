//! A replica that has copied somebody else does not stand for election.
//!
//! Replication knows addresses, no ids: a replica copies whoever answers where its master was. Where
//! that is another server of the cluster, Valkey 8.1 and later marks the master as failed at once
//! (`clusterProcessPacket`), and a second later the replica may be elected, with the wrong data.
//! `cluster-replica-no-failover` keeps it from that, and from nothing else: an order to take over is
//! heeded (`clusterHandleSlaveFailover`).

use crate::cluster::model::{Own, View};
use crate::health::Role;
use crate::nodes_conf::NodeId;

use super::{Plan, Step};

/// The own master, where the view leaves no doubt that it is being copied: the link is up, to an
/// address that answered as that very id afterwards.
pub fn copied_master(view: &View) -> Option<NodeId> {
    let replication = &view.own.replication;
    let (master, there) = (view.own.table.me().master?, replication.follows?);
    let link_up = matches!(replication.role, Role::Replica { link_up: true, .. });
    (link_up && view.answers_at(there, master)).then_some(master)
}

/// Whether somebody else than the own master answers where the own server looks for it. Nobody at
/// all is no stranger: then the server's elections are as they should be.
pub fn meets_stranger(view: &View) -> bool {
    let (Some(master), Some(there)) = (view.own.table.me().master, view.own.replication.follows)
    else {
        return false;
    };
    view.places().any(|(at, _)| at == there) && !view.answers_at(there, master)
}

/// Whether what the own server holds may be somebody else's, and it has not been elected with it.
pub(super) fn may_be_strange(view: &View) -> bool {
    let own = &view.own;
    let is_masters = view.past.is_copy && own.replication.stream.is_whole();
    own.table.me().flags.replica && view.past.strayed && !is_masters
}

/// The own master, where the own server has begun to take other data than it had, since a look that
/// saw a stranger where it looks for its master. Nobody else need be asked again to know that it is
/// not to be elected now.
pub fn turned_strange(last: &View, own: &Own) -> Option<NodeId> {
    let (me, stream) = (own.table.me(), &own.replication.stream);
    let same = last.past.is_copy && stream.id == last.own.replication.stream.id;
    let turned = is_exposed(last) && !me.flags.nofailover && !(same && stream.is_whole());
    me.master.filter(|_| turned)
}

/// Whether a copy of a stranger may end, and an election come, before the next look.
pub fn is_exposed(view: &View) -> bool {
    let flags = &view.own.table.me().flags;
    flags.replica && !flags.nofailover && view.past.strayed
}

/// Adds what keeps the own server from standing for election, or ends that. Only what was set by us
/// is taken back: the flag may be the user's.
pub(super) fn plan(view: &View, plan: &mut Plan) {
    let me = view.own.table.me();
    if !me.flags.nofailover {
        if let Some(master) = me.master.filter(|_| may_be_strange(view)) {
            plan.steps.push(Step::KeepBack { master });
        }
    } else if view.past.kept_back && (me.flags.master || copied_master(view).is_some()) {
        plan.steps.push(Step::LetStand);
    }
}
