//! Nobody can take over, and so the signal is not held.

use super::*;
use crate::support::server::{any_server, servers};

/// The signal passed at the first look at the replicas. On a busy machine the own server may have
/// been waited for before that.
#[track_caller]
fn assert_did_not_wait(pod: &Pod) {
    let log = pod.log();
    let waits = |line: &&str| line.contains("waits with the hand-over: ");
    let waited = log.lines().filter(waits).find(|line| !line.contains("the own server"));
    assert_eq!(waited, None, "{}", pod.name());
}

#[test]
fn replica_hands_nothing_over() {
    let mut fleet = one_shard(&any_server(), 1);
    assert_eq!(stop(&mut fleet.pods[1]).0.code(), Some(0));
    assert_says(&fleet.pods[1], "nothing to hand over");
    assert_eq!(role(&fleet.pods[0]).unwrap(), "master");
}

#[test]
fn master_without_replica_says_so() {
    let mut fleet = one_shard(&any_server(), 0);
    assert_eq!(stop(&mut fleet.pods[0]).0.code(), Some(0));
    assert_says(&fleet.pods[0], "leaves without a hand-over: it has no replica");
    assert_did_not_wait(&fleet.pods[0]);
}

#[test]
fn dead_replica_is_not_waited_for() {
    let mut fleet = one_shard(&any_server(), 1);
    fleet.pods[1].kill();
    assert_eq!(stop(&mut fleet.pods[0]).0.code(), Some(0));
    assert_says(&fleet.pods[0], "does not answer: connection refused");
    assert_did_not_wait(&fleet.pods[0]);
}

#[test]
fn hung_replica_is_not_told_to_take_over() {
    let mut fleet = one_shard(&any_server(), 1);
    let server = fleet.pods[1].server_pid().unwrap();
    crate::support::process::send(server, Signal::SIGSTOP);
    assert_eq!(stop(&mut fleet.pods[0]).0.code(), Some(0));
    assert_says(&fleet.pods[0], "leaves without a hand-over: none of its replicas can take over");
    assert_says(&fleet.pods[0], "does not answer: no reply within ");
    assert!(!fleet.pods[0].log().contains("hands its slots over"));
    assert_did_not_wait(&fleet.pods[0]);
}

#[test]
fn replica_that_leaves_too_is_not_told_to_take_over() {
    for server in servers() {
        let mut fleet = one_shard(&server, 1);
        // What a pod that leaves sets on its own server.
        fleet.pods[1].redis(&["CONFIG", "SET", "cluster-replica-no-failover", "yes"]).unwrap();
        // Redis 6.2 shows it with its next round, of which it has ten a second.
        wait_ok(LIMIT, "the replica to show it", || {
            let view = fleet.pods[1].view()?;
            if view.me().is("nofailover") { Ok(()) } else { Err(format!("{view:?}")) }
        });
        assert_eq!(stop(&mut fleet.pods[0]).0.code(), Some(0));
        assert_says(&fleet.pods[0], "leaves too, or is set not to take over");
        assert_eq!(role(&fleet.pods[1]).unwrap(), "slave");
        // It is as before once it was started again.
        fleet.pods[0].start();
        fleet.pods[1].stop();
        fleet.pods[1].start();
        fleet.wait_whole(LIMIT);
        wait_all_ready(&fleet);
        assert_eq!(stop(&mut fleet.pods[0]).0.code(), Some(0));
        assert_says(&fleet.pods[0], "has taken over: ");
    }
}

#[test]
fn fresh_pod_and_plain_server_leave_at_once() {
    let server = any_server();
    let mut fleet = Fleet::new(&Recipe { replicas: 0, ..recipe(&server, 3) });
    fleet.pods[0].start();
    fleet.pods[1].conf.push("cluster-enabled no".to_owned());
    fleet.pods[1].start();
    for pod in &mut fleet.pods[..2] {
        pod.wait_answers(LIMIT);
        assert_eq!(stop(pod).0.code(), Some(0));
    }
    assert_says(&fleet.pods[0], "nothing to hand over");
    assert!(!fleet.pods[1].log().contains("hand-over"), "{}", fleet.pods[1].log());
}

#[test]
fn timeout_of_zero_switches_it_off() {
    let mut recipe = Recipe { node_timeout: PATIENT, ..recipe(&any_server(), 1) };
    recipe.env.push(("REJOIN_HANDOVER_TIMEOUT".to_owned(), "0".to_owned()));
    let mut fleet = started(&recipe);
    assert_eq!(stop(&mut fleet.pods[0]).0.code(), Some(0));
    let log = fleet.pods[0].log();
    assert!(!log.contains("hand-over") && !log.contains("hands its slots"), "{log}");
    assert_eq!(role(&fleet.pods[1]).unwrap(), "slave");
}
