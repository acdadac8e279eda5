//! The replica lives: it becomes the master, before the server starts.

use nix::sys::signal::Signal;

use crate::support::fleet::{Fleet, Recipe};
use crate::support::keys::KEYS;
use crate::support::left_out::left_out;
use crate::support::process::send;
use crate::support::server::{any_server, servers};
use crate::support::wait::wait_ok;

use super::{
    HELD, LIMIT, assert_keys, assert_log, epoch, fleet_with_keys, in_two_versions, keys, recipe,
    wait_held, wait_role, with_keys,
};

#[test]
fn killed_master_comes_back_as_replica_and_every_key_is_there() {
    let servers = servers();
    std::thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| {
                let mut fleet = fleet_with_keys(server);
                let before = epoch(&fleet.pods[1]);
                fleet.pods[0].kill();
                fleet.pods[0].start();
                came_back(&fleet, 0, 3, before + 1);
                // The other way round, and to another address. What has been a replica has the
                // snapshot of an old sync in its directory.
                fleet.pods[3].kill();
                fleet.swap_address(3);
                fleet.pods[3].start();
                came_back(&fleet, 3, 0, before + 2);
            });
        }
    });
}

/// One pod is the other's replica, by the guard's doing and by one failover only.
#[track_caller]
fn came_back(fleet: &Fleet, replica: usize, master: usize, expected_epoch: u64) {
    let (replica, master) = (&fleet.pods[replica], &fleet.pods[master]);
    wait_role(replica, "slave");
    fleet.wait_whole(LIMIT);
    assert_eq!(master.field(&["INFO", "replication"], "role").unwrap(), "master");
    assert_log(replica, "promote replica");
    assert_eq!(epoch(master), expected_epoch);
    assert_keys(fleet);
}

#[test]
fn two_masters_killed_at_once_do_not_wait_for_each_others_vote() {
    in_two_versions(|server| {
        let mut fleet = fleet_with_keys(server);
        for pod in 0..2 {
            fleet.pods[pod].kill();
        }
        for pod in 0..2 {
            fleet.pods[pod].start();
        }
        for pod in 0..2 {
            wait_role(&fleet.pods[pod], "slave");
        }
        fleet.wait_whole(LIMIT);
        assert!(fleet.pods[..2].iter().any(|pod| pod.log().contains("without votes")));
        assert_keys(&fleet);
    });
}

#[test]
fn only_master_of_a_cluster_hands_over_without_any_vote() {
    in_two_versions(|server| {
        let recipe = Recipe { shards: 1, ..recipe(server) };
        let mut fleet = with_keys(Fleet::started(&recipe));
        fleet.pods[0].kill();
        fleet.pods[0].start();
        wait_role(&fleet.pods[0], "slave");
        fleet.wait_whole(LIMIT);
        assert_keys(&fleet);
    });
}

#[test]
fn one_of_two_replicas_is_promoted_and_the_other_follows_it() {
    in_two_versions(|server| {
        let recipe = Recipe { replicas: 2, ..recipe(server) };
        let mut fleet = with_keys(Fleet::started(&recipe));
        let before = epoch(&fleet.pods[1]);
        fleet.pods[0].kill();
        fleet.pods[0].start();
        wait_role(&fleet.pods[0], "slave");
        fleet.wait_whole(LIMIT);
        assert_eq!(epoch(&fleet.pods[1]), before + 1);
        assert_keys(&fleet);
    });
}

