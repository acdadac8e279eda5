//! Rows a and b: from nothing to `cluster_state:ok` on every node.

use std::time::{Duration, Instant};

use crate::row::{Row, Target, Unit};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Program;
use crate::support::server::any_server;
use crate::support::wait::wait_ok;

const LIMIT: Duration = Duration::from_secs(180);

/// Six pods, three of them masters, with a node timeout of 5 s.
pub fn six() -> Vec<Row> {
    vec![form(3, Duration::from_secs(5), 5, Target::Ratio(1.0))]
}

/// Thirty pods, fifteen of them masters, with the node timeout that Redis has by default.
pub fn thirty() -> Vec<Row> {
    vec![form(15, Duration::from_secs(15), 3, Target::Ratio(0.5))]
}

fn form(shards: usize, node_timeout: Duration, runs: usize, target: Target) -> Row {
    let recipe = Recipe { node_timeout, ..Recipe::wrapped(&any_server(), shards) };
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        rival.push(timed(&Recipe { program: Program::Bare, ..recipe.clone() }));
        ours.push(timed(&recipe));
        eprintln!("  run {run} of {runs}: {:.2} s, rival {:.2} s", ours[run - 1], rival[run - 1]);
    }
    Row {
        what: format!("{} empty pods to cluster_state:ok on all, median of {runs}", recipe.pods()),
        ours,
        rival,
        rival_name: "bare servers, redis-cli --cluster create".to_owned(),
        unit: Unit::Seconds,
        target,
        wrong: None,
    }
}

/// Seconds from the first start to the last `ok`. That all the rest is right too is waited for
/// afterwards, outside the measured time, on both sides.
fn timed(recipe: &Recipe) -> f64 {
    let mut fleet = Fleet::new(recipe);
    let start = Instant::now();
    fleet.start_all();
    if recipe.program == Program::Bare {
        wait_ok(LIMIT, "all servers to answer", || {
            fleet.pods.iter().try_for_each(|pod| pod.text(&["PING"]).map(drop))
        });
        fleet.create_by_cli();
    }
    wait_ok(LIMIT, "cluster_state:ok on all", || fleet.ok());
    let took = start.elapsed().as_secs_f64();
    fleet.wait_whole(LIMIT);
    took
}
