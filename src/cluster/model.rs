//! What one round has seen, and the questions that the plan asks of it. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::server::ServerConfig;
use crate::health::Role;
use crate::nodes_conf::{Flags, NOWHERE, Node, NodeId, SlotRange};
use crate::redis::Failure;

use super::replies::Stream;

/// The number of hash slots (`CLUSTER_SLOTS` in `src/cluster.h`).
pub const SLOTS: u32 = 16384;

/// The cluster as one server sees it: its `CLUSTER NODES`, with exactly one line of its own.
/// Nodes in handshake are left out, since their id is random until the other end has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    me: Node,
    others: Vec<Node>,
}

impl Table {
    /// Sorts a parsed reply. `None`: it has no line of its own, or two.
    pub fn new(nodes: Vec<Node>) -> Option<Table> {
        let (mut own, others): (Vec<_>, Vec<_>) = nodes
            .into_iter()
            .filter(|node| !node.flags.handshake)
            .partition(|node| node.flags.myself);
        let me = own.pop().filter(|_| own.is_empty())?;
        Some(Table { me, others })
    }

    /// The line of the server itself.
    pub fn me(&self) -> &Node {
        &self.me
    }

    /// The node id of the server itself.
    pub fn id(&self) -> NodeId {
        self.me.id
    }

    /// All other nodes that it knows.
    pub fn others(&self) -> &[Node] {
        &self.others
    }

    /// All nodes, itself included.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.me).chain(&self.others)
    }

    /// The line of `id`, where it knows that node.
    pub fn find(&self, id: NodeId) -> Option<&Node> {
        self.nodes().find(|node| node.id == id)
    }

    /// The node that serves `slot`.
    pub fn owner_of(&self, slot: u16) -> Option<&Node> {
        self.nodes().find(|node| node.slots.iter().any(|range| contains(range, slot)))
    }

    /// A node that serves any part of `range`.
    pub fn owner_within(&self, range: &SlotRange) -> Option<&Node> {
        self.nodes().find(|node| node.slots.iter().any(|owned| overlap(owned, range)))
    }

    /// The masters that serve slots.
    pub fn owners(&self) -> impl Iterator<Item = &Node> {
        self.nodes().filter(|node| !node.slots.is_empty())
    }

    /// How many slots have an owner.
    pub fn assigned(&self) -> u32 {
        self.nodes().map(|node| slot_count(&node.slots)).sum()
    }

    /// Whether every slot has an owner: a cluster has been formed.
    pub fn is_whole(&self) -> bool {
        self.assigned() == SLOTS
    }

    /// Whether the server knows nobody, serves nothing and follows nobody: as good as new.
    pub fn is_fresh(&self) -> bool {
        self.others.is_empty() && self.me.slots.is_empty() && !self.me.flags.replica
    }

    /// The same, where the line of `id` differs in this.
    #[cfg(test)]
    pub(crate) fn with_line(&self, id: NodeId, change: impl Fn(&mut Node)) -> Table {
        let mut changed = self.clone();
        let Table { me, others } = &mut changed;
        std::iter::once(me).chain(others).filter(|node| node.id == id).for_each(change);
        changed
    }

    /// The replicas of `master`, other than those marked as failed or lost.
    pub fn live_replicas(&self, master: NodeId) -> usize {
        self.nodes().filter(|node| node.master == Some(master) && is_up(&node.flags)).count()
    }
}

/// Whether a node is marked neither as failing nor as lost.
pub fn is_up(flags: &Flags) -> bool {
    !flags.fail && !flags.pfail && !flags.noaddr
}

/// Whether a node has been reached and is not marked as failing.
pub fn is_healthy(node: &Node) -> bool {
    is_up(&node.flags) && (node.connected || node.flags.myself)
}

/// The address of a node as a literal; `None` where it is empty or a name.
pub fn literal_ip(node: &Node) -> Option<IpAddr> {
    node.address.ip.parse().ok()
}

/// Where a node's clients reach it; `None` where its address is empty, a name, or taken out. Without a
/// plain port `nodes.conf` has 0 there and the other one behind it (7.2+, `clusterGenNodeDescription`).
pub fn client_address(node: &Node) -> Option<SocketAddr> {
    let by_tls = || node.address.aux("tls-port")?.parse().ok();
    let port = if node.address.port == 0 { by_tls()? } else { node.address.port };
    let at = SocketAddr::new(literal_ip(node)?, port);
    (at.port() != 0 && at.ip() != NOWHERE).then_some(at)
}

