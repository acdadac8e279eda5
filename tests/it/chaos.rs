//! Chaos on real servers: round after round something is done to the pods of a cluster that is
//! written to, and after each round the cluster is whole, nothing older than the replication lag is
//! gone, and no ghost is left.
//!
//! | Module | What it is |
//! |---|---|
//! | [`fault`] | what can be done to pods, and what of it may be done at once; pure |
//! | [`stage`] | the cluster, with a network for each pod, and the doing |
//! | [`writers`] | a writer for each shard, and what it was told |
//! | [`table`] | how long it all took |
//!
//! `make chaos` plays more rounds. A seed always draws the same kind of cluster; what is done also
//! follows who is master of what by then, so a run is alike, not the same, when it is played again.

mod fault;
mod stage;
mod table;
mod writers;

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::healing::in_every_version;
use crate::support::rng::Rng;
use crate::support::server::{Server, servers};

pub(crate) use fault::{Fault, Kind};
pub(crate) use stage::{Setup, Stage};
use table::{Heal, print};

/// How long a round may take to be whole again.
const LIMIT: Duration = Duration::from_secs(120);

/// The seeds of the short run, for one version each: on disk, in memory and as a drop-in, over IPv6,
/// on disk as a drop-in.
const SHORT: [u64; 4] = [4, 203, 301, 2];
/// The rounds of the short run.
const SHORT_ROUNDS: usize = 3;

/// Plays rounds on every version at once whose name holds `named`, and prints the table of all.
#[track_caller]
fn play(rounds: usize, named: &str, seed_of: impl Fn(usize) -> u64 + Sync) {
    let heals = Mutex::new(Vec::new());
    let servers = servers();
    in_every_version(|server| {
        let turn = servers.iter().position(|other| other == server).expect("the same list");
        if server.name.contains(named) {
            let tell = |heal| heals.lock().expect("nobody panics").push(heal);
            play_on(server, seed_of(turn), rounds, tell);
        }
    });
    print(&heals.lock().expect("nobody panics"));
}

fn play_on(server: &Server, seed: u64, rounds: usize, tell: impl Fn(Heal)) {
    let mut rng = Rng::new(seed);
    let setup = Setup::draw(&mut rng);
    println!("{}: seed {seed}: {setup}", server.name);
    let Some(mut stage) = Stage::new(server, setup) else { return };
    std::thread::scope(|scope| {
        let writers = stage.writers();
        let _ended = writers.start(scope);
        for round in 1..=rounds {
            let faults = Fault::draw(&mut rng, &stage.shards(), &setup);
            let what = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
            println!("{}: round {round}: {what}", server.name);
            let mark = stage.mark(&writers);
            let healed = stage.strike(&faults, &mut rng);
            let gap = writers.wait_all_write(LIMIT);
            let lost = writers.assert_kept(&mark, stage.fleet());
            println!(
                "{}: round {round}: whole after {:.1} s, ready after {:.1} s; writes: longest \
                 pause {:.1} s, {lost} lost meanwhile",
                server.name,
                healed.whole.as_secs_f64(),
                healed.ready.as_secs_f64(),
                gap.as_secs_f64(),
            );
            let faults = faults.iter().map(|fault| fault.kind).collect();
            tell(Heal { faults, whole: healed.whole, gap, lost });
        }
    });
}

#[test]
fn rounds_of_faults_leave_a_whole_cluster_without_a_lost_write() {
    play(SHORT_ROUNDS, "", |turn| SHORT[turn % SHORT.len()]);
}

/// `make chaos`: `REJOIN_CHAOS_ROUNDS` rounds from the seed `REJOIN_CHAOS_SEED`, else one by the
/// clock, on the versions whose name holds `REJOIN_CHAOS_SERVER`.
#[test]
fn more_rounds_of_faults_where_they_are_asked_for() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    if let Ok(rounds) = variable("REJOIN_CHAOS_ROUNDS").parse() {
        let by_clock = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs() % 100_000);
        let seed = variable("REJOIN_CHAOS_SEED").parse().unwrap_or_else(|_| by_clock());
        play(rounds, &variable("REJOIN_CHAOS_SERVER"), |_| seed);
    }
}
