//! Asks the own server and its replicas, and gives the one order.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::cluster::model::{Table, client_address};
use crate::cluster::observe::{NoFailover, Observer};
use crate::cluster::peers::table;
use crate::cluster::replies;
use crate::config::server::ServerConfig;
use crate::health::{Answer, Role};
use crate::nodes_conf::{Node, NodeId};
use crate::redis::{Connection, Dialer, Failure};

use super::plan::{Reply, Said, Successor, View, candidates, too_few_voters};

/// How long a replica is waited for. One that hangs would cost five seconds of paused writes if it
/// were told to take over, so it is asked first; longer than this, and the end of a whole cluster
/// would take longer by it.
const PATIENCE: Duration = Duration::from_millis(400);

/// The pause between two looks at whether we have become a replica.
const FLIP_PAUSE: Duration = Duration::from_millis(2);

/// The pauses between two looks at a replica that takes over: the first, which is doubled, and the
/// longest. One that is told to stop meanwhile shows it only until its server saves, and is silent.
const SUCCESSOR_PAUSE: Duration = Duration::from_millis(10);
const SUCCESSOR_PAUSE_MAX: Duration = Duration::from_millis(100);

/// The eyes of a server that leaves.
pub struct Look {
    own: Observer,
    /// The own server announces that it is not to be elected, or has refused to.
    is_announced: bool,
    /// Servers tell clients other addresses than each other.
    is_told_to_clients: bool,
    peers: Peers,
}

/// How replicas are spoken to.
struct Peers {
    dialer: Dialer,
    cluster: String,
    info: String,
}

/// Connections to replicas that answered.
pub type Connections = BTreeMap<NodeId, Connection>;

/// Why a replica has not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Short {
    /// It said no.
    #[error("it refused: {0}")]
    Refused(Answer),
    /// It has ended meanwhile.
    #[error("it has ended: {0}")]
    Ended(Failure),
    /// Somebody else answers in its place.
    #[error("it has ended: {0} answers there")]
    Replaced(NodeId),
    /// It has given up by now.
    #[error("not within {0:?}")]
    Late(Duration),
    /// It cannot be elected, but may still try.
    #[error("it is linked to {0} of {1} masters, too few to elect it")]
    NoMajority(usize, usize),
}

impl Short {
    /// Whether it may take over yet, so that nobody else must be told to.
    pub fn is_in_flight(&self) -> bool {
        matches!(self, Short::NoMajority(..))
    }
}

impl Look {
    /// Looks at the server with this configuration, over this connection where there is one, and speaks
    /// to its replicas alike.
    pub fn new(
        server: &ServerConfig,
        dialer: Dialer,
        own_ip: Option<IpAddr>,
        own: Option<Connection>,
    ) -> Look {
        let (cluster, info) = (server.word("CLUSTER"), server.word("INFO"));
        let own = Observer::new(server, dialer.clone(), own_ip, None).over(own);
        let is_told_to_clients = server.announce.to_clients;
        Look {
            own,
            is_announced: false,
            is_told_to_clients,
            peers: Peers { dialer, cluster, info },
        }
    }

    /// The own server and, where it serves slots, all of its replicas at once.
    ///
    /// # Errors
    /// The own server could not be asked.
    pub async fn all(&mut self) -> Result<(View, Connections), Failure> {
        let own = self.own.own_table().await?;
        self.announce().await;
        let (mut replicas, mut connections) = (Vec::new(), Connections::new());
        if !own.me().slots.is_empty() {
            // The table has addresses for clients, which may lead nowhere from here.
            let linked = match self.is_told_to_clients {
                true => replies::replicas(&self.own.info_own("replication").await?),
                false => Vec::new(),
            };
            let peers = &self.peers;
            let asked = candidates(&own).map(|node| peers.ask_replica(node, &linked));
            let mut asked: FuturesUnordered<_> = asked.collect();
            while let Some((mut reply, connection)) = asked.next().await {
                if let Ok(said) = &mut reply.answer {
                    // Right after each, so that none is ahead, nor behind for another one's silence.
                    said.source = replies::stream(&self.own.info_own("replication").await?);
                }
                connections.extend(connection.map(|connection| (reply.id, connection)));
                replicas.push(reply);
            }
        }
        replicas.sort_by_key(|reply| reply.id);
        Ok((View { table: own, replicas }, connections))
    }

    /// Sets the flag `nofailover` on the own server, so that a peer which leaves too does not hand
    /// its slots back to us, and no election does.
    async fn announce(&mut self) {
        if self.is_announced {
            return;
        }
        match self.own.set_no_failover(NoFailover::Yes).await {
            Ok(()) => self.is_announced = true,
            Err(why @ Failure::Said(_)) => {
                warn!("cannot announce that this node leaves: the server {why}");
                self.is_announced = true;
            }
            Err(why) => debug!("cannot announce that this node leaves: the server {why}"),
        }
    }

