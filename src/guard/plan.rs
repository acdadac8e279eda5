//! From what was seen to the next step. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::model::{Peer, Report, Table, is_healthy};
use crate::health::Answer;
use crate::nodes_conf::{Node, NodeId};
use crate::redis::Failure;

use super::claim::Claim;

/// How long replicas that answer nothing at all are waited for.
pub const SILENCE_BOUND: Duration = Duration::from_secs(5);

/// The shortest time in which a manual failover may still succeed (`CLUSTER_MF_TIMEOUT` in
/// `src/cluster.h`).
const ELECTION_MIN: Duration = Duration::from_secs(5);

/// How long masters that may not be able to vote are waited for. One that restarts with its data is
/// back by then, and the links to one that is gone are down.
const VOTERS_PATIENCE: Duration = Duration::from_secs(2);

/// Where the guard stands in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since it began.
    pub waited: Duration,
    /// The last order, where there was one.
    pub ordered: Option<Order>,
    /// `cluster-node-timeout`.
    pub node_timeout: Duration,
}

/// An order that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// To whom.
    pub to: NodeId,
    /// What.
    pub how: How,
    /// How long ago.
    pub ago: Duration,
}

impl Moment {
    /// How long after an order an election may still run: voters do not vote twice for the same
    /// master's replicas within two node timeouts (`clusterSendFailoverAuthIfNeeded` in
    /// `src/cluster.c`), so an order before that only disturbs.
    pub(super) fn election(&self) -> Duration {
        ELECTION_MIN.max(self.node_timeout * 2)
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The server may start.
    Start(Start),
    /// It may not start yet; look again.
    Wait(Wait),
    /// A replica is to take over first.
    Promote(Promotion),
}

/// Why the server may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Another node has the slots, so ours becomes a replica of whoever owns them.
    Replaced(NodeId),
    /// No replica is known to anybody who answers.
    NoReplica,
    /// Every replica answers, and none has a key.
    NoKeys,
    /// These replicas answered nothing for [`SILENCE_BOUND`], and no other has keys.
    Silent(Vec<NodeId>),
    /// Nobody who answers knows a master at our address.
    Nobody,
    /// The master that had our address lives elsewhere.
    Elsewhere(NodeId),
    /// A master had our address, in a cluster that nothing shows to be ours.
    Stranger(NodeId),
}

/// Why it may not start yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// These replicas have not answered.
    Silent(Vec<NodeId>),
    /// Somebody is alive there and cannot say who it is: perhaps a replica that loads its data.
    Unclear {
        /// Where.
        at: SocketAddr,
        /// What it says instead.
        answer: Answer,
    },
    /// This replica has the data. Most masters may be about to return, or to be gone.
    Voters(NodeId),
    /// This replica has the data, and was told to take over.
    Election(NodeId),
    /// The search for the other pods has no answer; why.
    Search(String),
    /// Nobody has heard from this address yet.
    Quiet(SocketAddr),
    /// The master that had our address lives elsewhere; its replica still looks for it here.
    Elsewhere(NodeId),
    /// A master had our address, in a cluster that nothing shows to be ours.
    Stranger(NodeId),
}

/// A replica that is to become the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// Its id.
    pub id: NodeId,
    /// The master whose place it takes.
    pub master: NodeId,
    /// Where it answers.
    pub at: SocketAddr,
    /// How.
    pub how: How,
}

/// The word behind `CLUSTER FAILOVER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `FORCE`: the masters vote, without the old one being asked.
    Force,
    /// `TAKEOVER`: no votes. For when there are too few masters to give them.
    Takeover,
}

impl Step {
    /// What to do after everybody was asked.
    pub fn new(claim: &Claim, peers: &[Peer], moment: Moment) -> Step {
        let knowing = Members::new(claim, peers);
        if let Some(owner) = knowing.said().find_map(|(_, said)| replaced(claim, &said.table)) {
            return Step::Start(Start::Replaced(owner));
        }
        match knowing.best_replica() {
            Some((at, best)) => promotion(&knowing, at, best, moment),
            None => without_candidate(&knowing, peers, moment),
        }
    }
}

/// The answers of those that are, or were, in a cluster with us. Nobody else counts: what an
/// address leads to may be a stranger by now.
struct Members<'a> {
    claim: &'a Claim,
    said: Vec<(SocketAddr, &'a Report)>,
}

