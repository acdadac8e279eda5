//! What `nodes.conf` makes this node start as. Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::cluster::model::client_address;
use crate::nodes_conf::{NodeId, NodesConf, SlotRange};

/// A master with slots, as the file says, and whom it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The own id.
    pub id: NodeId,
    /// The first of the slots that the node will claim.
    pub first: SlotRange,
    /// The epoch that it claims them with.
    pub epoch: u64,
    /// The replicas that it knows.
    pub replicas: BTreeSet<NodeId>,
    /// Every other node that it knows.
    pub members: BTreeSet<NodeId>,
    /// Where those were.
    pub addresses: BTreeSet<SocketAddr>,
}

impl Claim {
    /// `None`: the file makes the node no master with slots, so there is nothing to guard.
    pub fn of(file: &NodesConf) -> Option<Claim> {
        let me = file.myself();
        if !me.flags.master {
            return None;
        }
        let first = *me.slots.first()?;
        let others = || file.nodes.iter().filter(|node| !node.flags.myself);
        Some(Claim {
            id: me.id,
            first,
            epoch: me.config_epoch,
            replicas: others()
                .filter(|node| node.master == Some(me.id))
                .map(|node| node.id)
                .collect(),
            members: others().map(|node| node.id).collect(),
            addresses: others().filter_map(client_address).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes_conf::parse;

    fn claim(own: &str) -> Option<Claim> {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let file = format!(
            "{a} 10.0.0.1:7000@17000 {own}\n\
             {b} 10.0.0.2:7000@17000 slave {a} 0 0 3 connected\n\
             {} :0@0 slave,noaddr {a} 0 0 3 disconnected\n\
             {} 10.0.0.4:0@17000,,tls-port=7000 master - 0 0 4 connected 101-16383\n\
             vars currentEpoch 4 lastVoteEpoch 0\n",
            "c".repeat(40),
            "d".repeat(40),
        );
        Claim::of(&parse(file.as_bytes()).unwrap())
    }

    #[test]
    fn master_with_slots_claims_them_and_knows_its_replicas() {
        let claim = claim("myself,master - 0 0 3 connected 7 20-100").unwrap();
        assert_eq!((claim.first, claim.epoch), (SlotRange { first: 7, last: 7 }, 3));
        let ids = |digits: &str| -> BTreeSet<NodeId> {
            digits.chars().map(|c| c.to_string().repeat(40).parse().unwrap()).collect()
        };
        assert_eq!(claim.replicas, ids("bc"));
        assert_eq!(claim.members, ids("bcd"));
        let addresses = ["10.0.0.2:7000", "10.0.0.4:7000"].map(|at| at.parse().unwrap());
        assert_eq!(claim.addresses, BTreeSet::from(addresses));
    }

    #[test]
    fn replica_and_master_without_slots_claim_nothing() {
        assert_eq!(claim("myself,master - 0 0 3 connected"), None);
        assert_eq!(claim(&format!("myself,slave {} 0 0 3 connected", "d".repeat(40))), None);
    }
}
