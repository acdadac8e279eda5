//! Leaving without a gap: a master that is told to stop has its most up-to-date replica take over,
//! and only then gets the signal. `CLUSTER FAILOVER` to that replica is the one command that is
//! ever sent to another pod while the own server runs.
//!
//! | Module | What it does |
//! |---|---|
//! | [`notice`] | PID 1 tells the agent, and the signal goes out in time whatever becomes of that |
//! | [`plan`] | from what was seen to the next step; pure |
//! | [`look`] | asks the own server and its replicas, and gives the one order |
//!
//! After the replica has taken over, the own server goes on answering for a moment, so that a
//! client of the cluster is sent on (`MOVED`) and not refused.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{info, warn};

use crate::board::Board;
use crate::health::Answer;
use crate::nodes_conf::NodeId;
use crate::status;
use crate::telemetry::metrics::Metrics;

pub mod look;
pub mod notice;
pub mod plan;

use look::{Connections, Look, Short};
use notice::Notice;
use plan::{Go, Moment, Step, Successor, Unfit};

/// How long the own server answers `MOVED` before it stops. A client that is busy learns of the new
/// master from its next command, within milliseconds; the end of a whole cluster takes longer by
/// this at most.
const LINGER: Duration = Duration::from_millis(300);

/// How long a replica with the flag `nofailover` is waited for. One that has just found its master
/// again is without it after a look or two; one that leaves does not answer by then.
const BEGINNING: Duration = Duration::from_millis(500);
/// How long one is waited for that is perhaps our replica since a moment ago, and whom one of us has
/// not heard of as such; or the other masters, who vote for a second replica of one master after two node
/// timeouts only (`voted_time` in `clusterSendFailoverAuthIfNeeded`) and so must know that it is another one's
/// by now. A server tells others of itself every second, one after the other; its keeper tells all at once.
const TURNING: Duration = Duration::from_millis(1500);
/// In how many looks a server that is a replica is not believed to stay one: it was perhaps told to
/// take over a moment ago. Its old master's vote may need 40 ms, since two messages in a row wait for an
/// acknowledgement on the bus, and where there is no other master it is the one that counts.
const OWN_LOOKS: usize = 2;
/// The pause between two looks while a replica is waited for.
const PAUSE: Duration = Duration::from_millis(50);

/// What a hand-over is told to do, and where it says what it does.
pub struct Handover {
    notice: Arc<Notice>,
    look: Look,
    board: Board,
    metrics: Metrics,
    /// How long a replica that was told to take over may try.
    in_flight: Duration,
}

/// How a hand-over has gone so far.
struct Course {
    tried: Vec<(NodeId, String)>,
    /// What was said last, so that it is said once.
    said: String,
    shown: status::Handover,
    begun: Instant,
    /// Until then what looks unfit may be so for a moment only.
    begins_until: Instant,
    /// The own server was not known to be a master for long when it began.
    young: bool,
    /// What the last look found that is waited for.
    waits: Option<Discriminant<Unfit>>,
    looks: usize,
}

impl Course {
    fn begins(&self) -> bool {
        Instant::now() < self.begins_until
    }
}

impl Handover {
    /// A hand-over that begins when the notice is given.
    pub fn new(
        notice: Arc<Notice>,
        look: Look,
        board: Board,
        metrics: Metrics,
        manual_failover_timeout: Duration,
    ) -> Handover {
        // The replica's clock begins when it hears the order.
        let in_flight = manual_failover_timeout + PAUSE * 4;
        Handover { notice, look, board, metrics, in_flight }
    }

    /// Hands over if there is anything to be handed over, and lets the signal pass. Does nothing
    /// where it has passed already.
    pub async fn leave(mut self) {
        let now = Instant::now();
        let master_since = self.board.observation().master_since;
        let mut course = Course {
            tried: Vec::new(),
            said: String::new(),
            shown: status::Handover::default(),
            begun: now,
            begins_until: now + BEGINNING,
            young: master_since.is_none_or(|since| now.duration_since(since) < TURNING),
            waits: None,
            looks: 0,
        };
        while let Some(deadline) = self.notice.deadline() {
            let (step, connections) = self.next(&course, deadline).await;
            course.looks += 1;
            match step {
                Step::Go(go) => {
                    self.go_without(&mut course, &go);
                    break;
                }
                Step::Wait(why) => {
                    if why == Unfit::Turning {
                        // It tells us by a MEET, which drops the link that it had.
                        course.begins_until = Instant::now() + BEGINNING;
                    }
                    let kind = discriminant(&why);
                    // Once, however far behind it is at each look.
                    if course.waits.replace(kind) != Some(kind) {
                        self.say(&mut course, &format!("waits with the hand-over: {why}"));
                    }
                    sleep(PAUSE).await;
                }
                Step::Order(successor) => {
                    if self.order(&mut course, &successor, &connections).await {
                        break;
                    }
                }
            }
        }
        self.notice.pass();
    }