impl<'a> Members<'a> {
    fn new(claim: &'a Claim, peers: &'a [Peer]) -> Members<'a> {
        let said = peers.iter().filter_map(|peer| {
            let said = peer.answer.as_ref().ok()?;
            let known = claim.members.contains(&said.table.id());
            (known || said.table.find(claim.id).is_some()).then_some((peer.at, said))
        });
        Members { claim, said: said.collect() }
    }

    fn said(&self) -> impl Iterator<Item = (SocketAddr, &'a Report)> {
        self.said.iter().copied()
    }

    /// The replica of ours that has keys and the most of our stream.
    fn best_replica(&self) -> Option<(SocketAddr, &'a Report)> {
        self.said()
            .filter(|(_, said)| is_replica_of(&said.table, self.claim.id) && said.keys > 0)
            .max_by_key(|(_, said)| (said.stream.offset, Reverse(said.table.id())))
    }

    /// All the replicas that the file or anybody who answers knows.
    fn replicas(&self) -> BTreeSet<NodeId> {
        let ours = |node: &&Node| node.master == Some(self.claim.id);
        let told = self.said().flat_map(|(_, said)| said.table.nodes().filter(ours));
        told.map(|node| node.id).chain(self.claim.replicas.iter().copied()).collect()
    }

    /// Those of them that have not answered.
    fn silent_replicas(&self) -> Vec<NodeId> {
        let answers = |id: &NodeId| self.said().any(|(_, said)| said.table.id() == *id);
        self.replicas().into_iter().filter(|id| !answers(id)).collect()
    }

    /// Whether a node answers as a master.
    fn answers_as_master(&self, id: NodeId) -> bool {
        self.said().any(|(_, said)| said.table.id() == id && said.table.me().flags.master)
    }
}

/// Whether the server with this table follows `master`.
pub fn is_replica_of(table: &Table, master: NodeId) -> bool {
    table.me().flags.replica && table.me().master == Some(master)
}

/// Who has our slots, where this table shows that we have lost them all: another owner with a later
/// epoch, or ourselves as a replica. Epochs only grow, so even an old table is right about it. A
/// part of the slots that moved elsewhere is not enough: the file may be from before.
fn replaced(claim: &Claim, table: &Table) -> Option<NodeId> {
    let own = table.find(claim.id);
    if own.is_some_and(|own| own.flags.replica) {
        return own.and_then(|own| own.master);
    }
    if own.is_some_and(|own| !own.slots.is_empty()) {
        return None;
    }
    let owner = table.owner_of(claim.first.first)?;
    (owner.id != claim.id && owner.config_epoch > claim.epoch).then_some(owner.id)
}

fn promotion(knowing: &Members<'_>, at: SocketAddr, best: &Report, moment: Moment) -> Step {
    let id = best.table.id();
    let (how, patience) = match votes(knowing, &best.table) {
        Votes::Sure => (How::Force, Duration::ZERO),
        Votes::Likely => (How::Force, VOTERS_PATIENCE),
        Votes::Never => (How::Takeover, Duration::ZERO),
        Votes::TooFew if knowing.silent_replicas().is_empty() => (How::Takeover, VOTERS_PATIENCE),
        // A replica that is silent may be with a majority that we do not see, and be elected
        // there: by then it has been.
        Votes::TooFew => (How::Takeover, moment.election()),
    };
    if let Some(order) = moment.ordered {
        // To take over ends the election of the same replica, which had no chance.
        let in_vain = order.to == id && order.how == How::Force && how == How::Takeover;
        let bound = if in_vain { patience } else { moment.election() };
        if order.ago < bound {
            return Step::Wait(Wait::Election(id));
        }
    }
    if moment.waited < patience {
        return Step::Wait(Wait::Voters(id));
    }
    Step::Promote(Promotion { id, master: knowing.claim.id, at, how })
}

/// Whether most masters can vote.
enum Votes {
    /// They are up, and the replica is linked to them.
    Sure,
    /// Either is not certain. Votes are asked for once, and again only after four node timeouts
    /// (`auth_retry_time` in `clusterHandleSlaveFailover`), so an election in vain costs a minute.
    Likely,
    /// Not at present.
    TooFew,
    /// However many return, for we are one of them: clusters of one or two masters.
    Never,
}

