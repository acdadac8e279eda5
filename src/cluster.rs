//! The keeper: a loop of observe, plan and act that makes this node a member of its cluster and
//! keeps it one.
//!
//! | Module | What it does |
//! |---|---|
//! | [`model`] | what was seen, and questions to it; pure |
//! | [`plan`] | view to steps and holds; pure |
//! | [`alias`] | one server at two addresses, or two with one id; pure |
//! | [`observe`] | asks the own server, and others through [`peers`]; only reads |
//! | [`peers`] | finds the other pods and asks them; only reads |
//! | [`act`] | takes the steps, on the own server only |
//! | [`shield`] | no election in the first moment without a master; pure |
//! | [`election`] | keeps the own server from being elected, and ends that |
//! | [`link`] | why a replica has no link to a master that answers; one login, seldom |
//! | [`memory`] | what is remembered between two looks |
//! | [`hostname`] | announces the pod's name |
//! | [`departure`] | sends SIGTERM again to a server that did not heed it |
//! | [`watch`] | rounds to what the probes are told |
//! | [`readiness`] | what the log says of it; pure |
//! | [`report`] | view and plan to `/status`; pure |
//! | [`replies`] | `INFO` and `CLUSTER INFO`; pure |
//!
//! While something is to be done or waited for, a round looks at everything. When a round has
//! found nothing left, the next ones ask the own server one thing each, in turn, and nobody else,
//! until an answer shows that something has changed.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::board::Board;
use crate::config::server::ServerConfig;
use crate::health::{Membership, Phase, Role};
use crate::redis::{Connection, Failure};
use crate::status::{Held, Status};
use crate::telemetry::metrics::Metrics;

pub mod act;
pub mod alias;
pub mod departure;
pub mod election;
pub mod hostname;
pub mod link;
pub mod memory;
pub mod model;
pub mod observe;
pub mod peers;
pub mod plan;
pub mod readiness;
pub mod replies;
pub mod report;
pub mod shield;
pub mod watch;

use departure::Departure;
use hostname::Hostname;
use link::Link;
use memory::Memory;
use model::{Own, Replication, Table, View};
use observe::Observer;
use plan::{Meet, Plan, Reason, Settings, Standing, Step};
use readiness::Readiness;
use report::Identity;
use shield::Shield;
use watch::Watch;

/// The pause after a round that did something, or saw something new.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Added to [`BUSY_PAUSE`] for each pod that is asked, so that large clusters are not kept busy by
/// being looked at.
const PAUSE_PER_PEER: Duration = Duration::from_millis(4);
/// The longest pause while something is not as it should be: the pause doubles up to here as long
/// as nothing changes.
const WAITING_PAUSE: Duration = Duration::from_secs(1);
/// The pause between the single questions when all is well.
const QUIET_PAUSE: Duration = Duration::from_secs(1);
/// How many questions a replica is asked in that time instead: the others are whether it has lost its
/// master, at whose address somebody else may answer soon.
const QUESTIONS_TO_REPLICA: u32 = 4;

/// How long a server that does not answer yet is not worth a line of the log.
const STARTING: Duration = Duration::from_secs(3);

/// The keeper of one server.
pub struct Keeper {
    observer: Observer,
    settings: Settings,
    identity: Identity,
    cluster_enabled: bool,
    board: Board,
    metrics: Metrics,
    watch: Watch,
    hostname: Hostname,
    memory: Memory,
    link: Link,
    shield: Shield,
    /// What the last full round saw and planned.
    last: Option<(View, Plan)>,
    /// The steps of the last full round that failed, each with the reason.
    failed: Vec<Held>,
    departure: Departure,
    pause: Duration,
    /// Which of the single questions comes next.
    turn: u32,
    readiness: Readiness,
    /// The others have taken this pod for what it takes itself for, once.
    confirmed: bool,
}

impl Keeper {
    /// A keeper that has seen nothing yet but what is on the board.
    pub fn new(
        server: &ServerConfig,
        observer: Observer,
        settings: Settings,
        identity: Identity,
        board: Board,
        metrics: Metrics,
        departure: Departure,
    ) -> Keeper {
        let cluster_enabled = server.cluster_enabled;
        let watch = Watch::new(board.observation(), cluster_enabled);
        Keeper {
            observer,
            settings,
            identity,
            cluster_enabled,
            board,
            metrics,
            watch,
            hostname: Hostname::new(server),
            memory: Memory::default(),
            link: Link::new(server),
            shield: Shield::default(),
            last: None,
            failed: Vec::new(),
            departure,
            pause: BUSY_PAUSE,
            turn: 0,
            readiness: Readiness::default(),
            confirmed: false,
        }
    }

