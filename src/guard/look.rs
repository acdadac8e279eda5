//! Asks whoever can be found, and gives the one order. Everything else in here only reads.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::cluster::observe::{keys, table};
use crate::cluster::replies;
use crate::config::server::ServerConfig;
use crate::discovery::Finder;
use crate::redis::{Connection, Dialer, Failure, PATIENCE};

use super::claim::Claim;
use super::plan::{Promotion, Reply, Said, is_replica_of};

/// How long an address that did not answer the last time is waited for.
const REPEATED_PATIENCE: Duration = Duration::from_millis(200);

/// The eyes of the guard.
pub struct Look {
    dialer: Dialer,
    finder: Option<Finder>,
    own_ip: Option<IpAddr>,
    cluster: String,
    info: String,
    silent: BTreeSet<SocketAddr>,
}

impl Look {
    /// Looks for others with `finder`, beside where `nodes.conf` has them, and speaks to them as
    /// to servers of this configuration.
    pub fn new(
        server: &ServerConfig,
        dialer: Dialer,
        own_ip: Option<IpAddr>,
        finder: Option<Finder>,
    ) -> Look {
        let named = |command: &'static str| server.command(command).unwrap_or(command).to_owned();
        let (cluster, info) = (named("CLUSTER"), named("INFO"));
        Look { dialer, finder, own_ip, cluster, info, silent: BTreeSet::new() }
    }

    /// Asks every address that the file or the search names, all at once.
    pub async fn all(&mut self, claim: &Claim) -> Vec<Reply> {
        let mut addresses = claim.addresses.clone();
        if let Some(finder) = &mut self.finder {
            addresses.extend(finder.find().await.addresses);
        }
        if let Some(own) = self.own_ip {
            addresses.retain(|at| at.ip() != own && at.is_ipv4() == own.is_ipv4());
        }
        let replies = join_all(addresses.into_iter().map(|at| self.ask(at))).await;
        self.silent = replies
            .iter()
            .filter(|reply| matches!(reply.answer, Err(Failure::Silent(_))))
            .map(|reply| reply.at)
            .collect();
        replies
    }

    async fn ask(&self, at: SocketAddr) -> Reply {
        let patience = if self.silent.contains(&at) { REPEATED_PATIENCE } else { PATIENCE };
        let answer = timeout(patience, async {
            let connection = self.dialer.connect_peer(at).await?;
            let (nodes, replication) =
                ([self.cluster.as_str(), "NODES"], [self.info.as_str(), "replication"]);
            let (nodes, replication, keys) = tokio::join!(
                connection.text(&nodes),
                connection.text(&replication),
                keys(&connection, &self.info),
            );
            let (table, (keys, _)) = (table(&nodes?)?, keys?);
            Ok(Said { table, keys, offset: replies::replica_offset(&replication?) })
        });
        let silent = |_| Err(Failure::Silent(format!("no reply within {patience:?}")));
        Reply { at, answer: answer.await.unwrap_or_else(silent) }
    }

    /// Connects to whom the promotion is about, and sees whether it is still what it was.
    ///
    /// # Errors
    /// It is not, or does not answer; nothing was ordered.
    pub async fn confirm(&self, claim: &Claim, of: &Promotion) -> Result<Connection, Failure> {
        let connection = self.dialer.connect_peer(of.at).await?;
        let table = table(&connection.text(&[&self.cluster, "NODES"]).await?)?;
        if table.id() == of.id && is_replica_of(&table, claim.id) {
            Ok(connection)
        } else {
            Err(Failure::Ours("it is no replica of this node any more".to_owned()))
        }
    }

    /// Has the server at the other end take over: the only command that this program ever gives
    /// to the server of another pod.
    ///
    /// # Errors
    /// [`Failure::Said`]: it refused. Any other: it may have begun.
    pub async fn order(&self, to: &Connection, promotion: &Promotion) -> Result<(), Failure> {
        let words = [self.cluster.as_str(), "FAILOVER", promotion.how.word()];
        to.text(&words).await.map(drop)
    }
}
