//! Rows l to n: what writers notice of a rolling restart, and how long it takes to stop everything.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::picture::{Course, Panel, draw};
use crate::row::{Row, Target, Unit};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::keys::write_keys;
use crate::support::pod::{Pod, Program};
use crate::support::process::rest;
use crate::support::server::any_server;
use crate::support::wait::wait_ok;
use crate::support::writer::{Pace, Writers, tags};

const LIMIT: Duration = Duration::from_secs(180);
/// What Kubernetes needs to make a pod again.
const AWAY: Duration = Duration::from_secs(20);
/// Before the first pod is told to stop and after the last is back.
const CALM: Duration = Duration::from_secs(5);
const STOPS: usize = 5;

/// Where the picture goes.
const PICTURE: &str = "docs/img/rolling-restart.svg";

/// Six pods, three of them masters, with the node timeout that Redis has by default.
fn six(program: Program) -> Recipe {
    let node_timeout = Duration::from_secs(15);
    Recipe { program, node_timeout, ..Recipe::wrapped(&any_server(), 3) }
}

/// A cluster that is whole.
fn formed(recipe: &Recipe) -> Fleet {
    let fleet = Fleet::started(recipe);
    if recipe.program != Program::Wrapped {
        wait_ok(LIMIT, "all servers to answer", || {
            fleet.pods.iter().try_for_each(|pod| pod.text(&["PING"]).map(drop))
        });
        fleet.create_by_cli();
    }
    fleet.wait_whole(LIMIT);
    fleet
}

/// Ready as its probe says: ours, and for the script the usual `redis-cli ping`.
fn ready(pod: &Pod) -> Result<(), String> {
    if pod.program == Program::Wrapped {
        let answer = pod.http("/readyz")?;
        return if answer.status == 200 { Ok(()) } else { Err(answer.body) };
    }
    pod.text(&["PING"]).map(drop)
}

/// What a rolling restart was like.
struct Seen {
    course: Course,
    longest_gap: f64,
    lost: usize,
}

/// Restarts every pod as a StatefulSet does, the highest ordinal first, each at a new address.
fn roll(fleet: &mut Fleet, pace: Pace) -> Seen {
    let writers = Writers::start(fleet, pace);
    let (begun, mut stops) = (Instant::now(), Vec::new());
    rest(CALM);
    for ordinal in (0..fleet.pods.len()).rev() {
        stops.push((fleet.pods[ordinal].name(), begun.elapsed()));
        fleet.pods[ordinal].stop();
        rest(AWAY);
        fleet.swap_address(ordinal);
        fleet.pods[ordinal].start();
        let what = format!("redis-{ordinal} to be ready");
        wait_ok(LIMIT, &what, || ready(&fleet.pods[ordinal]));
    }
    rest(CALM);
    let end = begun.elapsed();
    let written = writers.end();
    wait_ok(LIMIT, "cluster_state:ok on all", || fleet.ok());
    let lost = written.iter().map(|one| one.lost(fleet).expect("it can be read")).sum();
    let gaps = written.iter().map(|one| one.longest_gap().as_secs_f64());
    let longest_gap = gaps.fold(0.0, f64::max);
    let shards = written
        .iter()
        .map(|one| one.acknowledged.iter().map(|at| at.saturating_duration_since(begun)).collect())
        .collect();
    Seen { course: Course { shards, stops, end }, longest_gap, lost }
}

/// The longest time without an acknowledged write in any shard, and the picture of it.
pub fn rolling() -> Vec<Row> {
    let pace = Pace::one_by_one(Duration::from_millis(2));
    let ours = roll(&mut formed(&six(Program::Wrapped)), pace);
    let script = roll(&mut formed(&six(Program::Script)), pace);
    let (said, lost) = ((ours.longest_gap, script.longest_gap), (ours.lost, script.lost));
    let panels = [
        Panel { name: "rejoin", course: &ours.course },
        Panel { name: "fix-ip.sh", course: &script.course },
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE);
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("the checkout is writable");
    std::fs::write(&path, draw(&panels)).expect("the checkout is writable");
    eprintln!("  drawn: {PICTURE}");
    let what = "no shard without a write for longer than";
    vec![without_a_write(what, said, lost, Target::AtMost(0.1))]
}

