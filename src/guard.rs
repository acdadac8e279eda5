//! The guard of empty masters: what happens before a server starts that `nodes.conf` makes a
//! master with slots, and that has nothing on disk to load.
//!
//! Its replica would copy the emptiness within a second of such a start (`redis-facts`, config
//! versus data), while the cluster declares nobody failed for as long as the node timeout. So the
//! replica with the most data is promoted first; the server then starts as its replica.
//!
//! | Module | What it does |
//! |---|---|
//! | [`claim`] | what the file says; pure |
//! | [`plan`] | from what was seen to the next step; pure |
//! | [`look`] | asks the others, and gives the order |
//! | [`gate`] | how the main thread waits for all this |

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::board::Board;
use crate::cluster::report::Identity;
use crate::config::server::ServerConfig;
use crate::health::{Observation, Phase};
use crate::nodes_conf;
use crate::redis::Failure;
use crate::status::{Held, Status};
use crate::telemetry::metrics::Metrics;

pub mod claim;
pub mod gate;
pub mod look;
pub mod plan;

use claim::Claim;
use gate::Gate;
use look::Look;
use plan::{Moment, Order, Promotion, Start, Step};

/// The pause after a look that changed something.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: it doubles up to here as long as nothing changes.
const WAITING_PAUSE: Duration = Duration::from_secs(1);
/// The kind of our hold in `/status` and in `rejoin_holds`.
const HELD: &str = "empty-master";

/// What the server would start as, and where the guard stands. Outlives a panic of the agent.
#[derive(Debug)]
pub struct Guard {
    claim: Claim,
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

/// What `server` would claim without any data of its own; `None`: it has data, or nothing to claim.
///
/// Without append-only file and `save` points a snapshot is only what an earlier sync has left
/// behind: older than what any replica holds, so it counts as nothing.
pub fn unbacked_claim(server: &ServerConfig) -> Option<Claim> {
    let persistence = &server.persistence;
    let kept = persistence.appendonly || !persistence.save.is_empty();
    if !server.cluster_enabled || kept && server.data_files().iter().any(|file| file.exists()) {
        return None;
    }
    claim_in(&server.nodes_conf)
}

/// A file that is not understood was refused before, or is left to the server.
fn claim_in(file: &Path) -> Option<Claim> {
    Claim::of(&nodes_conf::parse(&std::fs::read(file).ok()?).ok()?)
}

impl Guard {
    /// A guard that opens `gate` when the server may start.
    pub fn new(claim: Claim, node_timeout: Duration, gate: Arc<Gate>) -> Guard {
        Guard { claim, node_timeout, gate, ordered: Mutex::new(None) }
    }

    /// Looks and acts until the server may start, then opens the gate; at once if it is open.
    pub async fn stand(&self, mut look: Look, voice: &Voice) {
        let begun = Instant::now();
        let mut pause = BUSY_PAUSE;
        let mut said = String::new();
        while !self.gate.is_open() {
            let replies = look.all(&self.claim).await;
            let moment = Moment {
                waited: begun.elapsed(),
                ordered: self.ordered(),
                node_timeout: self.node_timeout,
            };
            let why = match Step::new(&self.claim, &replies, moment) {
                Step::Start(start) => return self.start(&start, voice),
                Step::Wait(wait) => wait.to_string(),
                Step::Promote(promotion) => self.promote(&look, &promotion, voice).await,
            };
            pause = if why == said { (pause * 2).min(WAITING_PAUSE) } else { BUSY_PAUSE };
            if why != said {
                self.hold(&why, voice);
                said = why;
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn start(&self, start: &Start, voice: &Voice) {
        let subject = "a master with slots and nothing on disk to load";
        match start {
            Start::Silent(_) => warn!(
                "starts as {subject}: {start}; if one of them is alive with data and comes back \
                 before another node has the slots, that data is lost"
            ),
            _ => info!("{subject}: {start}, so it starts"),
        }
        voice.publish(Vec::new(), &self.claim);
        self.gate.open();
    }

    /// Gives the order, and says what is waited for then.
    async fn promote(&self, look: &Look, promotion: &Promotion, voice: &Voice) -> String {
        let refused = |why: Failure| format!("could not {promotion}: {why}");
        let connection = match look.confirm(&self.claim, promotion).await {
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
                plan::Wait::Election(promotion.id).to_string()
            }
            Err(why) => {
                if matches!(why, Failure::Said(_)) {
                    self.note_order(None);
                }
                refused(why)
            }
        }
    }

    fn hold(&self, why: &str, voice: &Voice) {
        let why = format!("it would start as a master without its data: {why}");
        warn!("held: {why}");
        voice.board.set_phase(Phase::Waiting(why.clone()));
        let about = voice.identity.pod.clone();
        voice.publish(vec![Held { kind: HELD.to_owned(), about, reason: why }], &self.claim);
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
    fn publish(&self, held: Vec<Held>, claim: &Claim) {
        let id = Some(claim.id.to_string());
        let status = Status { id, held, ..self.identity.status(true) };
        self.board.publish(Observation::unknown(Instant::now(), self.board.phase()), status);
    }
}
