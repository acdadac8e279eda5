//! Known members at other addresses are met there, and a replica follows its master's move.
//!
//! Only ids of the own table are met, each is asked for its id right before, and one that has gone
//! over to another cluster is left alone: so no cluster is merged with another.

use std::net::{IpAddr, SocketAddr};

use crate::cluster::model::{Announced, Pod, View, is_healthy, is_up, literal_ip};
use crate::health::Role;
use crate::nodes_conf::{Node, NodeId};

use super::{Meet, Plan, Reason, Replicate, Settings, Stage, Step};

/// Adds what heals.
pub(super) fn plan(view: &View, settings: &Settings, plan: &mut Plan) {
    let own = &view.own.table;
    for pod in view.pods() {
        let (Some(at), Some(line)) = (pod.at, own.find(pod.id())) else { continue };
        if line.flags.myself || is_double(view, pod) {
            continue;
        }
        if is_elsewhere(view, settings, pod) {
            plan.hold(at, Reason::OtherCluster(pod.id()));
            continue;
        }
        let why = if has_moved(view, line, at, pod.table.me())
            || pod.table.find(own.id()).is_none_or(|me| sees_us_elsewhere(view, me, settings.ip))
        {
            Meet::Moved
        } else if is_outdated(view, pod) {
            Meet::Outdated
        } else {
            continue;
        };
        plan.steps.push(meet(view, pod, at, why));
    }
    if let Some((line, master)) = view.refused.as_ref().zip(own.me().master) {
        plan.hold(master, Reason::LoginRefused(line.clone()));
    }
    let above = master_above(view).map(|master| (master, Replicate::Above));
    let moved = || moved_master(view).map(|master| (master, Replicate::Moved));
    if let Some((master, why)) = above.or_else(moved) {
        let empty = view.own.keys > 0 && view.pod(master).is_some_and(|pod| pod.keys == 0);
        if empty {
            plan.hold(master, Reason::EmptyMaster(view.own.keys));
        } else {
            plan.steps.push(Step::Replicate { master, why });
        }
    }
}

/// The step that meets a pod at its own address, where it answered. What it announces comes with its first
/// ping; a port that leads there may lead its bus to somebody else, whom nobody has asked.
pub(super) fn meet(view: &View, pod: Pod<'_>, asked_at: SocketAddr, why: Meet) -> Step {
    let address = &pod.table.me().address;
    let (port, bus_port) = match view.announced {
        // The port that the server itself names is the one that the cluster uses (TLS or not).
        Announced::Nothing if address.port != 0 => (address.port, address.bus_port),
        Announced::Nothing | Announced::ToClients => (asked_at.port(), address.bus_port),
        Announced::ToAll { bus_port } => (asked_at.port(), bus_port),
    };
    let at = SocketAddr::new(asked_at.ip(), port);
    Step::Meet { id: pod.id(), asked_at, at, bus_port, why }
}

fn is_double(view: &View, pod: Pod<'_>) -> bool {
    view.pods().iter().filter(|other| other.id() == pod.id()).count() > 1
}

/// It was a member, and belongs to another cluster now (after a `CLUSTER RESET`, say): it does not
/// know us, most of the live nodes that it knows we do not, and the slots have other owners there.
/// To meet it would merge the two. While a cluster is formed everybody is met for the first time,
/// and forming has its own gate.
fn is_elsewhere(view: &View, settings: &Settings, pod: Pod<'_>) -> bool {
    let own = &view.own.table;
    if pod.table.find(own.id()).is_some()
        || (settings.shape.is_some() && Stage::of(view) == Stage::Unformed)
    {
        return false;
    }
    // Without any owner it is us who came to them, and half-way: a fresh pod that is joining.
    if own.assigned() == 0 {
        return false;
    }
    let known_owner =
        pod.table.owners().any(|node| own.find(node.id).is_some_and(|line| !line.slots.is_empty()));
    let up = || pod.table.others().iter().filter(|node| is_up(&node.flags));
    let strangers = up().filter(|node| own.find(node.id).is_none()).count();
    !known_owner && strangers * 2 > up().count()
}

