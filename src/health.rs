//! Observation to verdict: whether this pod is live, ready and started, and why. Pure.
//!
//! Liveness fails on proof, readiness on doubt: what is not known never kills a pod, and never
//! sends it traffic.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub mod verdict;

/// How long the server may answer nothing at all before it counts as dead. Far above any pause
/// of a healthy one (a fork, a large `DEL`), far below what a person would wait.
pub const SILENCE_BOUND: Duration = Duration::from_secs(30);

/// How old an observation, or the answer that it holds, may be before readiness is in doubt.
/// The keeper looks at its own server several times in that time, also when all is well.
pub const STALE_BOUND: Duration = Duration::from_secs(20);

/// Unanswered attempts that prove a silence, beside its length. One alone proves nothing: a pod
/// that was frozen as a whole (a paused container) finds on waking that its attempt took minutes.
pub const SILENT_ATTEMPTS: u32 = 3;

/// What a probe is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Yes or no: exit code 0 or 1, HTTP status 200 or 503.
    pub ok: bool,
    /// Why, in one line without control characters: `ready: a master, cluster state is ok`.
    pub reason: String,
}

/// What kind of reply the own server gave last. Every one of them proves that it is alive
/// (an error reply too comes from a running event loop, `processCommand` in `src/server.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An ordinary reply.
    Ok,
    /// `-LOADING`: the data set is being read from disk, or from the master.
    Loading,
    /// `-BUSY`: a script runs longer than `busy-reply-threshold`.
    Busy,
    /// `-MASTERDOWN`: a replica without its master and with `replica-serve-stale-data no`.
    MasterDown,
    /// `-NOAUTH`, `-WRONGPASS` or `-NOPERM`: our login is refused; holds the server's line.
    Refused(String),
    /// The server has no room for another client.
    MaxClients,
    /// The server took our connection and closed it without a word. The kernel alone takes
    /// connections of a server that hangs, but closes none.
    HungUp,
    /// Any other error reply; holds the server's line.
    Other(String),
    /// Somebody lives there, but one of us does not take the other's certificate, or it speaks plain
    /// text; holds what is wrong. As with a login that is refused, only a person can put it right.
    NoTls(String),
    /// No reply that a server gives; holds what is wrong with it.
    Strange(String),
}

/// Where the life of the server stands, as PID 1 knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not started yet; holds what is waited for.
    Waiting(String),
    /// Started at that moment.
    Running(Instant),
    /// The first SIGTERM or SIGINT came at that moment.
    Leaving(Instant),
}

/// The role of the own server, from `INFO replication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A master, with or without slots.
    Master,
    /// A replica.
    Replica {
        /// `master_link_status:up`.
        link_up: bool,
        /// A sync has finished at least once since the server started.
        synced_once: bool,
    },
}

/// How the pod stands to the cluster, as the keeper sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Cluster mode is off, or nothing tells this pod to be a member: it knows nobody and
    /// `REJOIN_SHARDS` is unset.
    NotWanted,
    /// Not looked yet, or a resolver failed, or a formed cluster is there to be joined; the reason.
    Pending(String),
    /// Only waits for other pods to appear, which may wait for this one to be ready: a fresh pod
    /// that sees no formed cluster; for what. Ready, whatever role and cluster state are.
    AwaitingPeers(String),
    /// Knows other nodes, and what the cluster needs of it (slots or a master) is done.
    Member,
}

/// Attempts to reach the own server that were not answered at all: refused, closed, timed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The start of the first of them since the last answer, or since the server was started.
    pub since: Instant,
    /// How many there were; each has its own time limit, so this grows while the server is silent.
    pub attempts: u32,
    /// The latest error, as `connection refused`.
    pub error: String,
}

/// All that verdicts are made from. Written by the keeper after each round, read by the probes.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When the keeper wrote this.
    pub written: Instant,
    /// Where the server's life stands. [`Board`](crate::board::Board) fills it in when this is
    /// read, since PID 1 itself tells it: a keeper that is late does not hide a SIGTERM.
    pub phase: Phase,
    /// Whether the server runs in cluster mode.
    pub cluster_enabled: bool,
    /// When the server answered last, and what. Answers from before the start count as none.
    pub last_answer: Option<(Instant, Answer)>,
    /// The attempts since the last answer that got none, if there are any.
    pub silent: Option<Silence>,
    /// Why we could not even ask at the last attempt, if that was our own fault: it says nothing
    /// about the server.
    pub unasked: Option<String>,
    /// The role, once known.
    pub role: Option<Role>,
    /// Since when it was seen to be a master, if it is one.
    pub master_since: Option<Instant>,
    /// `cluster_state:ok` as last reported.
    pub state_ok: bool,
    /// `cluster_state:ok` was seen at least once since the server started.
    pub state_ok_once: bool,
    /// How the pod stands to the cluster.
    pub membership: Membership,
}

impl Observation {
    /// Nothing is known yet: what there is before the keeper's first round, and after a new start.
    pub fn unknown(written: Instant, phase: Phase) -> Observation {
        Observation {
            written,
            phase,
            cluster_enabled: false,
            last_answer: None,
            silent: None,
            unasked: None,
            role: None,
            master_since: None,
            state_ok: false,
            state_ok_once: false,
            membership: Membership::Pending("nothing was observed yet".to_owned()),
        }
    }
}
