//! What `/metrics` shows.
//!
//! | Metric | Meaning |
//! |---|---|
//! | `rejoin_build_info{version}` | always 1 |
//! | `rejoin_probe{probe}` | 1 where `live`, `ready`, `startup` say yes, else 0 |
//! | `rejoin_keeper_rounds_total` | rounds of observing, planning and acting |
//! | `rejoin_actions_total{kind}` | what the keeper did |
//! | `rejoin_holds{kind}` | what it does not do at present, by kind of reason |
//! | `rejoin_agent_restarts_total` | the second thread ended and was started again |
//! | `rejoin_handover_seconds{phase}` | the hand-over: `choose`, `order`, `linger`; absent before |
//! | `rejoin_handover_lag_bytes{replica}` | how far the replica that took over was behind |
//! | `rejoin_log_lines_lost_total` | log lines that stderr did not take |
//! | `rejoin_server_up` | 1 if the last attempt to reach the server was answered, else 0 |
//! | `rejoin_server_answer_age_seconds` | age of its last answer; absent before the first |

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::board::Board;

/// The `Content-Type` of [`Metrics::encode`]: OpenMetrics 1.0, which Prometheus reads since 2.5
/// (2018) by this very header, and which differs from the older text format by its last line.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label called `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// A label called `probe`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Probe {
    probe: String,
}

/// A label called `phase`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    phase: &'static str,
}

/// A label called `replica`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Replica {
    replica: String,
}

type Seconds = Gauge<f64, AtomicU64>;

/// The metrics that are counted as things happen; the rest is read from the [`Board`] when asked
/// for. A clone counts into the same metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    rounds: Counter,
    actions: Family<Kind, Counter>,
    /// Empty before the hand-over, and not shown then.
    handover: Family<Stage, Seconds>,
    lag: Family<Replica, Gauge>,
}

impl Metrics {
    /// The keeper has finished a round.
    pub fn round(&self) {
        self.rounds.inc();
    }

    /// The keeper has done something; `kind` is one of a small fixed set of words.
    pub fn action(&self, kind: &str) {
        self.actions.get_or_create_owned(&Kind { kind: kind.to_owned() }).inc();
    }

    /// A phase of the hand-over took this long.
    pub fn handover(&self, phase: &'static str, took: Duration) {
        self.handover.get_or_create_owned(&Stage { phase }).set(took.as_secs_f64());
    }

    /// The replica with this id took over, and was so far behind.
    pub fn handover_lag(&self, replica: &str, bytes: u64) {
        let lag = self.lag.get_or_create_owned(&Replica { replica: replica.to_owned() });
        lag.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// All metrics as of `now`, as [`CONTENT_TYPE`] says.
    ///
    /// # Errors
    /// None that is known; the encoder's signature has one.
    pub fn encode(&self, board: &Board, now: Instant) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry(board, now))?;
        Ok(out)
    }

    fn registry(&self, board: &Board, now: Instant) -> Registry {
        let mut registry = Registry::with_prefix("rejoin");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The running rejoin", Info::new(version));
        registry.register("probe", "1 where the probe says yes", probes(board, now));
        registry.register("keeper_rounds", "Rounds of the keeper", self.rounds.clone());
        registry.register("actions", "What the keeper did", self.actions.clone());
        registry.register("holds", "What the keeper holds back at present", holds(board, now));
        let restarts = Counter::<u64, AtomicU64>::default();
        restarts.inc_by(board.agent_restarts());
        registry.register("agent_restarts", "Restarts of the second thread", restarts);
        let help = "Length of the phases of the hand-over in seconds";
        registry.register("handover_seconds", help, self.handover.clone());
        let help = "How far the replica that took over was behind, in bytes";
        registry.register("handover_lag_bytes", help, self.lag.clone());
        let lost = Counter::<u64, AtomicU64>::default();
        lost.inc_by(super::logs::lines_lost());
        registry.register("log_lines_lost", "Log lines that stderr did not take", lost);
        register_server(&mut registry, board, now);
        registry
    }
}

fn probes(board: &Board, now: Instant) -> Family<Probe, Gauge> {
    let family = Family::<Probe, Gauge>::default();
    let verdicts = board.probes(now);
    let all = [("live", verdicts.live), ("ready", verdicts.ready), ("startup", verdicts.startup)];
    for (probe, verdict) in all {
        let label = Probe { probe: probe.to_owned() };
        family.get_or_create_owned(&label).set(i64::from(verdict.ok));
    }
    family
}

fn holds(board: &Board, now: Instant) -> Family<Kind, Gauge> {
    let family = Family::<Kind, Gauge>::default();
    for held in board.status(now).held {
        family.get_or_create_owned(&Kind { kind: held.kind }).inc();
    }
    family
}

fn register_server(registry: &mut Registry, board: &Board, now: Instant) {
    let seen = board.observation();
    let up = Gauge::<i64>::default();
    let failed = seen.silent.is_some() || seen.unasked.is_some();
    up.set(i64::from(!failed && seen.last_answer.is_some()));
    registry.register("server_up", "1 if the last attempt to reach the server was answered", up);
    if let Some((at, _)) = seen.last_answer {
        let age = Seconds::default();
        age.set(now.saturating_duration_since(at).as_secs_f64());
        let help = "Age of the server's last answer in seconds";
        registry.register("server_answer_age_seconds", help, age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Answer, Observation, Phase};
    use crate::status::{Held, Status};

    #[track_caller]
    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|other| other == line), "{line} is not in:\n{text}");
    }

    #[test]
    fn metrics_of_a_running_pod() {
        let (board, metrics, now) = (Board::new("redis-0", ""), Metrics::default(), Instant::now());
        board.set_phase(Phase::Running(now));
        let observation = Observation {
            last_answer: Some((now, Answer::Loading)),
            ..Observation::unknown(now, board.phase())
        };
        let held = |kind: &str| Held { kind: kind.to_owned(), ..Held::default() };
        let held = vec![held("a"), held("b"), held("a")];
        board.publish(observation, Status { held, ..Status::default() });
        board.agent_restarted();
        metrics.round();
        metrics.action("meet");
        metrics.action("meet");
        metrics.handover("order", Duration::from_millis(8));
        metrics.handover_lag("5f3c", 14);
        let text = metrics.encode(&board, now + Duration::from_millis(1500)).unwrap();
        for line in [
            concat!("rejoin_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "rejoin_probe{probe=\"live\"} 1",
            "rejoin_probe{probe=\"ready\"} 0",
            "rejoin_probe{probe=\"startup\"} 1",
            "rejoin_keeper_rounds_total 1",
            "rejoin_actions_total{kind=\"meet\"} 2",
            "rejoin_holds{kind=\"a\"} 2",
            "rejoin_holds{kind=\"b\"} 1",
            "rejoin_agent_restarts_total 1",
            "rejoin_handover_seconds{phase=\"order\"} 0.008",
            "rejoin_handover_lag_bytes{replica=\"5f3c\"} 14",
            "rejoin_server_up 1",
            "rejoin_server_answer_age_seconds 1.5",
            "# EOF",
        ] {
            has(&text, line);
        }
    }

    #[test]
    fn metrics_before_anything_happened() {
        let board = Board::new("redis-0", "");
        let text = Metrics::default().encode(&board, Instant::now()).unwrap();
        has(&text, "rejoin_server_up 0");
        has(&text, "rejoin_keeper_rounds_total 0");
        for absent in ["handover_seconds", "answer_age"] {
            assert!(!text.contains(absent), "{text}");
        }
    }
}