    async fn next(&mut self, course: &Course, deadline: Instant) -> (Step, Connections) {
        match self.look.all().await {
            Ok((view, connections)) => {
                let ordered = self.notice.ordered();
                let moment = Moment {
                    left: deadline.saturating_duration_since(Instant::now()),
                    tried: &course.tried,
                    in_flight: ordered.is_some_and(|at| at.elapsed() < self.in_flight),
                    begins: course.begins(),
                    turns: course.begun.elapsed() < TURNING,
                    young: course.young,
                    own_turn: course.looks < OWN_LOOKS,
                    relinking: course.waits == Some(discriminant(&Unfit::Relinking)),
                };
                (Step::new(&view, &moment), connections)
            }
            Err(failure) => {
                let answered_once = self.board.observation().last_answer.is_some();
                (Step::unasked(failure, answered_once), Connections::new())
            }
        }
    }

    /// Has a replica take over; whether leaving is over with that.
    async fn order(
        &mut self,
        course: &mut Course,
        successor: &Successor,
        connections: &Connections,
    ) -> bool {
        let Some(connection) = connections.get(&successor.id) else { return false };
        let chosen = Instant::now();
        course.shown = status::Handover {
            to: Some(successor.id.to_string()),
            at: Some(successor.at.to_string()),
            lag_bytes: Some(successor.lag_bytes),
            choose_s: Some((chosen - course.begun).as_secs_f64()),
            ..status::Handover::default()
        };
        self.say(course, &format!("hands its slots over to {successor}"));
        // Noted before, since an order whose reply is lost may have been heard.
        self.notice.note_order(Some(Instant::now()));
        match self.look.take_over(successor, connection, self.in_flight).await {
            Ok(()) => {
                self.done(course, successor, chosen).await;
                true
            }
            Err(short) => {
                warn!("{} has not taken over: {short}", successor.id);
                if short.is_in_flight() {
                    self.say(course, "leaves without a hand-over: nobody else may be told now");
                    return true;
                }
                self.notice.note_order(None);
                if matches!(short, Short::Refused(Answer::Other(_))) && course.begins() {
                    // It has perhaps lost its link to us just now, for a moment.
                    sleep(PAUSE).await;
                } else {
                    course.tried.push((successor.id, short.to_string()));
                }
                false
            }
        }
    }

    /// It is a replica now: lingers, and says how long each phase took.
    async fn done(&mut self, course: &mut Course, successor: &Successor, chosen: Instant) {
        let taken = Instant::now();
        let (choose, order) = (chosen - course.begun, taken - chosen);
        course.shown.order_s = Some(order.as_secs_f64());
        let text = format!(
            "{} has taken over: chosen within {}, took over within {}, {} bytes behind",
            successor.id,
            ms(choose),
            ms(order),
            successor.lag_bytes
        );
        self.say(course, &text);
        self.board.acted("hand_over", &text, taken);
        self.metrics.action("hand_over");
        self.metrics.handover("choose", choose);
        self.metrics.handover("order", order);
        self.metrics.handover_lag(&successor.id.to_string(), successor.lag_bytes);
        sleep(LINGER).await;
        course.shown.linger_s = Some(taken.elapsed().as_secs_f64());
        self.metrics.handover("linger", taken.elapsed());
        self.say(course, &format!("sent clients on for {}: the signal passes", ms(LINGER)));
    }

    fn go_without(&self, course: &mut Course, go: &Go) {
        match go {
            Go::NothingToHandOver => self.say(course, "nothing to hand over: it serves no slots"),
            _ => {
                let text = format!("leaves without a hand-over: {go}");
                warn!("{text}");
                course.said.clone_from(&text);
                self.show(course, text);
            }
        }
    }

    fn say(&self, course: &mut Course, text: &str) {
        if course.said != text {
            info!("{text}");
            text.clone_into(&mut course.said);
            self.show(course, text.to_owned());
        }
    }

    fn show(&self, course: &mut Course, text: String) {
        course.shown.said = text;
        self.board.hands_over(course.shown.clone());
    }
}

fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
