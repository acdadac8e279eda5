//! Looks: at the own server, and where there is something to be done at every pod that can be
//! found. Reads only.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::config::server::ServerConfig;
use crate::config::server::dial::Dial;
use crate::discovery::{Finder, Search};
use crate::health::Answer;
use crate::nodes_conf::{self, NodeId};
use crate::redis::{Connection, Dialer, Failure, PATIENCE};

use super::model::{Discovery, Own, Peer, Replication, Report, Table, View, literal_ip};
use super::replies;

/// How long an address that did not answer the last time is waited for. One dead address must not
/// slow down what is done with the others; it is asked again in each round.
const REPEATED_PATIENCE: Duration = Duration::from_millis(200);

/// The eyes of the keeper. Keeps connections between rounds while there is something to be done.
pub struct Observer {
    dialer: Dialer,
    own_at: Vec<Dial>,
    own: Option<Connection>,
    own_ip: Option<IpAddr>,
    cluster: String,
    config: String,
    info: String,
    search: Option<Search>,
    peers: HashMap<SocketAddr, Connection>,
    silent: BTreeSet<SocketAddr>,
}

impl Observer {
    /// Looks at the server with this configuration, and for others with `finder`.
    pub fn new(
        server: &ServerConfig,
        dialer: Dialer,
        own_ip: Option<IpAddr>,
        finder: Option<Finder>,
    ) -> Observer {
        let named = |command: &'static str| server.command(command).unwrap_or(command).to_owned();
        Observer {
            dialer,
            own_at: server.dial(),
            own: None,
            own_ip,
            cluster: named("CLUSTER"),
            config: named("CONFIG"),
            info: named("INFO"),
            search: finder.map(Search::new),
            peers: HashMap::new(),
            silent: BTreeSet::new(),
        }
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
                replication: replication_of(&replication?),
                keys,
                serves,
            })
        };
        let own = read();
        self.forget_own_if_ended(own)
    }

    /// Everything: finds the other pods and asks each of them.
    pub async fn view(&mut self, own: Own) -> View {
        let is_service = self.search.as_ref().is_some_and(Search::is_service);
        let (found, discovery) = match &mut self.search {
            None => (BTreeSet::new(), Discovery::Off),
            Some(search) => {
                let found = search.find().await;
                let discovery = found.failed.map_or(Discovery::Done, Discovery::Failed);
                (found.addresses, discovery)
            }
        };
        let known = own.table.others().iter().filter_map(|node| {
            let ip = literal_ip(node)?;
            (node.address.port != 0).then(|| SocketAddr::new(ip, node.address.port))
        });
        let asked: BTreeSet<SocketAddr> = found
            .iter()
            .copied()
            .chain(known)
            .filter(|at| self.own_ip.is_none_or(|own| own.is_ipv4() == at.is_ipv4()))
            .collect();
        self.peers.retain(|at, _| asked.contains(at));
        self.silent.retain(|at| asked.contains(at));
        let answers = join_all(asked.iter().map(|at| self.report(*at))).await;
        let mut peers = Vec::new();
        for (at, (answer, connection)) in asked.into_iter().zip(answers) {
            self.keep(at, &answer, connection);
            let answer = answer.filter_own(own.table.id(), at.ip(), self.own_ip);
            let named = is_service && found.contains(&at);
            peers.extend(answer.map(|answer| Peer { at, named, answer }));
        }
        View { own, discovery, peers }
    }

    /// The full name of this pod in its Service, once it leads to its address.
    pub async fn own_name(&self, pod: &str) -> Option<String> {
        let (search, ip) = self.search.as_ref().zip(self.own_ip)?;
        search.name_of(pod, ip).await
    }

    /// Which id answers at an address at this very moment.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn id_at(&self, at: SocketAddr) -> Result<NodeId, Failure> {
        let connection = self.connect(at).await?;
        let id = connection.text(&[&self.cluster, "MYID"]).await?;
        id.trim().parse().map_err(|_| Failure::Garbage(format!("CLUSTER MYID said {id:?}")))
    }

    /// Closes every connection to a peer: there is nothing left to be done.
    pub fn rest(&mut self) {
        self.peers.clear();
        self.silent.clear();
    }

    async fn report(&self, at: SocketAddr) -> (Result<Report, Failure>, Option<Connection>) {
        let patience = if self.silent.contains(&at) { REPEATED_PATIENCE } else { PATIENCE * 2 };
        let asked = async {
            let connection = self.connect(at).await?;
            let nodes = [self.cluster.as_str(), "NODES"];
            let (nodes, keys) =
                tokio::join!(connection.text(&nodes), keys(&connection, &self.info));
            Ok((Report { table: table(&nodes?)?, keys: keys?.0 }, connection))
        };
        match timeout(patience, asked).await {
            Ok(Ok((report, connection))) => (Ok(report), Some(connection)),
            Ok(Err(failure)) => (Err(failure), None),
            Err(_) => (Err(Failure::Silent(format!("no reply within {patience:?}"))), None),
        }
    }

    async fn connect(&self, at: SocketAddr) -> Result<Connection, Failure> {
        match self.peers.get(&at) {
            Some(connection) => Ok(connection.clone()),
            None => self.dialer.connect_peer(at).await,
        }
    }

    fn keep(&mut self, at: SocketAddr, answer: &Result<Report, Failure>, new: Option<Connection>) {
        match new {
            Some(connection) => _ = self.peers.insert(at, connection),
            None => _ = self.peers.remove(&at),
        }
        if matches!(answer, Err(Failure::Silent(_))) {
            self.silent.insert(at);
        } else {
            self.silent.remove(&at);
        }
    }

    async fn own_connection(&mut self) -> Result<Connection, Failure> {
        if let Some(connection) = &self.own {
            return Ok(connection.clone());
        }
        let mut failure = Failure::Ours("the server listens nowhere that we can reach".to_owned());
        for endpoint in &self.own_at {
            match self.dialer.connect(endpoint).await {
                Ok(connection) => {
                    self.own = Some(connection.clone());
                    return Ok(connection);
                }
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    fn forget_own_if_ended<T>(&mut self, reply: Result<T, Failure>) -> Result<T, Failure> {
        if reply.as_ref().is_err_and(Failure::ends_connection) {
            self.own = None;
        }
        reply
    }
}

/// Leaves out what turns out to be the own server under the own address.
trait FilterOwn: Sized {
    fn filter_own(self, own: NodeId, at: IpAddr, own_ip: Option<IpAddr>) -> Option<Self>;
}

impl FilterOwn for Result<Report, Failure> {
    fn filter_own(self, own: NodeId, at: IpAddr, own_ip: Option<IpAddr>) -> Option<Self> {
        let is_own = self.as_ref().is_ok_and(|report| report.table.id() == own);
        (!is_own || own_ip.is_some_and(|ip| ip != at)).then_some(self)
    }
}

/// How many keys a server holds, and whether it serves them: a replica without its master does not
/// where `replica-serve-stale-data` is `no`. Then `DBSIZE` is refused, yet all else can be had, and
/// is what its link is healed by.
///
/// # Errors
/// As [`Failure`] says.
pub async fn keys(connection: &Connection, info: &str) -> Result<(u64, bool), Failure> {
    match connection.number(&["DBSIZE"]).await {
        Err(Failure::Said(Answer::MasterDown)) => {
            Ok((replies::keys(&connection.text(&[info, "keyspace"]).await?), false))
        }
        keys => Ok((keys?, true)),
    }
}

/// Reads `CLUSTER NODES`.
///
/// # Errors
/// [`Failure::Garbage`], with what was not understood.
pub fn table(reply: &str) -> Result<Table, Failure> {
    let nodes = nodes_conf::parse_reply(reply.as_bytes())
        .map_err(|error| Failure::Garbage(format!("CLUSTER NODES: {error}")))?;
    Table::new(nodes)
        .ok_or_else(|| Failure::Garbage("CLUSTER NODES has not one line of its own".to_owned()))
}

fn replication_of(info: &str) -> Replication {
    Replication {
        role: replies::role(info),
        master_host: replies::field(info, "master_host").map(ToOwned::to_owned),
    }
}
