//! The guard of empty masters: what happens before a server starts that `nodes.conf` makes a
//! master with slots, and that has nothing on disk to load; or that has no `nodes.conf`, where
//! others know a master at its address.
//!
//! A replica would copy the emptiness within a second of such a start (`connectWithMaster` in
//! `src/replication.c` knows an address, no id), while the cluster declares nobody failed for as
//! long as the node timeout. So the replica with the most data is promoted first; the server
//! then starts as its replica, or as a new node that joins.
//!
//! And of replicas, for the same reason: before one starts, it is seen whether its own master answers
//! where `nodes.conf` says.
//!
//! | Module | What it does |
//! |---|---|
//! | [`followed`] | whether a replica would find its master; pure |
//! | [`claim`] | what the file of a master says; pure |
//! | [`former`] | without a file: who was at our address; pure |
//! | [`plan`] | from what was seen to the next step; pure |
//! | [`look`] | asks the others, and gives the order |
//! | [`gate`] | how the main thread waits for all this |

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::board::Board;
use crate::cluster::report::Identity;
use crate::config::server::ServerConfig;
use crate::health::{Observation, Phase};
use crate::nodes_conf::{self, NodesConf};
use crate::redis::Failure;
use crate::status::{Held, Status};
use crate::telemetry::metrics::Metrics;

pub mod claim;
pub mod followed;
pub mod former;
pub mod gate;
pub mod look;
pub mod plan;

use claim::Claim;
use followed::Followed;
use former::Place;
use gate::Gate;
use look::Look;
use plan::{Moment, Order, Promotion, Start, Step, Wait};

/// The pause after a look that changed something.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: it doubles up to here as long as nothing changes.
const WAITING_PAUSE: Duration = Duration::from_secs(1);

/// What a server would start as that is guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `nodes.conf` makes it a replica of this master.
    Replica(Followed),
    /// It would start without what it had.
    Bereft(Bereft),
}

/// What a server would start as without what it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bereft {
    /// `nodes.conf` makes it a master with slots, and nothing is on disk to load.
    Master(Claim),
    /// Nothing makes it anybody, so it is new; but its address may not be.
    New(Place),
}

/// What the server would start as, and where the guard stands. Outlives a panic of the agent.
#[derive(Debug)]
pub struct Guard {
    subject: Subject,
    node_timeout: Duration,
    gate: Arc<Gate>,
    /// The last order, and when it was given.
    ordered: Mutex<Option<(Promotion, Instant)>>,
}

/// Where the guard says what it does.
#[derive(Clone, Debug)]
pub struct Voice {
    /// What the probes read.
    pub board: Board,
    /// What is counted.
    pub metrics: Metrics,
    /// Who we are.
    pub identity: Identity,
}

/// What has to be guarded before `server` starts; `None`: it is a master that has its data, or
/// claims nothing, or a replica that looks for its master nowhere.
///
/// Without append-only file and `save` points a snapshot is only what an earlier sync has left
/// behind: older than what any replica holds, so it counts as nothing. A server that knows nobody
/// is looked at whatever data it has, since it starts with another id than it had.
pub fn subject(server: &ServerConfig, pod_ip: Option<IpAddr>) -> Option<Subject> {
    if !server.cluster_enabled {
        return None;
    }
    let content = std::fs::read(&server.nodes_conf).unwrap_or_default();
    if content.is_empty() {
        return Place::of(server, pod_ip?).map(Bereft::New).map(Subject::Bereft);
    }
    // A file that is not understood was refused before, or is left to the server.
    let file = nodes_conf::parse(&content).ok()?;
    if is_new(&file) {
        return Place::of(server, pod_ip?).map(Bereft::New).map(Subject::Bereft);
    }
    if let Some(followed) = Followed::of(&file) {
        return Some(Subject::Replica(followed));
    }
    let persistence = &server.persistence;
    let kept = persistence.appendonly || !persistence.save.is_empty();
    let loads = kept && server.data_files().iter().any(|file| file.exists());
    Claim::of(&file).filter(|_| !loads).map(Bereft::Master).map(Subject::Bereft)
}

/// It was started once and has met nobody since: no more is known than without a file.
fn is_new(file: &NodesConf) -> bool {
    file.nodes.len() == 1 && file.myself().slots.is_empty()
}

impl Bereft {
    fn step(&self, seen: &look::Seen, moment: Moment) -> Step {
        match self {
            Bereft::Master(claim) => Step::new(claim, &seen.peers, moment),
            Bereft::New(place) => former::step(place, seen, moment),
        }
    }

