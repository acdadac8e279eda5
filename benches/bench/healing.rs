//! Rows h, i and j: back on other addresses, and back without a volume.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::row::{Row, Target, Unit};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::keys::write_keys;
use crate::support::pod::Program;
use crate::support::process::{rest, run};
use crate::support::server::any_server;
use crate::support::wait::wait_ok;

const LIMIT: Duration = Duration::from_secs(180);
/// How long `fix-ip.sh` is waited for: more than three node timeouts.
const GIVEN_UP: Duration = Duration::from_secs(50);
/// Runs of row j.
const LOSSES: usize = 5;

/// Six pods, all back on new addresses at once; also as the script has it.
pub fn six() -> Vec<Row> {
    let mut rows = moved(3, 5, 0.5);
    let (took, is_whole) = scripted();
    let how = if is_whole { "whole by then" } else { "not whole by then, given up" };
    rows.push(Row {
        what: "the same, beside what is replaced".to_owned(),
        ours: rows[1].ours.clone(),
        rival: vec![took],
        rival_name: format!("fix-ip.sh: {how}"),
        unit: Unit::Seconds,
        target: Target::Less,
        wrong: None,
    });
    rows
}

/// Thirty pods, all back on new addresses at once.
pub fn thirty() -> Vec<Row> {
    moved(15, 3, 1.0)
}

/// A replica that lost its volume, until it is in sync and its former id is known to nobody.
pub fn lost_volume() -> Vec<Row> {
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for run in 0..LOSSES {
        rival.push(replaced(Program::Bare));
        ours.push(replaced(Program::Wrapped));
        eprintln!("  run {}: {:.2} s, rival {:.2} s", run + 1, ours[run], rival[run]);
    }
    vec![Row {
        what: format!("lost volume of a replica, to in sync and no ghost, median of {LOSSES}"),
        ours,
        rival,
        rival_name: "redis-cli --cluster add-node and CLUSTER FORGET at once".to_owned(),
        unit: Unit::Seconds,
        target: Target::AtMost(10.0),
        wrong: None,
    }]
}

/// With the node timeout that Redis has by default.
fn recipe(program: Program, shards: usize) -> Recipe {
    let node_timeout = Duration::from_secs(15);
    Recipe { program, node_timeout, ..Recipe::wrapped(&any_server(), shards) }
}

/// A cluster that is whole.
fn formed(recipe: &Recipe) -> Fleet {
    let fleet = Fleet::started(recipe);
    if recipe.program == Program::Bare {
        fleet.pods.iter().for_each(|pod| pod.wait_answers(LIMIT));
        fleet.create_by_cli();
    }
    fleet.wait_whole(LIMIT);
    fleet
}

/// Two rows, since servers say `cluster_state:ok` for a node timeout whether their links work or
/// not: until they say so, and until each link is up and each replica follows its master.
fn moved(shards: usize, runs: usize, more: f64) -> Vec<Row> {
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        rival.push(back(formed(&recipe(Program::Bare, shards)), |_| {}));
        ours.push(back(formed(&recipe(Program::Wrapped, shards)), on_new_addresses));
        eprintln!("  run {run} of {runs}: {:.2?}, rival {:.2?}", ours[run - 1], rival[run - 1]);
    }
    let pods = recipe(Program::Wrapped, shards).pods();
    let row = |said: &str, took: fn(&(f64, f64)) -> f64| Row {
        what: format!("{pods} pods back on new addresses, to {said}, median of {runs}"),
        ours: ours.iter().map(took).collect(),
        rival: rival.iter().map(took).collect(),
        rival_name: "bare servers on their old addresses".to_owned(),
        unit: Unit::Seconds,
        target: Target::More(more),
        wrong: None,
    };
    vec![row("cluster_state:ok on all", |took| took.0), row("one whole cluster", |took| took.1)]
}

fn on_new_addresses(fleet: &mut Fleet) {
    (0..fleet.pods.len()).for_each(|ordinal| fleet.swap_address(ordinal));
}

/// Kills all, does something, starts all: seconds to `cluster_state:ok` and to a whole cluster.
fn back(mut fleet: Fleet, meanwhile: impl FnOnce(&mut Fleet)) -> (f64, f64) {
    for pod in &mut fleet.pods {
        pod.kill();
    }
    meanwhile(&mut fleet);
    let start = Instant::now();
    fleet.start_all();
    wait_ok(LIMIT, "cluster_state:ok on all", || fleet.ok());
    let ok = start.elapsed().as_secs_f64();
    fleet.wait_whole(LIMIT);
    (ok, start.elapsed().as_secs_f64())
}

/// Seconds until servers behind the script are a whole cluster on new addresses, or are given up; and
/// whether they are one.
fn scripted() -> (f64, bool) {
    let mut fleet = formed(&recipe(Program::Bare, 3));
    for pod in &mut fleet.pods {
        pod.kill();
        pod.program = Program::Wrapped;
        pod.rejoin = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join("fix-ip.sh");
    }
    on_new_addresses(&mut fleet);
    let start = Instant::now();
    fleet.start_all();
    while fleet.whole().is_err() && start.elapsed() < GIVEN_UP {
        rest(Duration::from_millis(100));
    }
    (start.elapsed().as_secs_f64(), fleet.whole().is_ok())
}

/// Seconds from the start of a replica without its volume until the cluster is whole without its
/// former id, and all keys have their copies.
fn replaced(program: Program) -> f64 {
    let mut fleet = Fleet::new(&recipe(program, 3));
    let peers: Vec<String> = fleet.pods.iter().map(|pod| pod.address().to_string()).collect();
    for pod in &mut fleet.pods {
        pod.env.insert("REJOIN_PEERS".to_owned(), peers.join(","));
    }
    fleet.start_all();
    if program == Program::Bare {
        fleet.pods.iter().for_each(|pod| pod.wait_answers(LIMIT));
        fleet.create_by_cli();
    }
    fleet.wait_whole(LIMIT);
    write_keys(&fleet);
    let last = fleet.pods.len() - 1;
    let former = fleet.pods[last].view().expect("it runs");
    fleet.pods[last].kill();
    fs::remove_dir_all(fleet.pods[last].data()).expect("it is ours");
    fs::create_dir(fleet.pods[last].data()).expect("its parent is ours");
    let start = Instant::now();
    fleet.pods[last].start();
    if program == Program::Bare {
        add_by_hand(&fleet, &former.myself, former.me().master.as_deref().expect("a replica"));
    }
    fleet.wait_whole(LIMIT);
    wait_ok(LIMIT, "every key to have its copy", || {
        let master = former.me().master.as_deref().and_then(|id| fleet.pod_with_id(id));
        let master = master.ok_or("no master")?.text(&["DBSIZE"])?;
        let replica = fleet.pods[last].text(&["DBSIZE"])?;
        if master == replica { Ok(()) } else { Err(format!("{replica} keys of {master}")) }
    });
    start.elapsed().as_secs_f64()
}

/// What somebody who sat there waiting would type: the new node in, the former id out.
fn add_by_hand(fleet: &Fleet, former: &str, master: &str) {
    let (new, others) = fleet.pods.split_last().expect("six pods");
    new.wait_answers(LIMIT);
    for pod in others {
        pod.text(&["CLUSTER", "FORGET", former]).expect("it is known");
    }
    let mut add = Command::new(&new.server.cli);
    add.args(["--cluster", "add-node", &new.address().to_string()]);
    add.args([&others[0].address().to_string(), "--cluster-slave", "--cluster-master-id", master]);
    let output = run(&mut add);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
