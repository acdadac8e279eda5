//! Any pod is killed at any moment, any number of times, while it forms.

use std::time::{Duration, Instant, SystemTime};

use crate::support::fleet::{Fleet, Recipe};
use crate::support::process::rest;
use crate::support::rng::Rng;
use crate::support::server::{any_server, servers};
use crate::support::wait::{wait_for, wait_ok};

use super::{LIMIT, forget_spares, held, lose_volume, recipe, wait_all_ready};

/// The kills of one round lie in this time after the start.
const SPAN_MS: usize = 2500;
/// A killed pod starts again within this time.
const PAUSE_MS: usize = 800;
/// The most kills of one round.
const KILLS: usize = 8;

/// `REJOIN_SEED`, else by the clock; printed, so that a failure can be played again.
fn seed() -> u64 {
    let seed = match std::env::var("REJOIN_SEED") {
        Ok(seed) => seed.parse().expect("REJOIN_SEED is a number"),
        Err(_) => SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos().into()),
    };
    println!("REJOIN_SEED={seed}");
    seed
}

/// One thing that happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Start,
    Kill,
}

/// Whether a killed pod keeps its volume. A master that has taken its slots and loses it is held:
/// what it may have held is nobody's to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Volumes {
    Kept,
    LostByReplicas,
}

/// When what happens to which pod, in order.
fn schedule(random: &mut Rng, pods: usize) -> Vec<(Duration, Event, usize)> {
    let ms = |ms: usize| Duration::from_millis(ms as u64);
    let mut events: Vec<_> =
        (0..pods).map(|pod| (ms(random.below(300)), Event::Start, pod)).collect();
    for _ in 0..=random.below(KILLS) {
        let pod = random.below(pods);
        let at = random.below(SPAN_MS);
        events.push((ms(at), Event::Kill, pod));
        events.push((ms(at + random.below(PAUSE_MS)), Event::Start, pod));
    }
    events.sort();
    events
}

/// Plays rounds of kills, all at once, on new fleets of this shape; over the versions in turn.
#[track_caller]
fn play(rounds: usize, shards: usize, replicas: usize, volumes: Volumes) {
    let seed = seed();
    let servers = servers();
    std::thread::scope(|scope| {
        for round in 0..rounds {
            let mut random = Rng::new(seed + round as u64);
            let server = &servers[round % servers.len()];
            let recipe = Recipe { replicas, ..recipe(server, shards) };
            scope.spawn(move || play_round(&recipe, &mut random, volumes));
        }
    });
}

/// Starts, kills and starts again as the numbers fall, and waits for one healthy cluster.
fn play_round(recipe: &Recipe, random: &mut Rng, volumes: Volumes) {
    let shards = recipe.shards;
    let mut fleet = Fleet::new(recipe);
    forget_spares(&mut fleet);
    let events = schedule(random, fleet.pods.len());
    println!("{}: {events:?}", recipe.server.name);
    let start = Instant::now();
    for (at, event, ordinal) in events {
        rest(at.saturating_sub(start.elapsed()));
        let pod = &mut fleet.pods[ordinal];
        match (event, pod.is_started()) {
            (Event::Start, false) => pod.start(),
            (Event::Kill, true) => {
                pod.kill();
                if volumes == Volumes::LostByReplicas && ordinal >= shards {
                    lose_volume(pod);
                }
            }
            _ => {}
        }
    }
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    println!("{}: whole after {:.1} s", recipe.server.name, start.elapsed().as_secs_f64());
}

#[test]
fn six_pods_killed_at_any_moment_become_one_cluster() {
    play(4, 3, 1, Volumes::Kept);
}

#[test]
fn replicas_that_lose_their_volumes_at_any_moment_leave_no_id_behind() {
    play(4, 3, 1, Volumes::LostByReplicas);
}

#[test]
fn masters_without_replicas_killed_at_any_moment_become_one_cluster() {
    play(4, 3, 0, Volumes::Kept);
}

#[test]
fn two_replicas_each_killed_at_any_moment_become_one_cluster() {
    play(4, 3, 2, Volumes::Kept);
}

#[test]
fn one_shard_killed_at_any_moment_becomes_one_cluster() {
    play(4, 1, 2, Volumes::Kept);
}

/// Six pods of which this one lost its volume after it, or whoever should be its master, had taken slots,
/// and before the cluster was one; and the id that it had.
fn emptied_while_forming(ordinal: usize) -> (Fleet, String) {
    let mut fleet = Fleet::new(&recipe(&any_server(), 3));
    forget_spares(&mut fleet);
    fleet.start_all();
    let owner = ordinal % 3;
    wait_for(LIMIT, "slots to be taken", || {
        fleet.pods[owner].view().is_ok_and(|view| view.me().slot_count() > 0)
    });
    let id = fleet.pods[ordinal].text(&["CLUSTER", "MYID"]).expect("it answers");
    assert!(fleet.whole().is_err(), "no server is ok before two seconds");
    let pod = &mut fleet.pods[ordinal];
    pod.kill();
    lose_volume(pod);
    pod.start();
    (fleet, id)
}

#[test]
fn replica_that_loses_its_volume_while_slots_are_taken_leaves_no_id_behind() {
    let (fleet, _) = emptied_while_forming(3);
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
}

/// Its replica takes over if it was one already. Else nobody has a copy, and whoever has no keys cannot
/// know that there were none: the shard is held.
#[test]
fn master_that_loses_its_volume_while_slots_are_taken_is_replaced_or_held_by_its_id() {
    let (fleet, id) = emptied_while_forming(0);
    wait_ok(LIMIT, "one cluster, or a shard that is held", || {
        let Err(lack) = fleet.whole() else { return Ok(()) };
        let kinds = held(&fleet.pods[1])?;
        let log = fleet.pods[1].log();
        let is_said = log.lines().any(|line| line.contains("held: ") && line.contains(&id));
        let is_held = kinds.iter().any(|kind| kind == "shard_lost") && is_said;
        if is_held { Ok(()) } else { Err(format!("{lack}; holds {kinds:?}")) }
    });
}
