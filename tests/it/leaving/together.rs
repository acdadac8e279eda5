//! Several leave at once: nobody waits for somebody who leaves too, and no key is lost.

use super::*;
use crate::support::process::rest;
use crate::support::server::any_server;

/// Tells all of them, in this order, and waits until all have ended; how long that took.
#[track_caller]
fn stop_together(fleet: &mut Fleet, ordinals: &[usize]) -> Duration {
    let start = Instant::now();
    for ordinal in ordinals {
        fleet.pods[*ordinal].signal(Signal::SIGTERM);
    }
    for ordinal in ordinals {
        assert_eq!(fleet.pods[*ordinal].wait_exit(LIMIT).code(), Some(0));
    }
    let took = start.elapsed();
    for pod in ordinals.iter().map(|ordinal| &fleet.pods[*ordinal]) {
        // Neither the time of a whole hand-over nor that of one order was used up on somebody who
        // leaves too.
        for late in ["has not taken over: not within ", "the hand-over has not ended within "] {
            assert!(!pod.log().contains(late), "{late:?} is in the log of {}", pod.name());
        }
    }
    took
}

/// The same of copies whose peers of the shard all leave too. Until that shows, each may be waited for
/// a moment, which is bounded; but nothing else is waited for, as it is of a replica that stays.
#[track_caller]
fn stop_whole_shards(fleet: &mut Fleet, ordinals: &[usize]) {
    let before: Vec<usize> = fleet.pods.iter().map(|pod| pod.log().len()).collect();
    let took = stop_together(fleet, ordinals);
    println!("{}: {ordinals:?} stopped within {took:?}", fleet.pods[0].server.name);
    for pod in ordinals.iter().map(|ordinal| &fleet.pods[*ordinal]) {
        let log = pod.log_since(before[pod.ordinal]);
        for line in log.lines().filter(|line| line.contains("waits with the hand-over: ")) {
            println!("{}: {}: {line}", pod.server.name, pod.name());
            let is_bounded = ["perhaps", "the own server"].iter().any(|it| line.contains(it));
            assert!(is_bounded, "{}: {line}", pod.name());
        }
    }
}

#[track_caller]
fn come_back(fleet: &mut Fleet) {
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    assert_keys(fleet);
}

#[test]
fn both_copies_of_a_shard_leave_at_once() {
    in_every_version(|server| {
        let mut fleet = formed(server);
        for master_first in [true, false] {
            let master = (0..6).find(|at| role(&fleet.pods[*at]).unwrap() == "master").unwrap();
            let replica = replica_of(&fleet, master);
            let order = if master_first { [master, replica] } else { [replica, master] };
            stop_whole_shards(&mut fleet, &order);
            come_back(&mut fleet);
        }
    });
}

#[test]
fn all_six_leave_at_once() {
    in_every_version(|server| {
        let mut fleet = formed(server);
        stop_whole_shards(&mut fleet, &[0, 1, 2, 3, 4, 5]);
        come_back(&mut fleet);
        stop_whole_shards(&mut fleet, &[5, 4, 3, 2, 1, 0]);
        come_back(&mut fleet);
    });
}

#[test]
fn master_and_one_of_two_replicas_leave_the_shard_to_the_third() {
    let mut fleet = one_shard(&any_server(), 2);
    fleet.pods[1].signal(Signal::SIGTERM);
    // From here on it shows that it leaves, or is gone.
    wait_says(&fleet.pods[1], "nothing to hand over");
    stop_together(&mut fleet, &[0]);
    assert!(fleet.pods[1].wait_exit(LIMIT).success());
    assert_eq!(role(&fleet.pods[2]).unwrap(), "master");
}

/// Whom that pod has told to take over last.
fn successor_of(fleet: &Fleet, master: usize) -> Option<usize> {
    let log = fleet.pods[master].log();
    let said = log.lines().rfind(|line| line.contains("hands its slots over to "))?.to_owned();
    fleet.pods.iter().position(|pod| said.contains(&format!(" at {},", pod.address())))
}

#[test]
fn replica_that_leaves_as_it_takes_over_leaves_the_shard_to_the_third() {
    in_every_version(|server| {
        // Another shard each time: masters vote about the same one after two node timeouts only.
        let recipe = Recipe { replicas: 2, node_timeout: PATIENT, ..recipe(server, 3) };
        let mut fleet = started(&recipe);
        for (master, pause) in [0, 10, 50].map(Duration::from_millis).into_iter().enumerate() {
            let replicas = replicas_of(&fleet, master);
            fleet.pods[master].signal(Signal::SIGTERM);
            let successor = wait_ok(LIMIT, "an order", || {
                successor_of(&fleet, master).ok_or("none in the log yet")
            });
            rest(pause);
            stop_together(&mut fleet, &[successor]);
            assert!(fleet.pods[master].wait_exit(LIMIT).success());
            let third = *replicas.iter().find(|at| **at != successor).expect("two replicas");
            assert_eq!(role(&fleet.pods[third]).unwrap(), "master", "{} {pause:?}", server.name);
        }
    });
}
