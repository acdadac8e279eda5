//! From what was seen to the next step of leaving. Pure, and level-triggered: no step remembers
//! an earlier one but for who was told to take over and did not.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::model::{Table, is_healthy};
use crate::cluster::replies::Stream;
use crate::health::Answer;
use crate::nodes_conf::{Node, NodeId};
use crate::redis::Failure;

/// How far a replica may be behind when it is told to take over, in bytes: writes pause for as long
/// as it needs for them, which is ten milliseconds on a slow network. Further behind, it is waited
/// for while more time than [`HURRY`] is left, and writes go on meanwhile.
pub const LAG_MAX: u64 = 1 << 20;

/// No replica is told to take over with less time left than this. It takes milliseconds.
pub const TIME_MIN: Duration = Duration::from_millis(500);

/// With no more time left than this, the hand-over goes on in spite of what it has waited for until then,
/// since without it the shard would be without a master until an election.
///
/// - Slots that are being moved: a failover drops the marks of an open slot on all Redis versions and on
///   Valkey before 8.0, and keys that have moved already then look as if they were gone; but an
///   election drops the marks as well.
/// - Writers who never let the replica catch up: the server pauses them until it has, for 5 s at most
///   (`CLUSTER_MF_TIMEOUT`).
/// - Masters who have perhaps not heard whose replica it is: then they do not elect it.
pub const HURRY: Duration = Duration::from_secs(5);

/// The own server and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its view of the cluster.
    pub table: Table,
    /// What its [`candidates`] said, in the order of their ids.
    pub replicas: Vec<Reply>,
}

/// One replica that was asked. The own table names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its id in the own table.
    pub id: NodeId,
    /// What came back.
    pub answer: Result<Said, Failure>,
}

/// What a replica said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Where.
    pub at: SocketAddr,
    /// Its view of the cluster.
    pub table: Table,
    /// What it has of its master's stream.
    pub stream: Stream,
    /// What the own server sent to its replicas, right after that.
    pub source: Stream,
}

/// What the step depends on besides what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment<'a> {
    /// Until the signal passes in any case.
    pub left: Duration,
    /// Who was told to take over and did not, and why.
    pub tried: &'a [(NodeId, String)],
    /// Somebody was told to take over, by an agent that has ended since, and may do so yet.
    pub in_flight: bool,
    /// It has only just begun.
    pub begins: bool,
    /// It has not gone on for so long that all must have heard who is whose replica.
    pub turns: bool,
    /// The own server has become a master just before, if not since: the others may not have heard whose
    /// replicas its replicas are, and would not elect one of them so soon after they elected this one.
    pub young: bool,
    /// It has only just begun, so that a replica was perhaps told to take over and has not done so yet.
    pub own_turn: bool,
    /// The last look found [`Unfit::Relinking`].
    pub relinking: bool,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The signal passes.
    Go(Go),
    /// Look again.
    Wait(Unfit),
    /// Tell it to take over.
    Order(Successor),
}

/// Who is to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// Its id.
    pub id: NodeId,
    /// Where it answered.
    pub at: SocketAddr,
    /// How far it was behind, in bytes.
    pub lag_bytes: u64,
}

/// Why nothing is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Go {
    /// It serves no slots: a replica, or not yet a member.
    NothingToHandOver,
    /// It has no replica.
    NoReplica,
    /// Why each of its replicas cannot take over.
    NoneFit(Vec<(NodeId, Unfit)>),
    /// The own server could not be asked, and so has nothing that it serves.
    Unasked(Failure),
}

/// Why a replica is not told to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It does not answer, or not as it should.
    NoAnswer(Failure),
    /// Another node answers at its address.
    Other(NodeId),
    /// It does not call itself a replica of ours.
    NotOurs,
    /// The same, but one of us has perhaps not heard yet who its master is now.
    Turning,
    /// It has the flag `nofailover`: it leaves as well, or its owner wants it so.
    Leaving,
    /// The same, but it may have the flag for a moment only, since it has just found its master again.
    Shielded,
    /// Too few masters are linked to it for an election: so many of so many.
    NoMajority(usize, usize),
    /// It is not linked to us, and would refuse.
    Unlinked,
    /// It is not linked to us or to too few for an election, perhaps only for a moment.
    Relinking,
    /// It seems to be there again; one more look tells.
    Relinked,
    /// It was told to take over, and did not.
    Tried(String),
    /// It reads its data set.
    Loading,
    /// Its link to us is down, or it is in the middle of a full sync.
    Syncing,
    /// It follows another stream than ours.
    OtherStream,
    /// It is this far behind, in bytes.
    Behind(u64),
    /// It was told to take over, and may yet.
    InFlight,
    /// It could, but the time is over.
    NoTime,
    /// It could, but so many slots of ours are being moved.
    OpenSlots(usize),
    /// The own server runs a script, or is silent, and answers later.
    OwnServer(Failure),
    /// The own server is a replica, and was perhaps told to take over a moment ago.
    OwnTurn,
}