    /// The connection to the own server, for who goes on after the keeper.
    pub fn connection(&self) -> Option<Connection> {
        self.observer.own_kept()
    }

    /// Rounds without end.
    pub async fn keep(&mut self) {
        loop {
            self.round().await;
            self.metrics.round();
            self.say_readiness();
            self.rest().await;
        }
    }

    /// Looks at the own server until it has stopped, for the probes and so that it does: a pod that
    /// leaves has no other business.
    pub async fn see_off(&mut self) {
        loop {
            self.look_at_role().await;
            self.departure.insist(&self.board, Instant::now());
            tokio::time::sleep(self.pause).await;
        }
    }

    async fn round(&mut self) {
        if !self.cluster_enabled {
            return self.look_at_role().await;
        }
        let settled = self.last.as_ref().is_some_and(|(_, plan)| plan.settled);
        let same = settled && self.nothing_has_changed().await;
        if !same {
            self.memory.disturbed();
        }
        if same && !self.is_to_go_home() {
            self.pause = QUIET_PAUSE / self.questions();
            // Only when nothing else waits, for a resolver may take its time.
            let pod = &self.identity.pod;
            self.hostname.announce(&mut self.observer, pod, Instant::now()).await;
            return;
        }
        match self.observer.own().await {
            Ok(own) => {
                self.learn_version().await;
                self.full_round(own).await;
            }
            Err(failure) => self.no_answer(&failure),
        }
    }

    async fn full_round(&mut self, own: Own) {
        self.raise_shield(&own).await;
        self.keep_back_turned(&own).await;
        // Told before the others are looked for, which may take a while.
        let now = Instant::now();
        self.watch.own(now, &own);
        self.republish(now);
        let mut view = self.look(own).await;
        let mut plan = Plan::new(&view, &self.settings);
        if plan.steps.iter().any(Step::needs_confirming) {
            match self.observer.own().await {
                Ok(own) => {
                    view = self.look(own).await;
                    plan = plan.confirmed_by(&Plan::new(&view, &self.settings));
                }
                Err(failure) => return self.no_answer(&failure),
            }
        }
        self.publish(&view, &plan);
        // Before it is so, lest nobody knew afterwards who did it.
        if plan.steps.iter().any(|step| matches!(step, Step::KeepBack { .. })) {
            self.board.keeps_back();
        }
        self.lower_shield(&view).await;
        let done = act::act(&mut self.observer, &plan.steps).await;
        if done.iter().any(|(step, done)| matches!(step, Step::TakeOver { .. }) && done.is_ok()) {
            self.memory.ordered(Instant::now());
        }
        self.say_steps(&plan, &done);
        self.set_pause(&view, &plan);
        if plan.settled {
            self.observer.rest();
            self.memory.settled(now);
        } else {
            self.memory.disturbed();
        }
        self.last = Some((view, plan));
    }

    async fn look(&mut self, own: Own) -> View {
        let mut view = self.observer.view(own).await;
        self.memory.look(&mut view, Instant::now());
        view.past.kept_back = self.board.is_kept_back();
        view.refused = self.link.refusal(&view, Instant::now()).await;
        view
    }

    /// Whether it is worth a look at everybody, because of `REJOIN_PREFER_HOME`.
    fn is_to_go_home(&self) -> bool {
        let Some((view, _)) = &self.last else { return false };
        plan::home::successor_at_home(&view.own.table, &self.settings).is_some()
            && plan::home::is_calm(self.memory.calm(Instant::now()), &self.settings)
    }

    fn publish(&mut self, view: &View, plan: &Plan) {
        let now = Instant::now();
        self.watch.own(now, &view.own);
        let membership = self.membership(view, plan);
        self.watch.membership(membership);
        self.say_holds(plan);
        self.show(now, self.identity.status_of(view, plan));
    }

