//! Asks whoever can be found, and gives the one order. Everything else in here only reads.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::cluster::model::{Discovery, Peer, client_address};
use crate::cluster::peers::Peers;
use crate::config::server::ServerConfig;
use crate::nodes_conf::NodeId;
use crate::redis::{Connection, Failure};

use super::plan::{Promotion, is_replica_of};

/// How long one connection may take where a start waits for it. A server that is there takes it
/// within a millisecond, and an address that nobody has any more may swallow what is sent to it.
const REACH: Duration = Duration::from_millis(300);

/// The eyes of the guard.
pub struct Look {
    peers: Peers,
    cluster: String,
}

/// What one look at everybody has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What became of the search.
    pub discovery: Discovery,
    /// What the search named.
    pub found: BTreeSet<SocketAddr>,
    /// Every address that was asked.
    pub peers: Vec<Peer>,
}

impl Look {
    /// Looks at `peers`, servers of this configuration.
    pub fn new(server: &ServerConfig, peers: Peers) -> Look {
        Look { peers, cluster: server.word("CLUSTER") }
    }

    /// Asks these addresses and all that the search names; then those that only the answers have,
    /// for a replica that is not ready may not be in DNS.
    pub async fn all(&mut self, known: &BTreeSet<SocketAddr>) -> Seen {
        let (found, discovery) = self.peers.find().await;
        let first = self.peers.places(known.union(&found).copied().collect());
        let mut peers = self.peers.ask(&first, &found).await;
        let told = peers.iter().filter_map(|peer| peer.answer.as_ref().ok());
        let told = told.flat_map(|report| report.table.others().iter().filter_map(client_address));
        let mut second = self.peers.places(told.collect());
        second.retain(|at| !first.contains(at));
        peers.extend(self.peers.ask(&second, &found).await);
        Seen { discovery, found, peers }
    }

    /// Who answers at this address: the id, or why there is none. Only the connection has to be there
    /// at once: a server that is busy takes its time to answer.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn who(&self, at: SocketAddr) -> Result<NodeId, Failure> {
        match timeout(REACH, self.peers.connect(at)).await {
            Ok(connection) => self.peers.id_of(&connection?).await,
            Err(_) => Err(Failure::late("connection", REACH)),
        }
    }

    /// Connects to whom the promotion is about, and sees whether it is still what it was.
    ///
    /// # Errors
    /// It is not, or does not answer; nothing was ordered.
    pub async fn confirm(&self, of: &Promotion) -> Result<Connection, Failure> {
        let connection = self.peers.connect(of.at).await?;
        let table = self.peers.table_of(&connection).await?;
        if table.id() == of.id && is_replica_of(&table, of.master) {
            Ok(connection)
        } else {
            Err(Failure::Ours("it is no replica of this node any more".to_owned()))
        }
    }

    /// Has the server at the other end take over: the only command that this program gives to the
    /// server of another pod while its own does not run.
    ///
    /// # Errors
    /// [`Failure::Said`]: it refused. Any other: it may have begun.
    pub async fn order(&self, to: &Connection, promotion: &Promotion) -> Result<(), Failure> {
        let words = [self.cluster.as_str(), "FAILOVER", promotion.how.word()];
        to.text(&words).await.map(drop)
    }
}