impl Step {
    /// The next step of a server that answered.
    pub fn new(view: &View, moment: &Moment<'_>) -> Step {
        let (me, in_time) = (view.table.me(), moment.left >= TIME_MIN);
        if me.flags.replica && moment.own_turn && in_time {
            return Step::Wait(Unfit::OwnTurn);
        }
        if me.slots.is_empty() || me.flags.replica {
            return Step::Go(Go::NothingToHandOver);
        }
        if moment.in_flight {
            return Step::Wait(Unfit::InFlight);
        }
        let (mut fit, mut unfit) = (Vec::new(), Vec::new());
        for reply in &view.replicas {
            match judge(view, reply, moment) {
                Ok(successor) => fit.push(successor),
                Err(why) => unfit.push((reply.id, why)),
            }
        }
        if !in_time {
            unfit.extend(fit.drain(..).map(|late: Successor| (late.id, Unfit::NoTime)));
        }
        // Of two that are equally far the choice is the same each time.
        let best = fit.into_iter().min_by_key(|one| (one.lag_bytes, one.id));
        let soon = unfit.iter().find(|(_, why)| why.may_pass());
        let open = open_slots(&view.table);
        match (best, soon) {
            (Some(_), _) if open > 0 && moment.left > HURRY => Step::Wait(Unfit::OpenSlots(open)),
            (Some(successor), _) => Step::Order(successor),
            (_, Some((_, why))) if in_time => Step::Wait(why.clone()),
            _ if view.replicas.is_empty() => Step::Go(Go::NoReplica),
            _ => Step::Go(Go::NoneFit(unfit)),
        }
    }

    /// The next step where the own server could not be asked. Whoever has answered once is busy
    /// now, and has something to hand over perhaps; who has not is only starting.
    pub fn unasked(failure: Failure, answered_once: bool) -> Step {
        match failure {
            Failure::Silent(_) | Failure::Said(Answer::Busy) if answered_once => {
                Step::Wait(Unfit::OwnServer(failure))
            }
            _ => Step::Go(Go::Unasked(failure)),
        }
    }
}

impl Unfit {
    /// Whether it may be fit soon, so that it is worth waiting for. Nobody waits for a replica that
    /// is not there or leaves too, or the end of a whole cluster would take as long as the wait.
    fn may_pass(&self) -> bool {
        matches!(
            self,
            Unfit::Turning
                | Unfit::Relinking
                | Unfit::Relinked
                | Unfit::Loading
                | Unfit::Syncing
                | Unfit::OtherStream
                | Unfit::Behind(_)
                | Unfit::Shielded
        )
    }
}

/// Whether a replica can take over.
fn judge(view: &View, reply: &Reply, moment: &Moment<'_>) -> Result<Successor, Unfit> {
    if let Some((_, why)) = moment.tried.iter().find(|(id, _)| *id == reply.id) {
        return Err(Unfit::Tried(why.clone()));
    }
    let said = match &reply.answer {
        Ok(said) => said,
        Err(Failure::Said(Answer::Loading)) => return Err(Unfit::Loading),
        Err(failure) => return Err(Unfit::NoAnswer(failure.clone())),
    };
    let me = said.table.me();
    if me.id != reply.id {
        return Err(Unfit::Other(me.id));
    }
    // Both have to say so: we would pass over the request of one that we do not know as ours
    // (`CLUSTERMSG_TYPE_MFSTART` in `clusterProcessPacket`).
    let known = view.table.find(reply.id).and_then(|node| node.master);
    if !me.flags.replica || [me.master, known] != [Some(view.table.id()); 2] {
        return Err(if moment.turns { Unfit::Turning } else { Unfit::NotOurs });
    }
    if moment.young && moment.turns && moment.left > HURRY {
        return Err(Unfit::Turning);
    }
    if me.flags.nofailover {
        return Err(if moment.begins { Unfit::Shielded } else { Unfit::Leaving });
    }
    let few = too_few_voters(&said.table).map(|(linked, all)| Unfit::NoMajority(linked, all));
    let linked = said.table.find(view.table.id()).is_some_and(is_healthy);
    if let Some(why) = few.or((!linked).then_some(Unfit::Unlinked)) {
        return Err(if moment.begins { Unfit::Relinking } else { why });
    }
    if moment.relinking {
        return Err(Unfit::Relinked);
    }
    if !said.stream.link_up {
        return Err(Unfit::Syncing);
    }
    // Replication knows no ids: whoever has our old address may be followed in our place.
    if said.stream.id != said.source.id {
        return Err(Unfit::OtherStream);
    }
    let lag_bytes = said.source.offset.saturating_sub(said.stream.offset);
    if lag_bytes > LAG_MAX && moment.left > HURRY {
        return Err(Unfit::Behind(lag_bytes));
    }
    Ok(Successor { id: reply.id, at: said.at, lag_bytes })
}

