//! Observation to verdict: whether this pod is live, ready and started, and why. Pure.

use std::time::Instant;

/// What kind of reply the own server gave last. Every one of them proves that it is alive
/// (`redis-facts`, probes: any error reply comes from a running event loop).
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
    /// Any other error reply; holds the server's line.
    Other(String),
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
    /// A fresh pod that sees no formed cluster and only waits for others to appear; for what.
    AwaitingPeers(String),
    /// Knows other nodes, and what the cluster needs of it (slots or a master) is done.
    Member,
}

/// All that verdicts are made from. Written by the keeper after each round, read by the probes.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Where the server's life stands.
    pub phase: Phase,
    /// Whether the server runs in cluster mode.
    pub cluster_enabled: bool,
    /// When the server answered last, and what.
    pub last_answer: Option<(Instant, Answer)>,
    /// The start of the first attempt since the last answer that got none, and the latest error.
    pub silent: Option<(Instant, String)>,
    /// The role, once known.
    pub role: Option<Role>,
    /// `cluster_state:ok` as last reported.
    pub state_ok: bool,
    /// `cluster_state:ok` was seen at least once since the server started.
    pub state_ok_once: bool,
    /// How the pod stands to the cluster.
    pub membership: Membership,
}
