//! A replica comes back, and its master is not where `nodes.conf` says: it keeps what it has.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::healing::{PATIENT, formed, wait_held as wait_said};
use crate::support::fleet::Fleet;
use crate::support::pod::{Pod, Program};
use crate::support::process::send;
use crate::support::server::{Server, any_server};
use crate::support::wait::wait_ok;

use super::{LIMIT, assert_keys, assert_log, keys};
use crate::healing::in_every_version;

/// What has to be missed first is missed soon.
const HASTY: Duration = Duration::from_millis(2500);
/// What the log says of an address that is not used.
const LOST: &str = "does not look for its master";

/// An empty server of no cluster at the address of the first pod, which gives copies at once.
fn stranger_for_first(fleet: &Fleet) -> Pod {
    let first = &fleet.pods[0];
    let mut stranger = Pod::new(Program::Bare, &first.server, fleet.dir(), 66, first.ip);
    stranger.conf.push("repl-diskless-sync-delay 0".to_owned());
    fleet.lock_alike(&mut stranger);
    stranger
}

/// A cluster whose first master and its replica are gone, and how many keys those had.
fn without_first_shard(server: &Server) -> (Fleet, u64) {
    let mut fleet = formed(server, HASTY);
    let held = keys(&fleet.pods[3]).expect("a replica that answers");
    assert!(held > 0, "no key in the first shard");
    fleet.pods[3].kill();
    fleet.pods[0].kill();
    (fleet, held)
}

/// The replica has looked for its master for long enough to copy anybody, and has its keys.
#[track_caller]
fn assert_kept(fleet: &Fleet, held: u64) {
    wait_said(&fleet.pods[3], "master_gone");
    assert_eq!(keys(&fleet.pods[3]), Ok(held), "keys that the replica has");
    assert_log(&fleet.pods[3], LOST);
}

/// The master comes back elsewhere, and the stranger is still there.
#[track_caller]
fn comes_back_elsewhere(fleet: &mut Fleet, stranger: &Pod) {
    fleet.pods[0].ip = fleet.spare[0];
    fleet.pods[0].start();
    wait_whole_and_say(fleet);
    assert!(stranger.is_started(), "it was there all the while");
    assert_keys(fleet);
}

#[test]
fn returning_replica_does_not_copy_a_stranger_at_its_masters_address() {
    in_every_version(|server| {
        let (mut fleet, held) = without_first_shard(server);
        let mut stranger = stranger_for_first(&fleet);
        stranger.start();
        stranger.wait_answers(LIMIT);
        fleet.pods[3].start();
        assert_kept(&fleet, held);
        comes_back_elsewhere(&mut fleet, &stranger);
    });
}

#[test]
fn returning_replica_does_not_copy_whoever_comes_to_its_masters_address_later() {
    in_every_version(|server| {
        let (mut fleet, held) = without_first_shard(server);
        fleet.pods[3].start();
        fleet.pods[3].wait_answers(LIMIT);
        let mut stranger = stranger_for_first(&fleet);
        stranger.start();
        stranger.wait_answers(LIMIT);
        assert_kept(&fleet, held);
        comes_back_elsewhere(&mut fleet, &stranger);
    });
}

/// The replica that was killed comes back while its master cannot say who it is, and finds it as soon
/// as it can.
#[track_caller]
fn returns_while_its_master_is_silent(fleet: &mut Fleet) {
    let master = fleet.pods[0].server_pid().expect("the master runs");
    send(master, Signal::SIGSTOP);
    fleet.pods[3].start();
    fleet.pods[3].wait_answers(LIMIT);
    send(master, Signal::SIGCONT);
    wait_whole_and_say(fleet);
}

#[track_caller]
fn wait_whole_and_say(fleet: &Fleet) {
    let start = Instant::now();
    fleet.wait_whole(LIMIT);
    println!("{}: whole after {:?}", fleet.pods[0].server.name, start.elapsed());
}

#[test]
fn returning_replica_finds_a_master_that_could_not_say_who_it_is() {
    in_every_version(|server| {
        let mut fleet = formed(server, PATIENT);
        fleet.pods[3].kill();
        returns_while_its_master_is_silent(&mut fleet);
        assert_log(&fleet.pods[3], LOST);
        assert_keys(&fleet);
    });
}

/// Nobody names it, and the others are asked.
#[test]
fn returning_replica_that_moved_finds_its_master_without_a_search() {
    in_every_version(|server| {
        let mut fleet = formed(server, PATIENT);
        for pod in &mut fleet.pods {
            pod.env.remove("REJOIN_PEERS");
            pod.env.remove("REJOIN_SHARDS");
            pod.env.remove("REJOIN_REPLICAS");
        }
        for ordinal in 0..6 {
            fleet.pods[ordinal].kill();
            fleet.pods[ordinal].start();
            fleet.wait_whole(LIMIT);
        }
        fleet.pods[3].kill();
        fleet.swap_address(3);
        returns_while_its_master_is_silent(&mut fleet);
        assert_keys(&fleet);
    });
}

#[test]
fn returning_replica_of_a_master_that_answers_leaves_its_file_as_it_is() {
    let mut fleet = formed(&any_server(), PATIENT);
    fleet.pods[3].kill();
    fleet.pods[3].start();
    fleet.wait_whole(LIMIT);
    let log = fleet.pods[3].log();
    assert!(!log.contains(LOST), "{log}");
    wait_ok(LIMIT, "no address to be missing", || {
        let file = std::fs::read_to_string(fleet.pods[3].data().join("nodes.conf"))
            .map_err(|error| error.to_string())?;
        if file.contains("255.255.255.255") { Err(file) } else { Ok(()) }
    });
}
