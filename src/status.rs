//! What `/status` and `rejoin status` show: the cluster as this pod sees it.
//!
//! The JSON of `/status` and of `rejoin status --json` is [`Status`] as it stands here: field
//! names are the keys, an unknown value is `null`, ages are in seconds.
//!
//! ```json
//! {
//!   "rejoin": "0.1.0", "pod": "redis-0", "ordinal": 0, "id": "5f3c…", "server_version": "7.2.6",
//!   "phase": "running", "observed_age_s": 0.4, "agent_restarts": 0,
//!   "probes": {"live": {"ok": true, "reason": "live: …"}, "ready": {…}, "startup": {…}},
//!   "cluster": {"enabled": true, "state": "ok", "slots_assigned": 16384, "current_epoch": 6,
//!               "expected_shards": 3, "expected_replicas": 1},
//!   "nodes": [{"pod": "redis-0", "id": "5f3c…", "address": "10.0.0.1:6379", "role": "master",
//!              "master": null, "slots": "0-5460", "slot_count": 5461, "connected": true,
//!              "flags": ["myself", "master"], "is_me": true}],
//!   "handover": null,
//!   "held": [{"kind": "no-copy-left", "about": "redis-2", "reason": "…"}],
//!   "acting": [{"kind": "meet", "what": "met redis-1 at 10.0.0.2:6379", "age_s": 12.5}]
//! }
//! ```

use serde::{Deserialize, Serialize};

use crate::health::Verdict;

pub mod render;

/// One pod's view of its server, its cluster and its own doings.
///
/// When it is read, [`Board::status`](crate::board::Board::status) makes `rejoin`, `pod`, `phase`,
/// `probes`, `observed_age_s`, `acting`, `handover` and `agent_restarts`; the keeper fills in the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of `rejoin`.
    pub rejoin: String,
    /// `POD_NAME`, or the host name.
    pub pod: String,
    /// The trailing number of the pod's name, where it has one.
    pub ordinal: Option<u32>,
    /// The id of the own node, once known.
    pub id: Option<String>,
    /// `redis_version` of the own server, or `valkey_version` with the word `valkey` before it.
    pub server_version: Option<String>,
    /// `waiting: REASON`, `running` or `leaving`.
    pub phase: String,
    /// Age of what the keeper last wrote, in seconds.
    pub observed_age_s: f64,
    /// What the three probes answer at this moment.
    pub probes: Probes,
    /// The cluster as a whole, from `CLUSTER INFO`.
    pub cluster: Cluster,
    /// Every node that the own server knows, from `CLUSTER NODES`.
    pub nodes: Vec<Node>,
    /// What the keeper does not do, and why.
    pub held: Vec<Held>,
    /// What the keeper did last, oldest first.
    pub acting: Vec<Step>,
    /// How the pod leaves, once it was told to.
    pub handover: Option<Handover>,
    /// How often the second thread (HTTP and keeper) has ended and been started again.
    pub agent_restarts: u64,
}

/// The verdicts of the three probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// `/livez`.
    pub live: Verdict,
    /// `/readyz`.
    pub ready: Verdict,
    /// `/startupz`.
    pub startup: Verdict,
}

impl Default for Probes {
    fn default() -> Self {
        let unknown = || Verdict { ok: false, reason: "not known yet".to_owned() };
        Probes { live: unknown(), ready: unknown(), startup: unknown() }
    }
}

/// The cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Whether the own server runs in cluster mode.
    pub enabled: bool,
    /// `cluster_state`: `ok` or `fail`; once known.
    pub state: Option<String>,
    /// `cluster_slots_assigned`, of 16384.
    pub slots_assigned: u32,
    /// `cluster_current_epoch`.
    pub current_epoch: u64,
    /// `REJOIN_SHARDS`, where set.
    pub expected_shards: Option<u32>,
    /// `REJOIN_REPLICAS`, where `REJOIN_SHARDS` is set.
    pub expected_replicas: Option<u32>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// A master, with or without slots.
    #[default]
    Master,
    /// A replica.
    Replica,
    /// Neither yet: a handshake.
    Unknown,
}

/// One node of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// The pod that reports this id as its own, where one does.
    pub pod: Option<String>,
    /// The node id: 40 hexadecimal digits.
    pub id: String,
    /// `host:port` of its clients' port as the own server knows it, IPv6 in brackets; empty if
    /// it knows none (`noaddr`).
    pub address: String,
    /// Master or replica.
    pub role: NodeRole,
    /// The id of its master, for a replica.
    pub master: Option<String>,
    /// Its slots as ranges, `0-5460 6000`; empty for a replica.
    pub slots: String,
    /// How many slots it owns.
    pub slot_count: u32,
    /// Whether the own server's link to it is up; always so for the own node.
    pub connected: bool,
    /// The flags, as the server spells them.
    pub flags: Vec<String>,
    /// Whether this is the own node.
    pub is_me: bool,
}

/// Something that is not done, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// The kind of reason, one of a small fixed set of words: the label of `rejoin_holds`.
    pub kind: String,
    /// Which pod, node or shard it is about.
    pub about: String,
    /// Why, in one sentence.
    pub reason: String,
}

/// Something that was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// The kind, one of a small fixed set of words: the label of `rejoin_actions_total`.
    pub kind: String,
    /// What was done, in one line.
    pub what: String,
    /// How long ago, in seconds.
    pub age_s: f64,
}

/// How a pod leaves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handover {
    /// What happens at present, in one line.
    pub said: String,
    /// The id of the replica that was told to take over.
    pub to: Option<String>,
    /// Its `host:port`.
    pub at: Option<String>,
    /// How far it was behind then, in bytes.
    pub lag_bytes: Option<u64>,
    /// How long it took to choose it, in seconds.
    pub choose_s: Option<f64>,
    /// How long it took to take over, in seconds.
    pub order_s: Option<f64>,
    /// How long clients were sent on to it, in seconds.
    pub linger_s: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_survives_json() {
        let status = Status {
            ordinal: Some(0),
            nodes: vec![Node { role: NodeRole::Replica, ..Node::default() }],
            held: vec![Held::default()],
            acting: vec![Step { age_s: 12.5, ..Step::default() }],
            handover: Some(Handover { order_s: Some(0.008), ..Handover::default() }),
            ..Status::default()
        };
        let text = serde_json::to_string(&status).unwrap();
        assert!(text.contains(r#""role":"replica""#), "{text}");
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }

    #[test]
    fn status_of_another_version_is_still_read() {
        let text = r#"{"pod": "redis-0", "invented-later": [1]}"#;
        assert_eq!(serde_json::from_str::<Status>(text).unwrap().pod, "redis-0");
    }
}
