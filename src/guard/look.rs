//! Asks whoever can be found, and gives the one order. Everything else in here only reads.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::cluster::model::{Discovery, Peer, client_address};
use crate::cluster::peers::Peers;
use crate::config::server::ServerConfig;
use crate::redis::{Connection, Failure};

use super::plan::{Promotion, is_replica_of};

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
        let first: BTreeSet<SocketAddr> = known.union(&found).copied().collect();
        let mut peers = self.peers.ask(&first, &found).await;
        let told = peers.iter().filter_map(|peer| peer.answer.as_ref().ok());
        let told = told.flat_map(|report| report.table.others().iter().filter_map(client_address));
        let second: BTreeSet<SocketAddr> = told.filter(|at| !first.contains(at)).collect();
        peers.extend(self.peers.ask(&second, &found).await);
        Seen { discovery, found, peers }
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
