//! Looks: at the own server, and where there is something to be done at every pod that can be
//! found. Reads only.

use std::net::{IpAddr, SocketAddr};

use crate::config::server::ServerConfig;
use crate::config::server::dial::{Dial, Ports};
use crate::discovery::Finder;
use crate::nodes_conf::{NOWHERE, NodeId};
use crate::redis::{Connection, Dialer, Failure};

use super::alias;
use super::model::{
    Announced, Own, Past, Peer, Replication, Table, View, client_address, is_healthy,
};
use super::peers::{Peers, keys, table};
use super::replies;

/// Values of `cluster-replica-no-failover`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFailover {
    /// The server is not elected, unless it is told to take over.
    Yes,
    /// It is.
    No,
}

/// The eyes of the keeper. Keeps connections between rounds while there is something to be done.
pub struct Observer {
    dialer: Dialer,
    own_at: Vec<Dial>,
    own: Option<Connection>,
    own_ip: Option<IpAddr>,
    cluster: String,
    config: String,
    info: String,
    announced: Announced,
    peers: Peers,
}

impl Observer {
    /// Looks at the server with this configuration, and for others with `finder`.
    pub fn new(
        server: &ServerConfig,
        dialer: Dialer,
        own_ip: Option<IpAddr>,
        finder: Option<Finder>,
    ) -> Observer {
        Observer {
            peers: Peers::new(server, dialer.clone(), own_ip, finder),
            dialer,
            own_at: server.dial(),
            own: None,
            own_ip,
            cluster: server.word("CLUSTER"),
            config: server.word("CONFIG"),
            info: server.word("INFO"),
            announced: Announced::of(server, own_ip),
        }
    }

    /// The same, over a connection to the own server that another one has made: a server whose clients
    /// are full takes no new one.
    pub fn over(self, own: Option<Connection>) -> Observer {
        Observer { own, ..self }
    }

    /// The connection to the own server, where there is one.
    pub fn own_kept(&self) -> Option<Connection> {
        self.own.clone()
    }

    /// Asks the own server one thing.
    ///
    /// # Errors
    /// As [`Failure`] says; where it ends the connection, the next call connects anew.
    pub async fn ask_own(&mut self, words: &[&str]) -> Result<String, Failure> {
        let connection = self.own_connection().await?;
        let reply = connection.text(words).await;
        self.forget_own_if_ended(reply)
    }

    /// `CLUSTER subcommand...` on the own server.
    ///
    /// # Errors
    /// As [`Observer::ask_own`].
    pub async fn cluster_own(&mut self, words: &[&str]) -> Result<String, Failure> {
        let cluster = self.cluster.clone();
        let words: Vec<&str> =
            std::iter::once(cluster.as_str()).chain(words.iter().copied()).collect();
        self.ask_own(&words).await
    }

    /// The own server's view of the cluster.
    ///
    /// # Errors
    /// As [`Observer::ask_own`].
    pub async fn own_table(&mut self) -> Result<Table, Failure> {
        table(&self.cluster_own(&["NODES"]).await?)
    }

    /// `CONFIG subcommand...` on the own server.
    ///
    /// # Errors
    /// As [`Observer::ask_own`].
    pub async fn config_own(&mut self, words: &[&str]) -> Result<String, Failure> {
        let config = self.config.clone();
        let words: Vec<&str> =
            std::iter::once(config.as_str()).chain(words.iter().copied()).collect();
        self.ask_own(&words).await
    }

    /// `CONFIG SET cluster-replica-no-failover` on the own server, which shows at once as the flag
    /// `nofailover` in what it says of itself (`updateClusterFlags` in `src/config.c`). Nothing keeps
    /// it over a restart.
    ///
    /// # Errors
    /// As [`Observer::ask_own`].
    pub async fn set_no_failover(&mut self, value: NoFailover) -> Result<(), Failure> {
        let value = match value {
            NoFailover::Yes => "yes",
            NoFailover::No => "no",
        };
        self.config_own(&["SET", "cluster-replica-no-failover", value]).await.map(drop)
    }

    /// `INFO section` of the own server.
    ///
    /// # Errors
    /// As [`Observer::ask_own`].
    pub async fn info_own(&mut self, section: &str) -> Result<String, Failure> {
        let info = self.info.clone();
        let kept = self.own.is_some();
        match self.ask_own(&[&info, section]).await {
            Err(Failure::Silent(_)) if kept => self.ask_own(&[&info, section]).await,
            reply => reply,
        }
    }

    /// Reads `INFO replication` of the own server.
    pub fn replication(&self, info: &str) -> Replication {
        replication_of(info, self.dialer.ports())
    }

    /// The own server in full, in one round trip, or two where it refuses to read data.
    ///
    /// # Errors
    /// As [`Observer::ask_own`].
    pub async fn own(&mut self) -> Result<Own, Failure> {
        let kept = self.own.is_some();
        match self.own_once().await {
            // A kept connection may have been closed by `CLIENT KILL`, or for being idle: that is
            // no silence of the server. It is asked again, over a new one.
            Err(Failure::Silent(_)) if kept => self.own_once().await,
            own => own,
        }
    }

    async fn own_once(&mut self) -> Result<Own, Failure> {
        let connection = self.own_connection().await?;
        let (cluster, info) = (self.cluster.as_str(), self.info.as_str());
        let (nodes, state) = ([cluster, "NODES"], [cluster, "INFO"]);
        let replication = [info, "replication"];
        let (nodes, state, replication, keys) = tokio::join!(
            connection.text(&nodes),
            connection.text(&state),
            connection.text(&replication),
            keys(&connection, info),
        );
        let read = || -> Result<Own, Failure> {
            let (keys, serves) = keys?;
            let state = state?;
            Ok(Own {
                table: table(&nodes?)?,
                state_ok: replies::state_is_ok(&state),
                current_epoch: replies::current_epoch(&state),
                replication: self.replication(&replication?),
                keys,
                serves,
            })
        };
        let own = read();
        self.forget_own_if_ended(own)
    }

