//! Pods come back without their volume, or without `nodes.conf`, where they were, long before
//! anybody is declared failed: a replica that looks for its master there copies whatever answers.

use std::time::Instant;

use crate::guard::wait_role;
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::server::Server;
use crate::support::wait::wait_ok;

use super::volumes::{remove, wait_served_by_others};
use super::{
    BRISK, LIMIT, PATIENT, as_drop_in, assert_keys, find_only, formed_on_own_addresses, id, ids,
    in_every_version, keys, lose_volume, six, wait_all_ready, wait_healed, wait_held,
};

fn restart_empty(pods: &mut [Pod]) {
    pods.iter_mut().for_each(|pod| _ = pod.kill());
    for pod in pods {
        lose_volume(pod);
        pod.start();
    }
}

/// Whether the pod's server follows another.
fn is_replica(pod: &Pod) -> bool {
    pod.view().unwrap().me().master.is_some()
}

#[track_caller]
fn lose_and_heal(mut fleet: Fleet, lost: usize, what: &str) {
    let before: Vec<String> = fleet.pods[..lost].iter().map(id).collect();
    let start = Instant::now();
    restart_empty(&mut fleet.pods[..lost]);
    wait_healed(&fleet, what, start);
    let after = ids(&fleet);
    assert!(before.iter().all(|id| !after.contains(id)), "{before:?} {after:?}");
    assert!(fleet.pods[..lost].iter().all(is_replica));
    wait_all_ready(&fleet);
    assert_keys(&fleet);
}

#[test]
fn masters_that_lost_their_volumes_come_back_as_replicas_and_every_key_is_there() {
    in_every_version(|server| {
        // Without any master that answers, an election may begin in vain, and Redis holds the next
        // one after four node timeouts.
        for (lost, what, patience) in [(1, "a master's", PATIENT), (3, "every master's", BRISK)] {
            let fleet = formed_on_own_addresses(server, patience);
            lose_and_heal(fleet, lost, &format!("{what} volume lost, same address"));
        }
    });
}

#[test]
fn only_master_that_lost_its_volume_comes_back_as_a_replica_and_every_key_is_there() {
    in_every_version(|server| {
        let mut fleet = Fleet::new(&Recipe { shards: 1, ..six(server, PATIENT) });
        find_only(&mut fleet, &[]);
        fleet.start_all();
        fleet.wait_whole(LIMIT);
        fleet.pods[0].text(&["SET", "key", "value"]).unwrap();
        wait_ok(LIMIT, "the replica to have it", || {
            if keys(&fleet.pods[1])? == 1 { Ok(()) } else { Err("no key".to_owned()) }
        });
        restart_empty(&mut fleet.pods[..1]);
        fleet.pods[0].wait_answers(LIMIT);
        fleet.wait_whole(LIMIT);
        assert!(is_replica(&fleet.pods[0]));
        assert_eq!(fleet.pods[1].text(&["GET", "key"]).unwrap(), "value");
    });
}

#[test]
fn drop_in_does_not_start_empty_before_its_replica_has_taken_over() {
    in_every_version(|server| {
        let mut fleet = formed_on_own_addresses(server, PATIENT);
        as_drop_in(&mut fleet);
        restart_empty(&mut fleet.pods[..1]);
        fleet.pods[0].wait_answers(LIMIT);
        wait_served_by_others(&fleet, 0);
        assert_eq!(fleet.pods[0].view().unwrap().nodes.len(), 1);
    });
}

