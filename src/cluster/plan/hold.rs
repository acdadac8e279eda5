//! What is held back, and why.

use std::fmt;
use std::net::SocketAddr;

use crate::config::shape::Shape;
use crate::nodes_conf::{NodeId, SlotRange};
use crate::redis::Failure;

use super::Lost;

/// One thing that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What it is about: `this pod`, an address or a node id.
    pub about: String,
    /// Why, and what would let it go on.
    pub reason: Reason,
}

impl Hold {
    /// Whether the other is about the same thing for the same kind of reason, whatever the numbers
    /// in it are by now.
    pub fn is_like(&self, other: &Hold) -> bool {
        (&self.about, self.reason.kind()) == (&other.about, other.reason.kind())
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.reason)
    }
}

/// Why something is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The resolver failed, which says nothing about who is there.
    ResolverFailed(String),
    /// The pod's name has no trailing number, so it has no seat in the cluster.
    NoOrdinal,
    /// The pod's ordinal has no seat in the cluster.
    BeyondShape {
        /// The ordinal.
        ordinal: u32,
        /// The shape that has no seat for it.
        shape: Shape,
    },
    /// More pods answer than the shape has seats.
    TooMany {
        /// How many answer, this one included.
        found: usize,
        /// The shape.
        shape: Shape,
    },
    /// Fewer pods answer than the cluster has; forming waits.
    TooFew {
        /// How many answer, this one included.
        found: usize,
        /// The shape.
        shape: Shape,
    },
    /// A node that was a member belongs to another cluster now.
    OtherCluster(NodeId),
    /// The cluster found has another number of masters than this pod was told.
    OtherShape {
        /// How many nodes have slots there.
        masters: usize,
        /// The shape.
        shape: Shape,
    },
    /// A found address answers, but not as a server that we can work with.
    Unusable(Failure),
    /// Two fresh pods, or this one and another, took the same number.
    SameOrdinal {
        /// The ordinal.
        ordinal: u32,
        /// One of them.
        first: NodeId,
        /// The other.
        second: NodeId,
    },
    /// A fresh pod has a number that is not of this cluster's shape, or not its ordinal's.
    ForeignEpoch(u64),
    /// One id answers at two addresses; `None` is the own server.
    SameId {
        /// One address.
        first: Option<SocketAddr>,
        /// The other.
        second: Option<SocketAddr>,
    },
    /// A pod announces this address, and does not answer there.
    Announces(SocketAddr),
    /// A pod knows a node that none of the pods is.
    Stranger(NodeId),
    /// A pod holds keys outside the slots that it took while the cluster was formed.
    HoldsKeys(u64),
    /// A member has so many keys and no slots, so that it cannot become a replica.
    KeysWithoutSlots(u64),
    /// Part of this pod's slots is owned by another node.
    SlotsTaken {
        /// The slots of this pod's seat.
        range: SlotRange,
        /// Who owns a part of them.
        owner: NodeId,
    },
    /// This pod holds data or slots, but knows nobody, while the others have a cluster.
    DataWithoutCluster(u64),
    /// More than one cluster is found under the Service's name, and none has most pods.
    NoMajority,
    /// Most live nodes of the cluster that was found are not among the pods found, so it may be
    /// somebody else's.
    PartOfCluster {
        /// How many of its nodes were found.
        found: usize,
        /// How many live nodes it has.
        up: usize,
    },
    /// The cluster that was found has no seat free: it is somebody else's, or two pods have one
    /// ordinal.
    NoSeat(usize),
    /// The master has moved and is empty, while this replica of it holds so many keys.
    EmptyMaster(u64),
    /// The master does not let its replica here log in; what it says, and with which login.
    LoginRefused(String),
    /// The master that this pod is to follow is not reachable.
    MasterDown(NodeId),
    /// No pod has a copy of a shard any more.
    ShardLost(Lost),
    /// The own master has been nowhere for a while, and this replica does not take over.
    MasterGone(Lack),
}