/// A link that shows as connected is no proof: it is, too, while its connection is only tried, and
/// where packets are lost without a word that lasts for a node timeout. But it is left alone at the
/// address that the pod itself names, since a pod may announce another one than where it answers.
/// `noaddr` with the right address needs a MEET too: no PING ever clears it
/// (`nodeUpdateAddressIfNeeded` returns early where the address is the same).
fn has_moved(view: &View, line: &Node, at: SocketAddr, said: &Node) -> bool {
    let same_port = line.address.bus_port == said.address.bus_port;
    let to_clients = view.announced == Announced::ToClients;
    let elsewhere = to_clients || !same_port || !is_at(view, line.id, literal_ip(line));
    let outdated = literal_ip(line) != Some(at.ip()) && literal_ip(line) != literal_ip(said);
    line.flags.noaddr || outdated || (!is_healthy(line) && elsewhere)
}

/// Whether this id answered at this address, at whichever port.
pub(super) fn is_at(view: &View, id: NodeId, ip: Option<IpAddr>) -> bool {
    view.places().any(|(at, found)| (Some(at.ip()), found) == (ip, id))
}

/// The same of what it says of us.
fn sees_us_elsewhere(view: &View, me: &Node, ip: Option<IpAddr>) -> bool {
    let elsewhere = ip.is_some() && literal_ip(me) != ip;
    let outdated = elsewhere && literal_ip(me) != literal_ip(view.own.table.me());
    let lost = view.announced == Announced::Nothing && elsewhere && !is_healthy(me);
    me.flags.noaddr || outdated || lost
}

/// It has not heard of our slots, or knows us in a role that we do not have. Gossip would tell it
/// within half the node timeout; a MEET tells it now, since its receiver reads the sender's header
/// as that of any ping (`clusterProcessPacket`).
fn is_outdated(view: &View, pod: Pod<'_>) -> bool {
    let own = view.own.table.me();
    let Some(me) = pod.table.find(own.id) else { return false };
    let unheard = own.slots.first().is_some_and(|range| pod.table.owner_of(range.first).is_none());
    unheard || own.flags.replica != me.flags.replica || own.master != me.master
}

/// The master of the own master, as both say, or where that one is gone, the other and we: a replica hears of
/// its master's successor from that one's slots, and where its master has told it first that it is a replica
/// now, nobody owned them any more that it would follow (`clusterUpdateSlotsConfigWith`, seen on Redis 8.0). It
/// gets the data all the same, but nobody counts it as a copy of the shard, nor tells it to take over.
fn master_above(view: &View) -> Option<NodeId> {
    let own = &view.own.table;
    let master = own.me().master?;
    let said = view.pod(master).map(|pod| pod.table.me().master);
    let above = view.pod(said.unwrap_or(own.find(master)?.master)?)?;
    let agrees = || above.table.find(master).is_some_and(|line| line.master == Some(above.id()));
    let known = own.find(above.id()).is_some_and(|line| is_healthy(line) && !line.slots.is_empty());
    let is_so = known && above.table.me().flags.master && (said.is_some() || agrees());
    is_so.then_some(above.id())
}

/// Redis up to 8.6 leaves a replica on its master's old address where gossip, not a MEET, brought
/// the new one. Valkey 8.0 and later follows by itself, and takes this for a no-op.
///
/// A link that is up is no proof: whoever has the old address by now is taken for the master, for
/// replication knows no ids. Where the master itself answers at the new one, it is not at the old.
/// A master that has come back empty must not be copied by our hand over keys that are still here.
fn moved_master(view: &View) -> Option<NodeId> {
    let own = &view.own;
    // Those servers follow, and where to is not in the table.
    if view.announced == Announced::ToClients {
        return None;
    }
    let Role::Replica { link_up, .. } = own.replication.role else { return None };
    let master = own.table.find(own.table.me().master?)?;
    let host = own.replication.master_host.as_deref()?;
    let known = is_up(&master.flags) && master.connected && !master.address.ip.is_empty();
    let elsewhere = !link_up || is_at(view, master.id, literal_ip(master));
    (known && host != master.address.ip && elsewhere).then_some(master.id)
}