/// Whether most masters can vote for the server with this table. All with slots count, the one
/// whose place is to be taken included (`clusterHandleSlaveFailover`: `size / 2 + 1`). A master
/// that either it or we can reach forbids a take-over: beside a living majority that might cost
/// data.
fn votes(knowing: &Members<'_>, table: &Table) -> Votes {
    let masters: Vec<_> = table.owners().filter(|node| node.flags.master).collect();
    let needed = masters.len() / 2 + 1;
    let others = || masters.iter().filter(|node| node.id != knowing.claim.id);
    let (answers, linked) =
        (|node: &Node| knowing.answers_as_master(node.id), |node: &Node| is_healthy(node));
    if others().count() < needed {
        Votes::Never
    } else if others().filter(|node| answers(node) && linked(node)).count() >= needed {
        Votes::Sure
    } else if others().filter(|node| answers(node) || linked(node)).count() >= needed {
        Votes::Likely
    } else {
        Votes::TooFew
    }
}

fn without_candidate(knowing: &Members<'_>, peers: &[Peer], moment: Moment) -> Step {
    let silent = knowing.silent_replicas();
    if silent.is_empty() {
        let none = knowing.replicas().is_empty();
        return Step::Start(if none { Start::NoReplica } else { Start::NoKeys });
    }
    if let Some((at, answer)) = peers.iter().find_map(unclear) {
        return Step::Wait(Wait::Unclear { at, answer });
    }
    if moment.waited < SILENCE_BOUND {
        Step::Wait(Wait::Silent(silent))
    } else {
        Step::Start(Start::Silent(silent))
    }
}

/// A server that lives, and will be able to say who it is; one that refuses our login or
/// our certificate, or whose certificate we refuse, once that is put right. It may be the replica that holds the data, so it is not passed over.
pub(super) fn unclear(peer: &Peer) -> Option<(SocketAddr, Answer)> {
    match &peer.answer {
        Err(Failure::Said(answer)) => match answer {
            Answer::Loading
            | Answer::Busy
            | Answer::MasterDown
            | Answer::MaxClients
            | Answer::Refused(_)
            | Answer::NoTls(_)
            | Answer::HungUp => Some((peer.at, answer.clone())),
            Answer::Ok | Answer::Other(_) | Answer::Strange(_) => None,
        },
        _ => None,
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Replaced(owner) => write!(f, "{owner} has its slots"),
            Start::NoReplica => f.write_str("it has no replica"),
            Start::NoKeys => f.write_str("its replicas answer, and none has a key"),
            Start::Silent(silent) => {
                let bound = SILENCE_BOUND.as_secs();
                write!(f, "no answer within {bound} s from its replica {}", Ids(silent))
            }
            Start::Nobody => f.write_str("nobody who answers knows a master at its address"),
            Start::Elsewhere(id) => write!(f, "{id}, which had its address, lives elsewhere"),
            Start::Stranger(id) => write!(
                f,
                "{id} had its address, in a cluster that most pods found do not belong to"
            ),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Silent(silent) => write!(f, "no answer yet from its replica {}", Ids(silent)),
            Wait::Unclear { at, answer } => {
                write!(f, "{at} answers {answer}, and may be a replica with data")
            }
            Wait::Voters(id) => write!(
                f,
                "replica {id} has the data, and it is not sure that most masters can vote for it"
            ),
            Wait::Election(id) => write!(f, "replica {id} has the data, and is to take over"),
            Wait::Search(why) => write!(f, "the search for the other pods has no answer: {why}"),
            Wait::Quiet(at) => write!(f, "no answer yet from {at}"),
            Wait::Elsewhere(id) => {
                write!(f, "{id} lives elsewhere, and a replica of it still looks for it here")
            }
            Wait::Stranger(id) => write!(
                f,
                "{id} had its address, in a cluster that most pods found do not belong to; \
                 waits until another node there has its slots"
            ),
        }
    }
}

impl fmt::Display for Promotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Force => "",
            How::Takeover => ", without votes since most masters are away",
        };
        write!(f, "promote replica {} at {}{how}", self.id, self.at)
    }
}

impl How {
    /// As `CLUSTER FAILOVER` takes it.
    pub fn word(self) -> &'static str {
        match self {
            How::Force => "FORCE",
            How::Takeover => "TAKEOVER",
        }
    }
}

struct Ids<'a>(&'a [NodeId]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&ids.join(", "))
    }
}

#[cfg(test)]
mod tests;
