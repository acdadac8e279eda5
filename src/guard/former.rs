//! Who was at our address before, where no `nodes.conf` says it: a volume was lost, and a replica
//! that looks for its master here would copy whatever answers. Pure.
//!
//! Tables may be those of strangers, since addresses are given out again. So an order is only given
//! in a cluster that most of the pods found belong to, and most of whose live nodes are among the
//! pods found: what a fresh pod demands of a cluster that it joins.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::cluster::model::{Discovery, Peer, Report, Table, client_address, is_up};
use crate::config::server::ServerConfig;
use crate::health::Answer;
use crate::nodes_conf::{Node, NodeId};
use crate::redis::Failure;

use super::claim::Claim;
use super::look::Seen;
use super::plan::{Moment, SILENCE_BOUND, Start, Step, Wait, unclear};

/// How long a search without an answer, and addresses that nothing is heard from, are waited for.
/// Short, for each first boot may meet them; whoever is alive on the network answers by then, or
/// refuses at once.
pub const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The own address, as a cluster would know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    ip: IpAddr,
    /// For clients; 0: none.
    ports: [u16; 4],
    /// Those among them that lead here from every node, whichever one is announced.
    everywhere: [u16; 2],
}

impl Place {
    /// Where a server of this configuration is for its peers: `cluster-announce-*`, else the pod's
    /// own address. `None`: it announces a name.
    pub fn of(server: &ServerConfig, pod_ip: IpAddr) -> Option<Place> {
        let announce = &server.announce;
        let ip = match &announce.ip {
            Some(ip) => ip.parse().ok()?,
            None => pod_ip,
        };
        let own = [server.port, server.tls_port];
        let [port, tls_port] = [announce.port, announce.tls_port];
        let of_nodes = |port| if ip == pod_ip || own.contains(&port) { 0 } else { port };
        let everywhere = [port, tls_port].map(of_nodes);
        Some(Place { ip, ports: [own[0], own[1], port, tls_port], everywhere })
    }

    /// Whether this address, which is in this table or copied from by its server, is the own one. A port
    /// of nodes is one pod's; a port that several nodes of a table have is no such port.
    fn is(&self, at: Option<SocketAddr>, table: &Table) -> bool {
        at.is_some_and(|at| {
            let port = at.port();
            let same = |node: &&Node| client_address(node).is_some_and(|at| at.port() == port);
            let is_single = || table.nodes().filter(same).count() < 2;
            at.ip() == self.ip && self.ports.contains(&port)
                || self.everywhere.contains(&port) && is_single()
        })
    }
}

/// What to do before a server starts that knows nobody.
pub fn step(place: &Place, seen: &Seen, moment: Moment) -> Step {
    let formers: BTreeSet<NodeId> =
        reports(seen).flat_map(|(_, report)| masters_at(place, report)).map(|it| it.id).collect();
    let mut steps = formers.into_iter().map(|id| instead_of(id, place, seen, moment));
    let first = steps.next().unwrap_or_else(|| with_nobody(seen, moment));
    let starts = |step: &Step| matches!(step, Step::Start(_));
    if starts(&first) { steps.find(|step| !starts(step)).unwrap_or(first) } else { first }
}

fn reports(seen: &Seen) -> impl Iterator<Item = (SocketAddr, &Report)> {
    seen.peers.iter().filter_map(|peer| Some((peer.at, peer.answer.as_ref().ok()?)))
}

/// The masters with slots that this server looks for at our address: by its table, or, being a
/// replica, by its replication, which keeps to an address that the table has dropped already.
fn masters_at<'a>(place: &Place, report: &'a Report) -> impl Iterator<Item = &'a Node> {
    let table = &report.table;
    let own = table.me().master.filter(|_| place.is(report.follows, table));
    table.others().iter().filter(move |node| {
        let here = place.is(client_address(node), table) || own == Some(node.id);
        here && node.flags.master && !node.slots.is_empty()
    })
}