/// The same with 1 GiB in each shard, and up to 10,000 writes a second over all three; the row has how many it
/// were. No bound is set for the time here; nothing may be lost, of what was there before neither.
pub fn rolling_with_data() -> Vec<Row> {
    let pace = Pace { batch: 34, pause: Duration::from_millis(10) };
    let run = |program| {
        let mut recipe = six(program);
        recipe.conf.push("auto-aof-rewrite-percentage 0".to_owned());
        let mut fleet = formed(&recipe);
        fill(&fleet);
        let mut seen = roll(&mut fleet, pace);
        let count: usize = seen.course.shards.iter().map(Vec::len).sum();
        let rate = count as f64 / seen.course.end.as_secs_f64();
        eprintln!("  {rate:.0} writes a second, {:.2} s without one", seen.longest_gap);
        seen.lost += missing(&fleet);
        (seen, rate)
    };
    let ((ours, rate), (script, _)) = (run(Program::Wrapped), run(Program::Script));
    let said = (ours.longest_gap, script.longest_gap);
    let what = format!("the same with 1 GiB a shard, {rate:.0} writes/s");
    vec![without_a_write(&what, said, (ours.lost, script.lost), Target::Less)]
}

fn without_a_write(
    what: &str,
    (ours, rival): (f64, f64),
    lost: (usize, usize),
    target: Target,
) -> Row {
    Row {
        what: format!("rolling restart, 20 s to make a pod: {what}"),
        ours: vec![ours],
        rival: vec![rival],
        rival_name: format!("fix-ip.sh, {} writes lost", lost.1),
        unit: Unit::Seconds,
        target,
        wrong: (lost.0 > 0).then(|| format!("{} writes lost", lost.0)),
    }
}

/// How many values of each shard [`fill`] writes, of 1 MiB each.
const FILLED: usize = 1024;

fn filled(tag: &str, number: usize) -> String {
    format!("{{{tag}}}:fill:{number}")
}

/// How many of them are not there any more, or not whole.
fn missing(fleet: &Fleet) -> usize {
    let mut client = fleet.client().expect("a whole cluster");
    let mut is_there = |key: String| {
        redis::cmd("STRLEN").arg(key).query::<usize>(&mut client).is_ok_and(|it| it == 1 << 20)
    };
    let keys = tags(fleet).into_iter().flat_map(|tag| (0..FILLED).map(move |n| filled(&tag, n)));
    keys.filter(|key| !is_there(key.clone())).count()
}

/// 1 GiB in each shard, and copied to its replica.
fn fill(fleet: &Fleet) {
    let mut client = fleet.client().expect("a whole cluster");
    let value = "x".repeat(1 << 20);
    for tag in tags(fleet) {
        for number in 0..FILLED {
            let mut set = redis::cmd("SET");
            set.arg(filled(&tag, number)).arg(&value);
            set.query::<()>(&mut client).expect("written");
        }
    }
    wait_ok(LIMIT, "every copy", || {
        fleet.pods.iter().try_for_each(|pod| match pod.text(&["DBSIZE"])?.as_str() {
            keys if keys == FILLED.to_string() => Ok(()),
            other => Err(format!("{}: {other} keys", pod.name())),
        })
    });
}

/// From the signal to all pods until the last has ended, beside the bare servers.
pub fn all_stop() -> Vec<Row> {
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    let mut fleets = [Program::Wrapped, Program::Bare].map(|program| formed(&six(program)));
    for fleet in &fleets {
        write_keys(fleet);
    }
    for _ in 0..STOPS {
        for (fleet, times) in fleets.iter_mut().zip([&mut ours, &mut rival]) {
            let start = Instant::now();
            fleet.pods.iter().for_each(|pod| pod.signal(Signal::SIGTERM));
            for pod in &mut fleet.pods {
                assert!(pod.wait_exit(LIMIT).success(), "{} stops in good order", pod.name());
            }
            times.push(start.elapsed().as_secs_f64());
            fleet.start_all();
            fleet.wait_whole(LIMIT);
        }
    }
    let most = crate::row::median(&rival) + 0.5;
    vec![Row {
        what: format!("all six told to stop until the last has ended, median of {STOPS}"),
        ours,
        rival,
        rival_name: "bare servers".to_owned(),
        unit: Unit::Seconds,
        target: Target::AtMost(most),
        wrong: None,
    }]
}
