//! No replica answers: the wait is bounded, and can be ended.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use crate::support::process::send;
use crate::support::server::any_server;

use super::{LIMIT, assert_log, fleet_with_keys, in_two_versions, keys, wait_held, wait_role};

const SILENT: &str = "no answer yet from its replica";
const STARTS: &str = "no answer within 5 s from its replica";

#[test]
fn master_without_a_living_replica_starts_after_a_bounded_wait_and_says_so() {
    in_two_versions(|server| {
        let mut fleet = fleet_with_keys(server);
        for pod in [0, 3] {
            fleet.pods[pod].kill();
        }
        fleet.pods[0].start();
        wait_held(&fleet.pods[0], SILENT);
        fleet.pods[0].wait_answers(LIMIT);
        assert_log(&fleet.pods[0], STARTS);
        assert_eq!(keys(&fleet.pods[0]).unwrap(), 0);
        fleet.pods[3].start();
        fleet.wait_whole(LIMIT);
    });
}

#[test]
fn replica_that_does_not_answer_does_not_hold_the_master_for_ever() {
    in_two_versions(|server| {
        let mut fleet = fleet_with_keys(server);
        let replica = fleet.pods[3].server_pid().expect("the replica runs");
        send(replica, Signal::SIGSTOP);
        fleet.pods[0].kill();
        fleet.pods[0].start();
        wait_held(&fleet.pods[0], SILENT);
        fleet.pods[0].wait_answers(LIMIT);
        assert_log(&fleet.pods[0], STARTS);
        send(replica, Signal::SIGCONT);
        fleet.wait_whole(LIMIT);
    });
}

#[test]
fn replica_that_answers_again_within_the_wait_is_promoted() {
    in_two_versions(|server| {
        let mut fleet = fleet_with_keys(server);
        let replica = fleet.pods[3].server_pid().expect("the replica runs");
        send(replica, Signal::SIGSTOP);
        fleet.pods[0].kill();
        fleet.pods[0].start();
        wait_held(&fleet.pods[0], SILENT);
        send(replica, Signal::SIGCONT);
        wait_role(&fleet.pods[0], "slave");
        fleet.wait_whole(LIMIT);
        super::assert_keys(&fleet);
    });
}

#[test]
fn sigterm_ends_the_wait_at_once() {
    let mut fleet = fleet_with_keys(&any_server());
    for pod in [0, 3] {
        fleet.pods[pod].kill();
    }
    fleet.pods[0].start();
    wait_held(&fleet.pods[0], SILENT);
    let status = fleet.pods[0].stop();
    assert_eq!((status.code(), status.signal()), (Some(143), None));
    assert_log(&fleet.pods[0], "ended by SIGTERM before the server was started");
}