/// Who may have the data of the server with this table: its replicas, and those of a master that has
/// lost its slots. If it has lost them to this one a moment ago, they follow this one next.
pub fn candidates(table: &Table) -> impl Iterator<Item = &Node> {
    let has_lost = |master| table.find(master).is_some_and(|node| node.slots.is_empty());
    let follows = move |master| master == table.id() || has_lost(master);
    table.others().iter().filter(move |node| node.master.is_some_and(follows))
}

/// How many slots are on their way to or from the server with this table.
fn open_slots(table: &Table) -> usize {
    table.me().migrating.len() + table.me().importing.len()
}

/// How many masters could vote for the server with this table, and how many there are, where those
/// cannot elect it. The one that is replaced votes as well (`clusterSendFailoverAuthIfNeeded`: the
/// request is marked as forced).
///
/// A link may be missing for a moment: any MEET of a known node has the receiver drop the one it had
/// since 7.0 (`setClusterNodeToInboundClusterLink`), and it is made anew within 100 ms (`clusterCron`).
/// And one to a node that has died shows as there in each instant in which it is tried. So whoever had
/// too few a moment ago has enough only when two looks in a row find them.
pub fn too_few_voters(table: &Table) -> Option<(usize, usize)> {
    let linked = table.owners().filter(|node| is_healthy(node)).count();
    let masters = table.owners().count();
    (linked * 2 <= masters).then_some((linked, masters))
}

impl fmt::Display for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, {} bytes behind", self.id, self.at, self.lag_bytes)
    }
}

impl fmt::Display for Go {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Go::NothingToHandOver => f.write_str("it serves no slots"),
            Go::NoReplica => f.write_str("it has no replica that could take over"),
            Go::NoneFit(all) => {
                f.write_str("none of its replicas can take over")?;
                all.iter().enumerate().try_for_each(|(nth, (id, why))| {
                    let separator = if nth == 0 { ": " } else { "; " };
                    write!(f, "{separator}{id} {why}")
                })
            }
            Go::Unasked(failure) => write!(f, "the server {failure}"),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NoAnswer(failure) => write!(f, "{failure}"),
            Unfit::Other(id) => write!(f, "is not where {id} answers"),
            Unfit::NotOurs => f.write_str("is no replica of this node"),
            Unfit::Turning => f.write_str("is perhaps not known yet as this node's replica"),
            Unfit::Leaving => f.write_str("leaves too, or is set not to take over"),
            Unfit::Shielded => f.write_str("is set not to take over, perhaps for a moment"),
            Unfit::NoMajority(linked, masters) => {
                write!(f, "is linked to {linked} of {masters} masters, too few to elect it")
            }
            Unfit::Unlinked => f.write_str("has no link to this node's bus, and would refuse"),
            Unfit::Relinking | Unfit::Relinked => {
                f.write_str("has too few links to masters, perhaps for a moment")
            }
            Unfit::Tried(why) => write!(f, "was told to and did not: {why}"),
            Unfit::Loading => f.write_str("still reads its data set"),
            Unfit::Syncing => f.write_str("has no link to this node, or still syncs"),
            Unfit::OtherStream => f.write_str("does not follow this node's stream"),
            Unfit::Behind(bytes) => write!(f, "is {bytes} bytes behind"),
            Unfit::InFlight => f.write_str("was told to take over, and may yet"),
            Unfit::NoTime => f.write_str("could, but it is too late"),
            Unfit::OpenSlots(open) => {
                write!(f, "{open} slots are being moved to or from this node")
            }
            Unfit::OwnTurn => {
                f.write_str("this node was perhaps told to take over a moment ago itself")
            }
            Unfit::OwnServer(failure) => write!(f, "waits for the own server, which {failure}"),
        }
    }
}

#[cfg(test)]
mod tests;