#[test]
fn master_that_lost_its_data_but_not_its_nodes_conf_comes_back_as_its_replicas_replica() {
    in_every_version(|server| {
        let mut fleet = formed_on_own_addresses(server, PATIENT);
        let before = ids(&fleet);
        fleet.pods[0].kill();
        remove(&fleet.pods[0], &["appendonly", "dump"]);
        let start = Instant::now();
        fleet.pods[0].start();
        wait_role(&fleet.pods[0], "slave");
        wait_healed(&fleet, "a master's data lost", start);
        assert_eq!(ids(&fleet), before);
        assert!(fleet.pods[0].log().contains("promote replica"), "who saw to it");
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

/// A fleet whose first pod was killed, the keys that it held, and without its `nodes.conf`.
fn without_nodes_conf(server: &Server) -> (Fleet, u64) {
    let mut fleet = formed_on_own_addresses(server, PATIENT);
    let held = keys(&fleet.pods[0]).unwrap();
    assert!(held > 0);
    fleet.pods[0].kill();
    remove(&fleet.pods[0], &["nodes.conf"]);
    (fleet, held)
}

#[test]
fn lost_nodes_conf_beside_kept_data_gives_the_shard_to_the_replica_and_is_held() {
    in_every_version(|server| {
        let (mut fleet, held) = without_nodes_conf(server);
        fleet.pods[0].start();
        wait_held(&fleet.pods[0], "data_without_cluster");
        wait_served_by_others(&fleet, 0);
        assert_eq!(keys(&fleet.pods[0]).unwrap(), held);
        assert_eq!(fleet.pods[0].view().unwrap().nodes.len(), 1);
        restart_empty(&mut fleet.pods[..1]);
        fleet.wait_whole(LIMIT);
        assert_keys(&fleet);
    });
}

#[test]
fn kept_data_without_nodes_conf_and_without_a_living_replica_is_held_and_no_copy_is_lost() {
    in_every_version(|server| {
        let (mut fleet, held) = without_nodes_conf(server);
        fleet.pods[3].kill();
        fleet.pods[0].start();
        wait_held(&fleet.pods[0], "data_without_cluster");
        assert_eq!(keys(&fleet.pods[0]).unwrap(), held);
        fleet.pods[3].start();
        // The same data, but for all it knows a stranger.
        wait_held(&fleet.pods[3], "master_gone");
        for pod in [0, 3] {
            assert_eq!(keys(&fleet.pods[pod]).unwrap(), held, "redis-{pod}");
        }
        wait_held(&fleet.pods[0], "data_without_cluster");
    });
}

#[test]
fn new_pod_where_another_clusters_master_was_orders_nothing_there() {
    in_every_version(|server| {
        let mut one = formed_on_own_addresses(server, PATIENT);
        let mut other = formed_on_own_addresses(server, PATIENT);
        let moved = other.spare[0];
        find_only(&mut other, &[moved]);
        // Its replica is found beside our own pods.
        let own = one.pods[5].env["REJOIN_PEERS"].clone();
        let both = format!("{own},{}", other.pods[3].address());
        one.pods[5].kill();
        lose_volume(&one.pods[5]);
        other.pods[0].kill();
        let before = one.pods[5].ip;
        one.pods[5].ip = other.pods[0].ip;
        one.pods[5].env.insert("REJOIN_PEERS".to_owned(), both);
        one.pods[5].start();
        wait_ok(LIMIT, "the new pod to wait", || {
            let ready = one.pods[5].http("/readyz")?.body;
            let waits = ready.contains("in a cluster that most pods found do not belong to");
            if waits { Ok(()) } else { Err(ready) }
        });
        assert!(one.pods[5].server_pid().is_none());
        // The master is back elsewhere, and nobody has taken its place.
        other.pods[0].ip = moved;
        other.pods[0].start();
        one.pods[5].wait_answers(LIMIT);
        other.wait_whole(LIMIT);
        assert!(!is_replica(&other.pods[0]));
        assert!(!one.pods[5].log().contains("promote"));
        assert_keys(&other);
        one.pods[5].kill();
        one.pods[5].ip = before;
        one.pods[5].env.insert("REJOIN_PEERS".to_owned(), own);
        one.pods[5].start();
        one.wait_whole(LIMIT);
        assert_keys(&one);
    });
}