    /// The others' word counts until it was heard once: later troubles of theirs are not ours.
    fn membership(&mut self, view: &View, plan: &Plan) -> Membership {
        let member = plan.membership == Membership::Member;
        if !member || (self.confirmed && self.watch.was_ok()) {
            return plan.membership.clone();
        }
        match plan::standing(view) {
            Standing::Confirmed => {
                self.confirmed = true;
                Membership::Member
            }
            Standing::Lone(what) => Membership::AwaitingPeers(what),
            Standing::Doubted(why) => Membership::Pending(why),
        }
    }

    /// Puts on the board what is known, beside this status and the steps that failed.
    fn show(&self, now: Instant, mut status: Status) {
        status.held.extend(self.failed.iter().cloned());
        self.board.publish(self.watch.observation(now), status);
    }

    /// What is called for again in the same way has not helped yet, so it has time.
    fn set_pause(&mut self, view: &View, plan: &Plan) {
        let changed = self.last.as_ref().is_none_or(|(_, last)| !last.is_like(plan));
        let peers = u32::try_from(view.peers.len()).unwrap_or(u32::MAX);
        let busy = BUSY_PAUSE + PAUSE_PER_PEER * peers;
        let busy_still = changed || may_be_elected(&view.own, self.settings.node_timeout);
        self.pause = if busy_still { busy } else { (self.pause * 2).min(WAITING_PAUSE) };
        self.pause = self.pause.max(busy);
    }

    /// Asks the own server one thing, and says whether all is still as it was.
    async fn nothing_has_changed(&mut self) -> bool {
        let questions = self.questions();
        let Some((view, _)) = &mut self.last else { return false };
        let before = &mut view.own;
        self.turn = (self.turn + 1) % (3 * questions);
        let question = if self.turn.is_multiple_of(questions) { self.turn / questions } else { 1 };
        let same = match question {
            0 => self.observer.cluster_own(&["INFO"]).await.map(|reply| {
                let ok = replies::state_is_ok(&reply);
                self.watch.state(ok);
                ok == before.state_ok
            }),
            1 => self.observer.info_own("replication").await.map(|reply| {
                let replication = self.observer.replication(&reply);
                let same = is_same(&replication, &before.replication);
                self.watch.role(replication.role);
                same
            }),
            _ => self.observer.own_table().await.map(|table| {
                let same = is_like(&table, &before.table);
                if same {
                    // For the status, which shows the names that pods announce.
                    before.table = table;
                }
                same
            }),
        };
        let now = Instant::now();
        match same {
            Ok(same) => {
                self.watch.answered(now);
                self.republish(now);
                same
            }
            Err(failure) => {
                debug!("the server {failure}");
                false
            }
        }
    }

    /// How many questions the own server is asked in a [`QUIET_PAUSE`].
    fn questions(&self) -> u32 {
        let is_replica = |view: &View| view.own.table.me().flags.replica;
        let replica = self.last.as_ref().is_some_and(|(view, _)| is_replica(view));
        if replica { QUESTIONS_TO_REPLICA } else { 1 }
    }

    async fn look_at_role(&mut self) {
        match self.observer.info_own("replication").await {
            Ok(reply) => {
                self.learn_version().await;
                let now = Instant::now();
                self.watch.answered(now);
                self.watch.role(replies::role(&reply));
                self.pause = QUIET_PAUSE;
                self.republish(now);
            }
            Err(failure) => self.no_answer(&failure),
        }
    }

    fn no_answer(&mut self, failure: &Failure) {
        let now = Instant::now();
        debug!("the server {failure}");
        self.watch.failed(now, failure);
        self.memory.saw_nothing();
        self.pause = (self.pause * 2).clamp(BUSY_PAUSE / 2, WAITING_PAUSE);
        if self.last.take().is_some() {
            self.pause = BUSY_PAUSE;
        }
        self.republish(now);
    }

    /// Publishes what is new to the probes, beside the status of the last full round.
    fn republish(&mut self, now: Instant) {
        let status = match &self.last {
            Some((view, plan)) => self.identity.status_of(view, plan),
            None => self.identity.status(self.cluster_enabled),
        };
        self.show(now, status);
    }

    async fn learn_version(&mut self) {
        if self.identity.server_version.is_none()
            && let Ok(reply) = self.observer.info_own("server").await
        {
            self.identity.server_version = replies::version(&reply);
        }
    }

