//! From a view and its plan to what `/status` shows. Pure.

use crate::config::shape::Shape;
use crate::nodes_conf::{Flags, Node};
use crate::status::{Cluster, Held, NodeRole, Status};

use super::model::{View, slot_count};
use super::plan::Plan;

/// What a status holds that no view does.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The pod's name.
    pub pod: String,
    /// Its ordinal.
    pub ordinal: Option<u32>,
    /// The cluster to form.
    pub shape: Option<Shape>,
    /// The server's version, once known.
    pub server_version: Option<String>,
}

impl Identity {
    /// A status without a view: cluster mode is off, or the server has not answered yet.
    pub fn status(&self, cluster_enabled: bool) -> Status {
        Status {
            rejoin: env!("CARGO_PKG_VERSION").to_owned(),
            pod: self.pod.clone(),
            ordinal: self.ordinal,
            server_version: self.server_version.clone(),
            cluster: Cluster {
                enabled: cluster_enabled,
                expected_shards: self.shape.map(|shape| shape.shards),
                expected_replicas: self.shape.map(|shape| shape.replicas),
                ..Cluster::default()
            },
            ..Status::default()
        }
    }

    /// The status of a round.
    pub fn status_of(&self, view: &View, plan: &Plan) -> Status {
        let table = &view.own.table;
        let mut status = self.status(true);
        status.id = Some(table.id().to_string());
        status.cluster.state = Some(if view.own.state_ok { "ok" } else { "fail" }.to_owned());
        status.cluster.slots_assigned = table.assigned();
        status.cluster.current_epoch = view.own.current_epoch;
        status.nodes = table.nodes().map(|node| self.node(node)).collect();
        status.held = plan
            .held
            .iter()
            .map(|hold| Held {
                kind: hold.reason.kind().to_owned(),
                about: hold.about.clone(),
                reason: hold.reason.to_string(),
            })
            .collect();
        status
    }

    fn node(&self, node: &Node) -> crate::status::Node {
        let pod = match (&node.address.hostname, node.flags.myself) {
            (_, true) => Some(self.pod.clone()),
            (Some(name), _) => name.split('.').next().map(ToOwned::to_owned),
            (None, _) => None,
        };
        let ranges: Vec<String> = node.slots.iter().map(ToString::to_string).collect();
        crate::status::Node {
            pod: pod.filter(|pod| !pod.is_empty()),
            id: node.id.to_string(),
            address: address(node),
            role: if node.flags.replica { NodeRole::Replica } else { NodeRole::Master },
            master: node.master.map(|id| id.to_string()),
            slots: ranges.join(" "),
            slot_count: slot_count(&node.slots),
            connected: node.connected || node.flags.myself,
            flags: flags(&node.flags),
            is_me: node.flags.myself,
        }
    }
}

fn address(node: &Node) -> String {
    let address = &node.address;
    match address.ip.as_str() {
        "" => String::new(),
        ip if ip.contains(':') => format!("[{ip}]:{}", address.port),
        ip => format!("{ip}:{}", address.port),
    }
}

fn flags(flags: &Flags) -> Vec<String> {
    [
        ("myself", flags.myself),
        ("master", flags.master),
        ("slave", flags.replica),
        ("fail?", flags.pfail),
        ("fail", flags.fail),
        ("noaddr", flags.noaddr),
        ("nofailover", flags.nofailover),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .map(|(name, _)| name.to_owned())
    .collect()
}