fn contains(range: &SlotRange, slot: u16) -> bool {
    (range.first..=range.last).contains(&slot)
}

fn overlap(a: &SlotRange, b: &SlotRange) -> bool {
    a.first <= b.last && b.first <= a.last
}

/// The number of slots in `ranges`, which do not overlap.
pub fn slot_count(ranges: &[SlotRange]) -> u32 {
    ranges.iter().map(|range| u32::from(range.last - range.first) + 1).sum()
}

/// The slots of master number `shard` of `shards`, cut as `redis-cli --cluster create` cuts them
/// (`clusterManagerCommandCreate` in `src/redis-cli.c`): as even as whole slots allow.
pub fn seat_range(shard: u32, shards: u32) -> SlotRange {
    // Rounded to the nearest slot, halves up; at most 16384 * 16384 fits.
    let edge = |n: u32| (n * SLOTS + shards / 2) / shards;
    let cut = |n: u32| u16::try_from(edge(n)).unwrap_or(u16::MAX);
    SlotRange { first: cut(shard), last: cut(shard + 1).saturating_sub(1) }
}

/// What the own server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Its view of the cluster.
    pub table: Table,
    /// `DBSIZE`: keys in database 0, the only one in cluster mode.
    pub keys: u64,
    /// It serves its keys. `false`: it answers `MASTERDOWN` to whoever asks for them.
    pub serves: bool,
    /// `cluster_state:ok`.
    pub state_ok: bool,
    /// `cluster_current_epoch`.
    pub current_epoch: u64,
    /// `INFO replication`.
    pub replication: Replication,
}

impl Own {
    /// Whether it is a replica without a link to a master. One that is up leads to whoever answers
    /// where the master was.
    pub fn is_cut_off(&self) -> bool {
        matches!(self.replication.role, Role::Replica { link_up: false, .. })
    }
}

/// `INFO replication`, as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// The role, and for a replica how its link is.
    pub role: Role,
    /// `master_host` of a replica: where it really looks for its master.
    pub master_host: Option<String>,
    /// The same with `master_port`, as a peer's address: where servers have two ports, with that at
    /// which they are asked. `None`: it is no replica, or looks for a name.
    pub follows: Option<SocketAddr>,
    /// What the data consists of.
    pub stream: Stream,
    /// The stream that it went on from, where a successor continued it (`master_replid2`).
    pub earlier: Option<String>,
    /// For how long the link of a replica has been down since it was last up.
    pub down_for: Option<Duration>,
}

/// What became of the search for other pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Neither a Service nor a list is known, so only the own table was used.
    Off,
    /// The resolver failed, which is no answer; why.
    Failed(String),
    /// It answered; a name that does not exist is an answer too.
    Done,
}

/// One address that was asked. Addresses that turned out to be our own are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it was asked.
    pub at: SocketAddr,
    /// The Service's name led there, so a pod with this address exists; else only the own table or
    /// a list says so.
    pub named: bool,
    /// The same server has answered at another address, as where it announces that of a node's port:
    /// there it counts, and here not again.
    pub alias: bool,
    /// What came back.
    pub answer: Result<Report, Failure>,
}

/// What a peer said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its view of the cluster.
    pub table: Table,
    /// Its `DBSIZE`.
    pub keys: u64,
    /// Where a replica really looks for its master (`master_host` and `master_port`). `None`: it is
    /// no replica, or looks for a name.
    pub follows: Option<SocketAddr>,
    /// What its data consists of.
    pub stream: Stream,
}

/// What the keeper has seen without a break until now: lower bounds, since it forgets when it is
/// started anew. The plan uses it to wait, never to go ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// For how long the own master has been nowhere.
    pub missing: Option<Duration>,
    /// How long ago the own server was last told to take over.
    pub ordered: Option<Duration>,
    /// What the own server holds came from its master, and nobody else, as far as was seen.
    pub is_copy: bool,
    /// It came from the master that its own one took over from, and nobody else: the same history, but
    /// there may be more recent data.
    pub is_dated: bool,
    /// Somebody else answered where the own server looks for its master, and it was not seen to copy
    /// its master since.
    pub strayed: bool,
    /// The own server was told not to be elected, by a keeper and not by its user.
    pub kept_back: bool,
    /// For how long the own server has missed a link to a pod that announces another address than its own.
    pub unlinked: Duration,
    /// For how long nothing has changed and nothing was to be done.
    pub calm: Duration,
}