    /// Says what was done, once as long as it is called for again. The meetings of a round are one
    /// line, since in a large cluster there are many; those that only bring somebody up to date are
    /// for those who look closer.
    fn say_steps(&mut self, plan: &Plan, done: &[(Step, act::Outcome)]) {
        let again = self.last.as_ref().is_some_and(|(_, last)| last.steps == plan.steps);
        let (mut met, mut told, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (step, outcome) in done {
            match (step, outcome) {
                (_, Err(why)) => failed.push(Held {
                    kind: "failed_step".to_owned(),
                    about: "this pod".to_owned(),
                    reason: format!("could not {step}: {why}"),
                }),
                (Step::Meet { at, why: Meet::Outdated, .. }, _) => told.push(at.to_string()),
                (Step::Meet { at, .. }, _) => met.push(at.to_string()),
                _ if again => debug!("again: {step}"),
                (Step::GiveUp(_), _) => {
                    warn!("{step}");
                    self.board.acted(step.kind(), &step.to_string(), Instant::now());
                }
                _ => self.say_done(step.kind(), &step.to_string()),
            }
            if outcome.is_ok() {
                self.metrics.action(step.kind());
            }
        }
        for new in failed.iter().filter(|new| !self.failed.contains(new)) {
            warn!("{}", new.reason);
        }
        self.failed = failed;
        if !met.is_empty() && !again {
            self.say_done("meet", &format!("meet {}", met.join(", ")));
        }
        if !told.is_empty() {
            debug!("tell our role and slots to {}", told.join(", "));
        }
    }

    fn say_done(&self, kind: &str, what: &str) {
        info!("{what}");
        self.board.acted(kind, what, Instant::now());
    }

    /// Says what is newly held, and what no longer is. To wait for the others is in order.
    fn say_holds(&self, plan: &Plan) {
        let before = self.last.as_ref().map_or(&[][..], |(_, last)| &last.held);
        for hold in plan.held.iter().filter(|hold| !before.iter().any(|old| old.is_like(hold))) {
            match hold.reason {
                Reason::TooFew { .. } => info!("waits: {hold}"),
                _ => warn!("held: {hold}"),
            }
        }
        for hold in before.iter().filter(|hold| !plan.held.iter().any(|new| new.is_like(hold))) {
            info!("no longer held: {hold}");
        }
    }

    /// Says how readiness changes, once the server has answered or should have by now.
    fn say_readiness(&mut self) {
        let now = Instant::now();
        let seen = self.board.observation();
        let starting = matches!(seen.phase, Phase::Running(at) if now - at < STARTING);
        if starting && seen.last_answer.is_none() {
            return;
        }
        if let Some(news) = self.readiness.news(self.board.probes(now).ready, now) {
            info!("{news}");
        }
    }
}

/// Whether a replica without a link to its master may still be elected. What its data is by then
/// depends on who answers where it looks for its master, so that is looked at without a pause.
fn may_be_elected(own: &Own, node_timeout: Duration) -> bool {
    let recent = |down: Duration| down <= node_timeout * plan::VALIDITY_FACTOR;
    own.is_cut_off() && own.replication.down_for.is_some_and(recent)
}

/// Whether the role is the same, and the data still comes from the same place.
fn is_same(now: &Replication, before: &Replication) -> bool {
    same_role(&now.role, &before.role)
        && now.master_host == before.master_host
        && now.stream.id == before.stream.id
}

fn same_role(now: &Role, before: &Role) -> bool {
    match (now, before) {
        (Role::Master, Role::Master) => true,
        (Role::Replica { link_up, .. }, Role::Replica { link_up: before, .. }) => link_up == before,
        _ => false,
    }
}

/// Whether two tables say the same as far as a plan depends on it: neither the times of pings and pongs
/// nor the names count, which pods announce one after the other when all is well.
fn is_like(now: &Table, before: &Table) -> bool {
    let mut now: Vec<_> = now.nodes().collect();
    let mut before: Vec<_> = before.nodes().collect();
    now.sort_by_key(|node| node.id);
    before.sort_by_key(|node| node.id);
    now.len() == before.len()
        && now.iter().zip(before).all(|(a, b)| {
            (a.id, &a.address.ip, a.address.port, a.flags, a.master, a.connected, &a.slots)
                == (b.id, &b.address.ip, b.address.port, b.flags, b.master, b.connected, &b.slots)
        })
}
