//! What every cluster has to do, once more where all is locked down. `make test LOCKED=1` does this
//! with all the tests that have no logins of their own.

use std::process::Command;

use crate::support::process::run;
use crate::support::server::servers;

/// Runs one test in a process of its own, with servers that are locked down: all of the one version
/// that has its turn, for each of these has been run with every version before.
#[track_caller]
fn again(turn: usize, test: &str) {
    let own = std::env::current_exe().unwrap();
    let servers = servers();
    let mut command = Command::new(own);
    command.args(["--exact", test, "--nocapture"]).env("REJOIN_TEST_LOCKED", "1");
    command.env("REJOIN_TEST_SERVER", &servers[turn % servers.len()].name);
    let output = run(&mut command);
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    // A test that was renamed is none.
    let passed = output.status.success() && out.contains("test result: ok. 1 passed");
    assert!(passed, "{test}, locked down: {}\n{out}\n{err}", output.status);
}

#[test]
fn six_pods_form() {
    again(0, "forming::whole::six_empty_pods_become_whole_and_ready_in_every_version");
}

#[test]
fn cluster_made_by_hand_heals_after_each_move() {
    again(1, "forming::later::cluster_made_by_hand_is_whole_again_after_each_pod_moved");
}

#[test]
fn replica_without_its_volume_joins_again() {
    again(
        2,
        "forming::later::\
         replica_that_lost_its_volume_joins_its_own_shard_again_and_its_old_id_is_forgotten",
    );
}

#[test]
fn all_pods_on_new_addresses_heal() {
    again(3, "healing::addresses::all_pods_on_new_addresses_are_whole_again_without_a_failover");
}

#[test]
fn all_pods_on_each_others_addresses_heal() {
    again(4, "healing::addresses::all_pods_on_each_others_addresses_are_whole_again");
}

#[test]
fn masters_without_their_volumes_come_back_as_replicas() {
    again(
        5,
        "healing::same_address::\
         masters_that_lost_their_volumes_come_back_as_replicas_and_every_key_is_there",
    );
}

#[test]
fn replica_of_a_master_whose_address_a_stranger_has_takes_over() {
    again(6, "healing::strangers::replica_of_a_master_whose_address_a_stranger_has_takes_over");
}

#[test]
fn empty_master_comes_back_as_replica() {
    again(7, "guard::promoted::killed_master_comes_back_as_replica_and_every_key_is_there");
}

#[test]
fn master_hands_over() {
    again(8, "leaving::handing::status_log_and_metrics_say_who_takes_over_and_how_long_it_took");
}

#[test]
fn rolling_restart_under_load_loses_nothing() {
    again(9, "leaving::rolling::rolling_restart_under_load_loses_nothing");
}

// With Redis: Valkey has another version number beside its own.
#[test]
fn status_is_the_servers() {
    again(0, "commands::showing::status_as_json_says_the_same_as_the_server");
}

#[test]
fn loading_server_is_alive_and_started_but_not_ready() {
    again(11, "probes::working::loading_server_is_alive_and_started_but_not_ready");
}

#[test]
fn faults_lose_no_write() {
    again(12, "chaos::rounds_of_faults_leave_a_whole_cluster_without_a_lost_write");
}