    /// Has a replica take over, and waits until it has.
    ///
    /// # Errors
    /// It has not, within `limit` at the latest; [`Short`] says whether it may yet.
    pub async fn take_over(
        &mut self,
        successor: &Successor,
        connection: &Connection,
        limit: Duration,
    ) -> Result<(), Short> {
        let words = [self.peers.cluster.as_str(), "FAILOVER"];
        // Any other failure is no refusal: it may have heard the order.
        if let Err(Failure::Said(answer)) = connection.text(&words).await {
            return Err(Short::Refused(answer));
        }
        tokio::select! {
            () = until_replica(&mut self.own) => Ok(()),
            short = self.peers.until_lost(successor, connection) => Err(short),
            () = sleep(limit) => Err(Short::Late(limit)),
        }
    }
}

/// Ends when the own server is a replica.
async fn until_replica(own: &mut Observer) {
    loop {
        let info = own.info_own("replication").await;
        if info.is_ok_and(|info| matches!(replies::role(&info), Role::Replica { .. })) {
            return;
        }
        sleep(FLIP_PAUSE).await;
    }
}

impl Peers {
    /// Asks a replica, which is at one of these addresses or where the table has it.
    async fn ask_replica(&self, node: &Node, linked: &[SocketAddr]) -> (Reply, Option<Connection>) {
        let mut answer = Err(Failure::Ours("has no address".to_owned()));
        for at in linked.iter().copied().chain(client_address(node)) {
            answer = self.ask(at).await;
            if answer.as_ref().is_ok_and(|(said, _)| said.table.id() == node.id) {
                break;
            }
        }
        let (answer, connection) = match answer {
            Ok((said, connection)) => (Ok(said), Some(connection)),
            Err(failure) => (Err(failure), None),
        };
        (Reply { id: node.id, answer }, connection)
    }

    async fn ask(&self, at: SocketAddr) -> Result<(Said, Connection), Failure> {
        let asked = async {
            let connection = self.dialer.connect_peer(at).await?;
            let nodes = [self.cluster.as_str(), "NODES"];
            let replication = [self.info.as_str(), "replication"];
            let (nodes, info) =
                tokio::join!(connection.text(&nodes), connection.text(&replication));
            let (table, stream) = (table(&nodes?)?, replies::stream(&info?));
            let source = stream.clone();
            Ok((Said { at, table, stream, source }, connection))
        };
        let silent = |_| Err(Failure::late("reply", PATIENCE));
        timeout(PATIENCE, asked).await.unwrap_or_else(silent)
    }

    /// Ends when the successor, which was told to take over through this connection, cannot do so
    /// any more. One that is only silent may.
    async fn until_lost(&self, successor: &Successor, connection: &Connection) -> Short {
        let mut connection = Some(connection.clone());
        let (mut had_few, mut leaves) = (false, false);
        let mut pause = SUCCESSOR_PAUSE;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(SUCCESSOR_PAUSE_MAX);
            let (answer, kept) = match &connection {
                Some(kept) => (self.table_of(kept).await, connection.clone()),
                None => match timeout(PATIENCE, self.dialer.connect_peer(successor.at)).await {
                    Ok(Ok(new)) => (self.table_of(&new).await, Some(new)),
                    Ok(Err(why)) => (Some(Err(why)), None),
                    Err(_) => (None, None),
                },
            };
            let was_connected = connection.is_some();
            connection = kept;
            match answer {
                None if leaves => return Short::Ended(Failure::late("reply", PATIENCE)),
                // Silent: it hangs, or the network does.
                None => {}
                Some(Ok(table)) if table.id() == successor.id => {
                    leaves = table.me().flags.nofailover;
                    let few = too_few_voters(&table);
                    if let Some((linked, masters)) = few
                        && had_few
                    {
                        return Short::NoMajority(linked, masters);
                    }
                    had_few = few.is_some();
                }
                Some(Ok(table)) => return Short::Replaced(table.id()),
                // The connection alone may have been closed: a new one tells.
                Some(Err(Failure::Silent(_))) if was_connected => connection = None,
                Some(Err(why @ (Failure::Closed | Failure::Silent(_)))) => {
                    return Short::Ended(why);
                }
                Some(Err(_)) => {}
            }
        }
    }

    /// `None`: no reply in time.
    async fn table_of(&self, of: &Connection) -> Option<Result<Table, Failure>> {
        let asked = async { table(&of.text(&[&self.cluster, "NODES"]).await?) };
        timeout(PATIENCE, asked).await.ok()
    }
}