/// The step that is due for one master which was at our address.
fn instead_of(id: NodeId, place: &Place, seen: &Seen, moment: Moment) -> Step {
    if reports(seen).any(|(_, report)| report.table.id() == id) {
        let follows = |report: &Report| {
            report.table.me().master == Some(id) && place.is(report.follows, &report.table)
        };
        let waits = reports(seen).any(|(_, report)| follows(report));
        return if waits && moment.waited < SILENCE_BOUND {
            Step::Wait(Wait::Elsewhere(id))
        } else {
            Step::Start(Start::Elsewhere(id))
        };
    }
    let mut tellers = reports(seen).filter(|(at, report)| {
        let tells = masters_at(place, report).any(|node| node.id == id);
        tells && seen.found.contains(at) && is_ours(&report.table, id, seen)
    });
    match tellers.next().and_then(|(_, teller)| claim(&teller.table, id)) {
        Some(claim) => Step::new(&claim, &seen.peers, moment),
        // By then another node has the slots, where a majority is left in that cluster.
        None if moment.waited < moment.election() => Step::Wait(Wait::Stranger(id)),
        None => Step::Start(Start::Stranger(id)),
    }
}

/// Whether most of the pods found that are in a cluster are in the one of this table, and most of
/// its live nodes, but for the one that we were, are pods found: by their id, or since the search
/// names their address where a pod is about to be back.
fn is_ours(table: &Table, former: NodeId, seen: &Seen) -> bool {
    let found = || reports(seen).filter(|(at, _)| seen.found.contains(at));
    let in_cluster: BTreeSet<NodeId> = found()
        .filter(|(_, report)| !report.table.is_fresh())
        .map(|(_, report)| report.table.id())
        .collect();
    let members = in_cluster.iter().filter(|id| table.find(**id).is_some()).count();
    let live = || table.nodes().filter(|node| node.id != former && is_up(&node.flags));
    let is_found = |node: &&Node| {
        let named = client_address(node).is_some_and(|at| seen.found.contains(&at));
        named || in_cluster.contains(&node.id)
    };
    members * 2 > in_cluster.len() && live().filter(is_found).count() * 2 > live().count()
}

fn claim(table: &Table, id: NodeId) -> Option<Claim> {
    let node = table.find(id)?;
    let others = || table.nodes().filter(|node| node.id != id);
    Some(Claim {
        id,
        first: *node.slots.first()?,
        epoch: node.config_epoch,
        replicas: others().filter(|node| node.master == Some(id)).map(|node| node.id).collect(),
        members: others().map(|node| node.id).collect(),
        addresses: BTreeSet::new(),
    })
}

/// Nobody who answers knows a master at our address: a first boot, mostly. Whoever is not there
/// yet has refused the connection, and is not waited for.
fn with_nobody(seen: &Seen, moment: Moment) -> Step {
    let loads = |(_, answer): &(SocketAddr, Answer)| {
        matches!(answer, Answer::Loading | Answer::Busy | Answer::MasterDown)
    };
    if let Some((at, answer)) = seen.peers.iter().filter_map(unclear).find(loads) {
        return Step::Wait(Wait::Unclear { at, answer });
    }
    if moment.waited < FIRST_LOOK {
        if let Discovery::Failed(why) = &seen.discovery {
            return Step::Wait(Wait::Search(why.clone()));
        }
        let found = |peer: &&Peer| seen.found.contains(&peer.at) && is_quiet(peer);
        if let Some(peer) = seen.peers.iter().find(found) {
            return Step::Wait(Wait::Quiet(peer.at));
        }
    }
    Step::Start(Start::Nobody)
}

/// Somebody may be there who has not said so yet.
fn is_quiet(peer: &Peer) -> bool {
    matches!(peer.answer, Err(Failure::Silent(_) | Failure::Said(_)))
}

#[cfg(test)]
mod tests;