    /// Everything: finds the other pods and asks each of them. What came before is the caller's.
    pub async fn view(&mut self, own: Own) -> View {
        let (found, discovery) = self.peers.find().await;
        let known = own.table.others().iter().filter_map(client_address);
        // Where addresses are announced, the table may not have the one that is copied from.
        let differs = self.announced != Announced::Nothing;
        let followed = own.replication.follows.filter(|at| differs && at.ip() != NOWHERE);
        let mut asked =
            self.peers.places(found.iter().copied().chain(known).chain(followed).collect());
        let mut peers = self.peers.ask(&asked, &found).await;
        let told = told_master(&own.table, &peers);
        let to_all = matches!(self.announced, Announced::ToAll { .. });
        let said = peers.iter().filter(|_| to_all).filter_map(announced);
        let mut more = self.peers.places(said.chain(told).collect());
        more.retain(|at| asked.insert(*at));
        let mut there = self.peers.ask(&more, &found).await;
        // Who answers at an announced address and is none of these is nobody's business.
        let is_told = told.map(|at| self.peers.place(at));
        there.retain(|peer| is_told == Some(peer.at) || is_known(peer, &peers));
        peers.append(&mut there);
        self.peers.keep_only(&asked);
        peers.retain(|peer| !self.is_own(peer, own.table.id()));
        let peers = self.without_doubles(own.table.id(), peers).await;
        let announced = self.announced;
        View { own, discovery, peers, announced, past: Past::default(), refused: None }
    }

    /// The same, where a server that was asked at two addresses counts once.
    async fn without_doubles(&mut self, own: NodeId, peers: Vec<Peer>) -> Vec<Peer> {
        let doubled = alias::doubled(own, &peers);
        if doubled.is_empty() {
            return peers;
        }
        let runs = self.peers.runs(&peers, &doubled).await;
        let said = match doubled.contains(&own) {
            true => self.info_own("server").await.unwrap_or_default(),
            false => String::new(),
        };
        let own = alias::run_id(&said).map(|run| (own, run));
        alias::mark(&own, peers, &runs)
    }

    /// What turns out to be the own server under the own address.
    fn is_own(&self, peer: &Peer, own: NodeId) -> bool {
        alias::id_of(peer) == Some(own) && self.own_ip.is_none_or(|ip| ip == peer.at.ip())
    }

    /// The full name of this pod in its Service, once it leads to its address.
    pub async fn own_name(&self, pod: &str) -> Option<String> {
        self.peers.name_of(pod, self.own_ip?).await
    }

    /// Which id answers at an address at this very moment.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn id_at(&self, at: SocketAddr) -> Result<NodeId, Failure> {
        self.peers.id_at(at).await
    }

    /// Closes every connection to a peer: there is nothing left to be done.
    pub fn rest(&mut self) {
        self.peers.rest();
    }

    async fn own_connection(&mut self) -> Result<Connection, Failure> {
        if let Some(connection) = &self.own {
            return Ok(connection.clone());
        }
        let mut failure: Option<Failure> = None;
        for endpoint in &self.own_at {
            match self.dialer.connect(endpoint).await {
                Ok(connection) => {
                    self.own = Some(connection.clone());
                    return Ok(connection);
                }
                // An answer counts, whatever the other addresses say: a refused login is no
                // silence because there is no IPv6 here.
                Err(why) => match &failure {
                    Some(first) if first.is_answer() || !why.is_answer() => {}
                    _ => failure = Some(why),
                },
            }
        }
        let nowhere = || Failure::Ours("the server listens nowhere that we can reach".to_owned());
        Err(failure.unwrap_or_else(nowhere))
    }

    fn forget_own_if_ended<T>(&mut self, reply: Result<T, Failure>) -> Result<T, Failure> {
        if reply.as_ref().is_err_and(Failure::ends_connection) {
            self.own = None;
        }
        reply
    }
}

/// Where a peer says that it is.
fn announced(peer: &Peer) -> Option<SocketAddr> {
    client_address(peer.answer.as_ref().ok()?.table.me())
}

/// Whether one of these has answered with the same id.
fn is_known(peer: &Peer, peers: &[Peer]) -> bool {
    let id = alias::id_of(peer);
    id.is_some() && peers.iter().any(|other| alias::id_of(other) == id)
}

/// Where the others say that the own master is, whose address is not in the own table.
fn told_master(own: &Table, peers: &[Peer]) -> Option<SocketAddr> {
    let master = own.find(own.me().master?).filter(|line| client_address(line).is_none())?.id;
    let told = peers.iter().filter_map(|peer| peer.answer.as_ref().ok()?.table.find(master));
    told.filter(|line| is_healthy(line)).find_map(client_address)
}

/// Reads `INFO replication`. By which port a replica copies its master is a matter of
/// `tls-replication`, so the master is at either.
pub fn replication_of(info: &str, ports: Ports) -> Replication {
    Replication {
        role: replies::role(info),
        master_host: replies::field(info, "master_host").map(ToOwned::to_owned),
        follows: replies::followed(info).map(|at| ports.place(at)),
        stream: replies::stream(info),
        earlier: replies::field(info, "master_replid2").map(ToOwned::to_owned),
        down_for: replies::down_for(info),
    }
}
