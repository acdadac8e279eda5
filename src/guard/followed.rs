//! Whether a replica would find its own master where it looks for it. Pure.
//!
//! Replication knows an address, no id: a replica copies whoever answers there, within 50 ms of its
//! start, and what it had is gone. So an address at which the master itself does not answer is taken
//! out of `nodes.conf` before the server starts. That a wrong guess costs next to nothing is why
//! there is nothing to weigh: the master's first ping, or a MEET, brings the address back
//! (`nodeUpdateAddressIfNeeded`), and replication with it.

use std::fmt;
use std::net::SocketAddr;

use crate::cluster::model::client_address;
use crate::nodes_conf::{NodeId, NodesConf};
use crate::redis::Failure;

/// The master of a replica, as its file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its id.
    pub id: NodeId,
    /// Where it is looked for.
    pub at: SocketAddr,
}

/// Why the address of a master is not to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Another node answers there.
    Stranger(NodeId),
    /// Nobody says who he is. Whoever is there a moment later need not be the master.
    Unknown(Failure),
}

impl Followed {
    /// `None`: it is no replica, or looks for its master nowhere, or by a name.
    pub fn of(file: &NodesConf) -> Option<Followed> {
        let id = file.myself().master?;
        let master = file.nodes.iter().find(|node| node.id == id && !node.flags.noaddr)?;
        Some(Followed { id, at: client_address(master)? })
    }

    /// What the answer to `CLUSTER MYID` there means; `None`: the master is where it is looked for.
    pub fn absent(&self, answer: Result<NodeId, Failure>) -> Option<Absent> {
        match answer {
            Ok(id) if id == self.id => None,
            Ok(id) => Some(Absent::Stranger(id)),
            Err(failure) => Some(Absent::Unknown(failure)),
        }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absent::Stranger(id) => write!(f, "{id} answers there"),
            Absent::Unknown(failure) => write!(f, "that address {failure}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Answer;
    use crate::nodes_conf::parse;

    fn id(letter: &str) -> NodeId {
        letter.repeat(40).parse().unwrap()
    }

    fn followed(own: &str, master: &str) -> Option<Followed> {
        let (me, a, b) = (id("c"), id("a"), id("b"));
        let file = format!(
            "{me} 10.0.0.3:7000@17000 myself,{own} 0 0 3 connected\n\
             {a} {master} - 0 0 3 connected 0-99\n\
             {b} 10.0.0.2:7000@17000 master - 0 0 4 connected 101-16383\n\
             vars currentEpoch 4 lastVoteEpoch 0\n"
        );
        Followed::of(&parse(file.as_bytes()).unwrap())
    }

    #[test]
    fn replica_looks_for_its_master_where_the_file_says() {
        let own = format!("slave {}", id("a"));
        let at = |text: &str| Some(Followed { id: id("a"), at: text.parse().unwrap() });
        assert_eq!(followed(&own, "10.0.0.1:7000@17000 master"), at("10.0.0.1:7000"));
        assert_eq!(followed(&own, "fd00::1:7000@17000 master,fail"), at("[fd00::1]:7000"));
        let by_tls = "10.0.0.1:0@17000,,tls-port=7443,shard-id=ab master";
        assert_eq!(followed(&own, by_tls), at("10.0.0.1:7443"));
        let neither = "10.0.0.1:0@1,,tls-port=0 master";
        for nowhere in
            [neither, ":0@0 master,noaddr", "redis-0:7000@1 master", "10.0.0.1:0@1 master"]
        {
            assert_eq!(followed(&own, nowhere), None, "{nowhere}");
        }
        assert_eq!(followed(&own, "255.255.255.255:7000@17000 master"), None);
        assert_eq!(followed("master -", "10.0.0.1:7000@17000 master"), None);
    }

    #[test]
    fn address_is_used_only_where_the_master_itself_answers() {
        let master = Followed { id: id("a"), at: "10.0.0.1:7000".parse().unwrap() };
        assert_eq!(master.absent(Ok(id("a"))), None);
        assert_eq!(master.absent(Ok(id("b"))), Some(Absent::Stranger(id("b"))));
        let loading = Failure::Said(Answer::Loading);
        let refused = Failure::Said(Answer::Refused("NOAUTH".to_owned()));
        let garbage = Failure::Garbage("HTTP".to_owned());
        let silent = Failure::Silent("no reply".to_owned());
        for failure in [Failure::Closed, silent, loading, refused, garbage] {
            assert_eq!(master.absent(Err(failure.clone())), Some(Absent::Unknown(failure)));
        }
    }
}