/// What a replica lacks to take over from a master that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Too few masters are there to vote.
    Voters {
        /// How many are.
        voters: usize,
        /// How many votes it takes.
        needed: usize,
    },
    /// The master is marked as failed, so the server stands for election by itself; it has not won.
    Elected,
    /// The master is marked as failed, and the server has the flag `nofailover`.
    Flagged,
    /// It is not known that what it holds is its master's.
    Data,
    /// What it holds is that of the master before, which this one took over from.
    Dated,
    /// It has been out of touch for longer than Redis allows.
    Age,
    /// This replica has more of the data.
    Behind(NodeId),
    /// It was told to, and the masters have not voted for it yet.
    Votes,
}

impl Reason {
    /// The kind of reason, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Reason::ResolverFailed(_) => "resolver_failed",
            Reason::NoOrdinal => "no_ordinal",
            Reason::BeyondShape { .. } => "beyond_shape",
            Reason::TooMany { .. } => "too_many",
            Reason::TooFew { .. } => "too_few",
            Reason::OtherCluster(_) => "other_cluster",
            Reason::OtherShape { .. } => "other_shape",
            Reason::Unusable(_) => "unusable_peer",
            Reason::SameOrdinal { .. } => "same_ordinal",
            Reason::ForeignEpoch(_) => "foreign_epoch",
            Reason::SameId { .. } => "same_id",
            Reason::Announces(_) => "announced_unreachable",
            Reason::Stranger(_) => "stranger",
            Reason::HoldsKeys(_) | Reason::KeysWithoutSlots(_) => "holds_keys",
            Reason::SlotsTaken { .. } => "slots_taken",
            Reason::DataWithoutCluster(_) => "data_without_cluster",
            Reason::NoMajority => "no_majority",
            Reason::PartOfCluster { .. } => "part_of_cluster",
            Reason::NoSeat(_) => "no_seat",
            Reason::EmptyMaster(_) => "empty_master",
            Reason::LoginRefused(_) => "login_refused",
            Reason::MasterDown(_) => "master_down",
            Reason::ShardLost(_) => "shard_lost",
            Reason::MasterGone(_) => "master_gone",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::ResolverFailed(why) => write!(f, "the resolver failed: {why}"),
            Reason::NoOrdinal => f.write_str(
                "its name has no trailing number, so it has no seat in the cluster; \
                 set POD_NAME to the StatefulSet's pod name",
            ),
            Reason::BeyondShape { ordinal, shape } => write!(
                f,
                "ordinal {ordinal} has no seat in a cluster of {}; run that many pods, \
                 or set REJOIN_SHARDS and REJOIN_REPLICAS to their number",
                Pods(*shape)
            ),
            Reason::TooMany { found, shape } => write!(
                f,
                "{found} pods answer, but the cluster has {}; check the number of pods, \
                 REJOIN_SHARDS, REJOIN_REPLICAS, and that the Service selects these pods only",
                Pods(*shape)
            ),
            Reason::TooFew { found, shape } => write!(
                f,
                "{found} of {} answer; waits for the others, \
                 or check REJOIN_SHARDS, REJOIN_REPLICAS and the number of pods",
                Pods(*shape)
            ),
            Reason::OtherCluster(id) => write!(
                f,
                "{id} was a member and belongs to another cluster now; it is not met, \
                 which would merge the two"
            ),
            Reason::OtherShape { masters, shape } => write!(
                f,
                "the cluster found has {masters} masters, not those of {}; it may be somebody \
                 else's: check the Service, or set REJOIN_SHARDS to its number",
                Pods(*shape)
            ),
            Reason::Unusable(failure) => write!(f, "{failure}"),
            Reason::SameOrdinal { ordinal, first, second } => write!(
                f,
                "ordinal {ordinal} is taken twice, by {first} and {second}; \
                 check POD_NAME and that the Service selects one StatefulSet only"
            ),
            Reason::ForeignEpoch(epoch) => write!(
                f,
                "config epoch {epoch} of a node that knows nobody was not set by this cluster's \
                 forming; was its nodes.conf made by hand?"
            ),
            Reason::SameId { first, second } => write!(
                f,
                "the id answers {} and {}; is one volume used twice?",
                Place(*first),
                Place(*second)
            ),
            Reason::Announces(at) => write!(
                f,
                "it announces {at}, where it does not answer this pod or its server; the other servers \
                 look for it there: check what leads there, for this port and for the bus's, also while \
                 the pod is not ready"
            ),
            Reason::Stranger(id) => {
                write!(f, "it knows {id}, which none of the pods answers as")
            }
            Reason::HoldsKeys(keys) => write!(
                f,
                "it holds {keys} keys, so no cluster is formed over it; \
                 is this the volume of an older cluster?"
            ),
            Reason::KeysWithoutSlots(keys) => write!(
                f,
                "a member without slots holds {keys} keys, which it would lose as a replica; if the \
                 shard that they are of has them, empty its volume"
            ),
            Reason::SlotsTaken { range, owner } => {
                write!(f, "slots of its seat {range} are owned by {owner}")
            }
            Reason::DataWithoutCluster(keys) => write!(
                f,
                "it holds slots or data ({keys} keys) but knows no cluster, while the other pods \
                 have one; was its nodes.conf lost?"
            ),
            Reason::NoMajority => f.write_str(
                "the pods that answer belong to more than one cluster, and to none of them most; \
                 check what the Service selects",
            ),
            Reason::PartOfCluster { found, up } => write!(
                f,
                "only {found} of the {up} live nodes of the cluster found are pods of this \
                 Service; waits for most of them, since it may be somebody else's"
            ),
            Reason::NoSeat(members) => write!(
                f,
                "the cluster found has all its {members} pods; it is somebody else's, \
                 or two pods have one ordinal; check the Service and POD_NAME"
            ),
            Reason::EmptyMaster(keys) => write!(
                f,
                "this master has come back without keys, while its replica here holds {keys}; \
                 CLUSTER FAILOVER FORCE here keeps them, CLUSTER REPLICATE gives them up"
            ),
            Reason::LoginRefused(line) => write!(
                f,
                "this master refuses the login that its replica here was started with: {line}; \
                 put it right in the file, and by CONFIG SET or a restart of the pod"
            ),
            Reason::ShardLost(lost) => write!(
                f,
                "{lost}; restore the volume of one of these nodes, or, where the data may be lost \
                 as in a cache, set REJOIN_ON_LOST_SHARD=recreate on all pods"
            ),
            Reason::MasterDown(id) => write!(
                f,
                "the master of its shard, {id}, is not reachable; waits for it or its successor"
            ),
            Reason::MasterGone(lack) => {
                write!(f, "no pod answers as this master, and its replica here ")?;
                lack.fmt(f)
            }
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Voters { voters, needed } => write!(
                f,
                "cannot be elected: {voters} masters can vote, and it takes {needed}; bring the \
                 master back, or give it up with CLUSTER FAILOVER TAKEOVER here"
            ),
            Lack::Elected => f.write_str(
                "has not been elected; it may have been out of touch for too long, or have started \
                 without its master: bring the master back, or give up what only it has with \
                 CLUSTER FAILOVER FORCE here",
            ),
            Lack::Flagged => f.write_str(
                "is not elected, for it has cluster-replica-no-failover: set by its user, or until \
                 it is known whose data it holds; bring the master back, or give up what only it \
                 has with CLUSTER FAILOVER FORCE here",
            ),
            Lack::Dated => f.write_str(
                "has only what the master before it had; bring the master back, or give up what \
                 only it has with CLUSTER FAILOVER FORCE here",
            ),
            Lack::Data => f.write_str(
                "may hold somebody else's data, copied from where the master was; bring the master \
                 back, or give up what only it has with CLUSTER FAILOVER FORCE here",
            ),
            Lack::Age => f.write_str(
                "has been out of touch for too long; bring the master back, or give up what only \
                 it has with CLUSTER FAILOVER FORCE here",
            ),
            Lack::Behind(id) => write!(f, "waits for {id}, which has more of its data"),
            Lack::Votes => f.write_str("was told to take over and waits for the masters' votes"),
        }
    }
}

/// `6 pods (3 shards, 1 replica each)`.
pub(super) struct Pods(pub Shape);

impl fmt::Display for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pods(shape) = self;
        let s = |n: u32| if n == 1 { "" } else { "s" };
        write!(
            f,
            "{} pod{} ({} shard{}, {} replica{} each)",
            shape.expected(),
            s(shape.expected()),
            shape.shards,
            s(shape.shards),
            shape.replicas,
            s(shape.replicas)
        )
    }
}

struct Place(Option<SocketAddr>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "at {at}"),
            None => f.write_str("as the own server"),
        }
    }
}