/// The other has missed what was written last: it slept, and its link was cut meanwhile.
#[test]
fn of_two_replicas_the_one_with_more_of_the_data_is_promoted() {
    // Neither is taken for its place among the two.
    for (asleep, awake) in [(1, 2), (2, 1)] {
        let mut recipe = Recipe { shards: 1, replicas: 2, ..recipe(&any_server()) };
        recipe.conf.push("repl-diskless-sync-delay 0".to_owned());
        let mut fleet = with_keys(Fleet::started(&recipe));
        let sleeper = fleet.pods[asleep].server_pid().expect("the replica runs");
        send(sleeper, Signal::SIGSTOP);
        fleet.pods[0].text(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
        fleet.pods[0].text(&["SET", "late", "1"]).unwrap();
        wait_ok(LIMIT, "the replica that is awake to have it", || {
            let now = keys(&fleet.pods[awake])?;
            if now == KEYS as u64 + 1 { Ok(()) } else { Err(format!("{now} keys")) }
        });
        fleet.pods[0].kill();
        send(sleeper, Signal::SIGCONT);
        fleet.pods[asleep].wait_answers(LIMIT);
        assert_eq!(keys(&fleet.pods[asleep]), Ok(KEYS as u64), "it has missed the last");
        fleet.pods[0].start();
        wait_role(&fleet.pods[0], "slave");
        fleet.wait_whole(LIMIT);
        wait_role(&fleet.pods[awake], "master");
        assert_eq!(fleet.pods[awake].text(&["GET", "late"]).unwrap(), "1");
        assert_keys(&fleet);
    }
}

#[test]
fn replica_with_a_password_that_serves_nothing_without_its_master_is_promoted() {
    in_two_versions(|server| {
        let mut recipe = Recipe { password: Some("secret".to_owned()), ..recipe(server) };
        recipe.conf.push("replica-serve-stale-data no".to_owned());
        let mut fleet = with_keys(Fleet::started(&recipe));
        fleet.pods[0].kill();
        fleet.pods[0].start();
        wait_role(&fleet.pods[0], "slave");
        fleet.wait_whole(LIMIT);
        assert_keys(&fleet);
    });
}

#[test]
fn server_is_not_started_while_its_replica_cannot_be_promoted() {
    in_two_versions(|server| {
        if !server.is_at_least((7, 0)) {
            return left_out(
                "a replica that must not be promoted: rights on subcommands are new in 7.0",
            );
        }
        // It is the user `default` that loses a right.
        let mut fleet = with_keys(Fleet::started(&recipe(server).open()));
        fleet.pods[3].text(&["ACL", "SETUSER", "default", "-cluster|failover"]).unwrap();
        fleet.pods[0].kill();
        fleet.pods[0].start();
        wait_held(&fleet.pods[0], "could not promote replica");
        let metrics = fleet.pods[0].http("/metrics").unwrap().body;
        assert!(metrics.contains("rejoin_holds{kind=\"empty_master\"} 1"), "{metrics}");
        let status = fleet.pods[0].http("/status").unwrap().body;
        assert!(status.contains("empty_master") && status.contains("NOPERM"), "{status}");
        assert!(fleet.pods[0].server_pid().is_none());
        fleet.pods[3].text(&["ACL", "SETUSER", "default", "+cluster|failover"]).unwrap();
        wait_role(&fleet.pods[0], "slave");
        fleet.wait_whole(LIMIT);
        assert_keys(&fleet);
    });
}

#[test]
fn master_starts_at_once_where_its_replica_has_no_keys_either() {
    in_two_versions(|server| {
        let mut fleet = Fleet::started(&recipe(server));
        fleet.wait_whole(LIMIT);
        let before = epoch(&fleet.pods[1]);
        fleet.pods[0].kill();
        fleet.pods[0].start();
        wait_role(&fleet.pods[0], "master");
        fleet.wait_whole(LIMIT);
        assert_log(&fleet.pods[0], "its replicas answer, and none has a key, so it starts");
        assert_eq!(epoch(&fleet.pods[1]), before);
    });
}

#[test]
fn replicas_and_masters_with_their_data_on_disk_are_not_guarded() {
    in_two_versions(|server| {
        let mut recipe = recipe(server);
        recipe.conf = vec!["appendonly yes".to_owned()];
        let mut fleet = Fleet::started(&recipe);
        fleet.wait_whole(LIMIT);
        fleet.pods[0].text(&["CONFIG", "SET", "appendfsync", "always"]).unwrap();
        fleet.pods[0].text(&["SET", "{06S}", "1"]).unwrap();
        let before = epoch(&fleet.pods[1]);
        for pod in [0, 3] {
            fleet.pods[pod].kill();
            fleet.pods[pod].start();
            fleet.pods[pod].wait_answers(LIMIT);
            fleet.wait_whole(LIMIT);
        }
        assert_eq!(fleet.pods[0].text(&["GET", "{06S}"]).unwrap(), "1");
        assert_eq!(epoch(&fleet.pods[1]), before);
        for pod in [0, 3] {
            let log = fleet.pods[pod].log();
            assert!(!log.contains(HELD) && !log.contains("nothing on disk"), "{log}");
        }
    });
}