/// Whom the user has servers tell another address than their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// Nobody.
    Nothing,
    /// Clients, the keeper among them: no server looks for another at an address of a table
    /// (`cluster-announce-client-*`).
    ToClients,
    /// Everybody.
    ToAll {
        /// The port where the bus of each really is.
        bus_port: u16,
    },
}

impl Announced {
    /// By this configuration, in a pod with this address.
    pub fn of(server: &ServerConfig, own_ip: Option<IpAddr>) -> Announced {
        let (announce, bus_port) = (&server.announce, server.bus_port());
        let own = |ip: &String| ip.parse().ok() == own_ip;
        let is_own =
            announce.ip.as_ref().is_none_or(own) && [0, bus_port].contains(&announce.bus_port);
        match (announce.to_clients, is_own) {
            (true, _) => Announced::ToClients,
            (false, true) => Announced::Nothing,
            (false, false) => Announced::ToAll { bus_port },
        }
    }
}

/// All that one round has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The own server.
    pub own: Own,
    /// What became of the search.
    pub discovery: Discovery,
    /// Every address that was asked, in order.
    pub peers: Vec<Peer>,
    /// What the user has the servers announce, all of them alike.
    pub announced: Announced,
    /// What came before.
    pub past: Past,
    /// How the own master refuses a login like that of the own server, which has no link to it.
    pub refused: Option<String>,
}

/// One server that answered.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// Where it answered; `None` for the own server.
    pub at: Option<SocketAddr>,
    /// Its view of the cluster.
    pub table: &'a Table,
    /// Its keys.
    pub keys: u64,
}

impl Pod<'_> {
    /// Its node id.
    pub fn id(&self) -> NodeId {
        self.table.id()
    }
}

impl View {
    /// Every server that answered, the own one first.
    pub fn pods(&self) -> Vec<Pod<'_>> {
        let own = Pod { at: None, table: &self.own.table, keys: self.own.keys };
        let peers = self.answers().filter(|(peer, _)| !peer.alias).map(|(peer, report)| Pod {
            at: Some(peer.at),
            table: &report.table,
            keys: report.keys,
        });
        std::iter::once(own).chain(peers).collect()
    }

    /// What each other server said that answered.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.answers().filter(|(peer, _)| !peer.alias).map(|(_, report)| report)
    }

    /// Every address at which another server answered, with its id.
    pub fn places(&self) -> impl Iterator<Item = (SocketAddr, NodeId)> {
        self.answers().map(|(peer, report)| (peer.at, report.table.id()))
    }

    /// Whether this id answered there.
    pub fn answers_at(&self, at: SocketAddr, id: NodeId) -> bool {
        self.places().any(|place| place == (at, id))
    }

    fn answers(&self) -> impl Iterator<Item = (&Peer, &Report)> {
        self.peers.iter().filter_map(|peer| Some((peer, peer.answer.as_ref().ok()?)))
    }

    /// A pod that exists, since its Service names it, but does not say who it is.
    pub fn out_of_reach(&self) -> Option<SocketAddr> {
        self.peers.iter().find(|peer| peer.named && peer.answer.is_err()).map(|peer| peer.at)
    }

    /// Whether every pod that exists has said who it is. A resolver that fails says nothing about
    /// who is there.
    pub fn is_complete(&self) -> bool {
        self.discovery == Discovery::Done && self.out_of_reach().is_none()
    }

    /// The server that answered as `id`, where one did.
    pub fn pod(&self, id: NodeId) -> Option<Pod<'_>> {
        self.pods().into_iter().find(|pod| pod.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_cut_as_redis_cli_cuts_them() {
        let cut = |shards| -> Vec<String> {
            (0..shards).map(|shard| seat_range(shard, shards).to_string()).collect()
        };
        assert_eq!(cut(3), ["0-5460", "5461-10922", "10923-16383"]);
        assert_eq!(cut(1), ["0-16383"]);
        assert_eq!(cut(5), ["0-3276", "3277-6553", "6554-9829", "9830-13106", "13107-16383"]);
    }

    #[test]
    fn seats_cover_every_slot_once() {
        for shards in [1, 2, 3, 7, 15, 100, 1000, 9999, 16383, SLOTS] {
            let mut next = 0;
            for shard in 0..shards {
                let range = seat_range(shard, shards);
                assert_eq!(u32::from(range.first), next, "shard {shard} of {shards}");
                assert!(range.first <= range.last, "shard {shard} of {shards} is empty");
                next = u32::from(range.last) + 1;
            }
            assert_eq!(next, SLOTS, "of {shards}");
        }
    }
}