    /// What it is, in the log.
    fn what(&self) -> &'static str {
        match self {
            Bereft::Master(_) => "a master with slots and nothing on disk to load",
            Bereft::New(_) => "a new node",
        }
    }

    /// Why it is not started.
    fn danger(&self) -> &'static str {
        match self {
            Bereft::Master(_) => "it would start as a master without its data",
            Bereft::New(_) => "it would start as a new node where a master may have been",
        }
    }

    /// The kind of our hold in `/status` and in `rejoin_holds`.
    fn held(&self) -> &'static str {
        match self {
            Bereft::Master(_) => "empty_master",
            Bereft::New(_) => "lost_volume",
        }
    }

    /// The server may start: says why, and holds nothing any more.
    fn start(&self, start: &Start, voice: &Voice) {
        let what = self.what();
        match start {
            Start::Silent(_) => warn!(
                "starts as {what}: {start}; if one of them is alive with data and comes back \
                 before another node has the slots, that data is lost"
            ),
            Start::Stranger(_) => warn!(
                "starts as {what}: {start}; if a replica of that one still looks for it here, \
                 it loses its data"
            ),
            Start::Nobody => debug!("{what}: {start}, so it starts"),
            _ => info!("{what}: {start}, so it starts"),
        }
        voice.publish(Vec::new(), self);
    }

    /// Nothing is known to be wrong; it takes a moment to know.
    fn wait(&self, why: &str, voice: &Voice) {
        debug!("waits before the start: {why}");
        voice.board.set_phase(Phase::Waiting(why.to_owned()));
    }

    fn hold(&self, why: &str, voice: &Voice) {
        let why = format!("{}: {why}", self.danger());
        warn!("held: {why}");
        voice.board.set_phase(Phase::Waiting(why.clone()));
        let about = voice.identity.pod.clone();
        let kind = self.held().to_owned();
        voice.publish(vec![Held { kind, about, reason: why }], self);
    }
}

impl Guard {
    /// A guard that opens `gate` when the server may start.
    pub fn new(subject: Subject, node_timeout: Duration, gate: Arc<Gate>) -> Guard {
        Guard { subject, node_timeout, gate, ordered: Mutex::new(None) }
    }

    /// Looks and acts until the server may start, then opens the gate; at once if it is open.
    pub async fn stand(&self, look: Look, voice: &Voice) {
        match &self.subject {
            _ if self.gate.is_open() => {}
            Subject::Replica(followed) => self.look_for(followed, &look, voice).await,
            Subject::Bereft(bereft) => self.stand_for(bereft, look, voice).await,
        }
    }

    /// One look, whatever comes of it.
    async fn look_for(&self, followed: &Followed, look: &Look, voice: &Voice) {
        let Followed { id, at } = *followed;
        match followed.absent(look.who(at).await) {
            None => self.gate.open(),
            Some(absent) => {
                let what = format!(
                    "does not look for its master {id} at {at} until it hears from it: {absent}"
                );
                info!("{what}");
                voice.board.acted("lose_address", &what, Instant::now());
                voice.metrics.action("lose_address");
                self.gate.open_without(id);
            }
        }
    }

    async fn stand_for(&self, bereft: &Bereft, mut look: Look, voice: &Voice) {
        let begun = Instant::now();
        let mut pause = BUSY_PAUSE;
        let mut said = String::new();
        let known = match bereft {
            Bereft::Master(claim) => claim.addresses.clone(),
            Bereft::New(_) => BTreeSet::new(),
        };
        while !self.gate.is_open() {
            let seen = look.all(&known).await;
            let moment = Moment {
                waited: begun.elapsed(),
                ordered: self.ordered(),
                node_timeout: self.node_timeout,
            };
            let (why, say): (String, fn(&Bereft, &str, &Voice)) = match bereft.step(&seen, moment) {
                Step::Start(start) => {
                    bereft.start(&start, voice);
                    return self.gate.open();
                }
                Step::Wait(wait @ (Wait::Search(_) | Wait::Quiet(_))) => {
                    (wait.to_string(), Bereft::wait)
                }
                Step::Wait(wait) => (wait.to_string(), Bereft::hold),
                Step::Promote(promotion) => {
                    (self.promote(&look, &promotion, voice).await, Bereft::hold)
                }
            };
            pause = if why == said { (pause * 2).min(WAITING_PAUSE) } else { BUSY_PAUSE };
            if why != said {
                say(bereft, &why, voice);
                said = why;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Gives the order, and says what is waited for then.
    async fn promote(&self, look: &Look, promotion: &Promotion, voice: &Voice) -> String {
        let refused = |why: Failure| format!("could not {promotion}: {why}");
        let connection = match look.confirm(promotion).await {
            Ok(connection) => connection,
            Err(why) => return refused(why),
        };
        // Noted before, since an order whose reply is lost may have been heard.
        self.note_order(Some((promotion.clone(), Instant::now())));
        match look.order(&connection, promotion).await {
            Ok(()) => {
                let what = promotion.to_string();
                info!("{what}");
                voice.board.acted("promote", &what, Instant::now());
                voice.metrics.action("promote");
                Wait::Election(promotion.id).to_string()
            }
            Err(why) => {
                if matches!(why, Failure::Said(_)) {
                    self.note_order(None);
                }
                refused(why)
            }
        }
    }

    fn ordered(&self) -> Option<Order> {
        let ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        let (promotion, at) = ordered.as_ref()?;
        Some(Order { to: promotion.id, how: promotion.how, ago: at.elapsed() })
    }

    fn note_order(&self, order: Option<(Promotion, Instant)>) {
        *self.ordered.lock().unwrap_or_else(PoisonError::into_inner) = order;
    }
}

impl Voice {
    fn publish(&self, held: Vec<Held>, bereft: &Bereft) {
        let id = match bereft {
            Bereft::Master(claim) => Some(claim.id.to_string()),
            Bereft::New(_) => None,
        };
        let status = Status { id, held, ..self.identity.status(true) };
        self.board.publish(Observation::unknown(Instant::now(), self.board.phase()), status);
    }
}
