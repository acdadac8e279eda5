//! The other pods: finds them, and asks each of them who it is and what it knows. Reads only.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::config::server::ServerConfig;
use crate::discovery::{Finder, Search};
use crate::health::Answer;
use crate::nodes_conf::{self, NodeId};
use crate::redis::{Connection, Dialer, Failure, PATIENCE};

use super::alias;
use super::model::{Discovery, Peer, Report, Table};
use super::replies;

/// How long an address that did not answer the last time is waited for. One dead address must not
/// slow down what is done with the others; it is asked again in each round.
const REPEATED_PATIENCE: Duration = Duration::from_millis(200);

/// The same by TLS, which takes both sides some work: on a busy machine too little time for it would
/// have all of it done in vain, again and again.
const REPEATED_TLS_PATIENCE: Duration = Duration::from_millis(500);

/// The way to the other pods. Keeps connections until told otherwise.
pub struct Peers {
    dialer: Dialer,
    own_ip: Option<IpAddr>,
    cluster: String,
    info: String,
    search: Option<Search>,
    connections: HashMap<SocketAddr, Connection>,
    silent: BTreeSet<SocketAddr>,
}

impl Peers {
    /// Finds the others with `finder`, and speaks to them as to servers of this configuration.
    pub fn new(
        server: &ServerConfig,
        dialer: Dialer,
        own_ip: Option<IpAddr>,
        finder: Option<Finder>,
    ) -> Peers {
        Peers {
            dialer,
            own_ip,
            cluster: server.word("CLUSTER"),
            info: server.word("INFO"),
            search: finder.map(Search::new),
            connections: HashMap::new(),
            silent: BTreeSet::new(),
        }
    }

    /// Every address that the search names, and what became of the search.
    pub async fn find(&mut self) -> (BTreeSet<SocketAddr>, Discovery) {
        let Some(search) = &mut self.search else { return (BTreeSet::new(), Discovery::Off) };
        let found = search.find().await;
        let failed = found.failed.map_or(Discovery::Done, Discovery::Failed);
        (self.places(found.addresses.into_iter().collect()), failed)
    }

    /// These addresses as [`Peers::ask`] takes them: each server at one port. Once for all lists, as
    /// it is no small function.
    #[inline(never)]
    pub fn places(&self, all: Vec<SocketAddr>) -> BTreeSet<SocketAddr> {
        all.into_iter().map(|at| self.place(at)).collect()
    }

    /// The same for one.
    pub fn place(&self, at: SocketAddr) -> SocketAddr {
        self.dialer.ports().place(at)
    }

    /// Asks these addresses, all at once; those of another family than ours are left out. `found`:
    /// which of them the search named.
    pub async fn ask(
        &mut self,
        asked: &BTreeSet<SocketAddr>,
        found: &BTreeSet<SocketAddr>,
    ) -> Vec<Peer> {
        let is_service = self.search.as_ref().is_some_and(Search::is_service);
        let of_use = |at: &&SocketAddr| self.own_ip.is_none_or(|own| own.is_ipv4() == at.is_ipv4());
        let asked: Vec<SocketAddr> = asked.iter().filter(of_use).copied().collect();
        let answers = join_all(asked.iter().map(|at| self.report(*at))).await;
        let mut peers = Vec::new();
        for (at, (answer, connection)) in asked.into_iter().zip(answers) {
            self.keep(at, &answer, connection);
            let named = is_service && found.contains(&at);
            peers.push(Peer { at, named, alias: false, answer });
        }
        peers
    }

    /// Closes the connections to all others than these.
    pub fn keep_only(&mut self, asked: &BTreeSet<SocketAddr>) {
        self.connections.retain(|at, _| asked.contains(at));
        self.silent.retain(|at| asked.contains(at));
    }

    /// Closes every connection.
    pub fn rest(&mut self) {
        self.connections.clear();
        self.silent.clear();
    }

    /// The full name of a pod in the Service, once it leads to its address.
    pub async fn name_of(&self, pod: &str, ip: IpAddr) -> Option<String> {
        self.search.as_ref()?.name_of(pod, ip).await
    }

    /// For each of these its run, which those are asked for who answered with one of these ids.
    pub async fn runs(&self, peers: &[Peer], ids: &BTreeSet<NodeId>) -> Vec<Option<alias::Run>> {
        let mut runs = Vec::new();
        for peer in peers {
            runs.push(match alias::id_of(peer) {
                Some(id) if ids.contains(&id) => self.run_at(peer.at).await.map(|run| (id, run)),
                _ => None,
            });
        }
        runs
    }

    async fn run_at(&self, at: SocketAddr) -> Option<String> {
        let connection = self.connect(at).await.ok()?;
        alias::run_id(&connection.text(&[&self.info, "server"]).await.ok()?)
    }

    /// Which id answers at an address at this very moment.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn id_at(&self, at: SocketAddr) -> Result<NodeId, Failure> {
        self.id_of(&self.connect(at).await?).await
    }

    /// Which id is at the other end.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn id_of(&self, connection: &Connection) -> Result<NodeId, Failure> {
        let id = connection.text(&[&self.cluster, "MYID"]).await?;
        id.trim().parse().map_err(|_| Failure::Garbage(format!("CLUSTER MYID said {id:?}")))
    }

    /// The view of the cluster that is at the other end.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn table_of(&self, connection: &Connection) -> Result<Table, Failure> {
        table(&connection.text(&[&self.cluster, "NODES"]).await?)
    }

    /// The connection that is kept, or a new one.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn connect(&self, at: SocketAddr) -> Result<Connection, Failure> {
        match self.connections.get(&at) {
            Some(connection) => Ok(connection.clone()),
            None => self.dialer.connect_peer(at).await,
        }
    }

    async fn report(&self, at: SocketAddr) -> (Result<Report, Failure>, Option<Connection>) {
        let patience = match self.silent.contains(&at) {
            false => PATIENCE * 2,
            true if self.dialer.ports().tls => REPEATED_TLS_PATIENCE,
            true => REPEATED_PATIENCE,
        };
        let asked = async {
            let connection = self.connect(at).await?;
            let replication = [self.info.as_str(), "replication"];
            let (table, replication, keys) = tokio::join!(
                self.table_of(&connection),
                connection.text(&replication),
                keys(&connection, &self.info),
            );
            let (table, replication, (keys, _)) = (table?, replication?, keys?);
            let (stream, follows) =
                (replies::stream(&replication), replies::followed(&replication));
            Ok((Report { table, keys, stream, follows }, connection))
        };
        match timeout(patience, asked).await {
            Ok(Ok((report, connection))) => (Ok(report), Some(connection)),
            Ok(Err(failure)) => (Err(failure), None),
            Err(_) => (Err(Failure::late("reply", patience)), None),
        }
    }

    fn keep(&mut self, at: SocketAddr, answer: &Result<Report, Failure>, new: Option<Connection>) {
        match new {
            Some(connection) => _ = self.connections.insert(at, connection),
            None => _ = self.connections.remove(&at),
        }
        if matches!(answer, Err(Failure::Silent(_))) {
            self.silent.insert(at);
        } else {
            self.silent.remove(&at);
        }
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
