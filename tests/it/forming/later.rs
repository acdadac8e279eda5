//! What comes after forming: a new volume, and clusters that were formed by hand.

use std::fs;
use std::net::IpAddr;

use redis::cluster::{ClusterClient, ClusterConnection};

use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::{Pod, Program};
use crate::support::server::Server;

use super::{LIMIT, in_every_version, recipe, wait_all_ready};

const KEYS: usize = 100;

fn client(fleet: &Fleet) -> ClusterConnection {
    let nodes: Vec<String> =
        fleet.pods.iter().map(|pod| format!("redis://{}/", pod.address())).collect();
    let client = ClusterClient::new(nodes).expect("addresses");
    client.get_connection().expect("a whole cluster")
}

fn write_keys(fleet: &Fleet) {
    let mut client = client(fleet);
    for n in 0..KEYS {
        redis::cmd("SET").arg(format!("key-{n}")).arg(n).query::<()>(&mut client).expect("written");
    }
}

#[track_caller]
fn assert_keys(fleet: &Fleet) {
    let mut client = client(fleet);
    for n in 0..KEYS {
        let found: Option<usize> =
            redis::cmd("GET").arg(format!("key-{n}")).query(&mut client).expect("read");
        assert_eq!(found, Some(n));
    }
}

#[test]
fn replica_that_lost_its_volume_joins_its_own_shard_again_and_its_old_id_is_forgotten() {
    in_every_version(|server| {
        let mut fleet = Fleet::new(&recipe(server, 3));
        let peers: Vec<String> = fleet.pods.iter().map(|pod| pod.address().to_string()).collect();
        for pod in &mut fleet.pods {
            pod.env.insert("REJOIN_PEERS".to_owned(), peers.join(","));
        }
        fleet.start_all();
        fleet.wait_whole(LIMIT);
        write_keys(&fleet);
        let old = fleet.pods[5].view().unwrap();
        let last = &mut fleet.pods[5];
        last.kill();
        fs::remove_dir_all(last.data()).unwrap();
        fs::create_dir(last.data()).unwrap();
        last.start();
        fleet.wait_whole(LIMIT);
        let new = fleet.pods[5].view().unwrap();
        assert_ne!(new.myself, old.myself);
        assert_eq!(new.me().master, old.me().master);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

/// A cluster of bare servers, made by hand, with keys; then stopped.
fn made_by_hand(server: &Server) -> Fleet {
    let mut fleet = Fleet::started(&Recipe { program: Program::Bare, ..recipe(server, 3) });
    fleet.pods.iter().for_each(|pod| pod.wait_answers(LIMIT));
    fleet.create_by_cli();
    fleet.wait_whole(LIMIT);
    write_keys(&fleet);
    for pod in &mut fleet.pods {
        pod.env.remove("REJOIN_SHARDS");
        pod.env.remove("REJOIN_REPLICAS");
    }
    fleet
}

fn wrap(pod: &mut Pod) {
    pod.program = Program::Wrapped;
}

#[test]
fn cluster_made_by_hand_is_whole_again_after_each_pod_moved() {
    in_every_version(|server| {
        let mut fleet = made_by_hand(server);
        let spare = fleet.spare.clone();
        for (ordinal, ip) in spare.into_iter().enumerate() {
            let pod = &mut fleet.pods[ordinal];
            pod.stop();
            wrap(pod);
            pod.ip = ip;
            pod.start();
            // Whoever is still bare heals nothing by itself.
            if fleet.pods.iter().all(|pod| pod.program == Program::Wrapped) {
                fleet.wait_whole(LIMIT);
            } else {
                fleet.pods[ordinal].wait_answers(LIMIT);
            }
        }
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

#[test]
fn cluster_made_by_hand_is_whole_again_after_all_pods_moved_at_once() {
    in_every_version(|server| {
        let mut fleet = made_by_hand(server);
        let spare = fleet.spare.clone();
        move_all(&mut fleet, &spare);
        fleet.wait_whole(LIMIT);
        assert_keys(&fleet);
        // Each gets the former address of another one.
        let mut shifted = spare;
        shifted.rotate_left(1);
        move_all(&mut fleet, &shifted);
        fleet.wait_whole(LIMIT);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

fn move_all(fleet: &mut Fleet, ips: &[IpAddr]) {
    for pod in &mut fleet.pods {
        pod.stop();
        wrap(pod);
    }
    for (pod, ip) in fleet.pods.iter_mut().zip(ips) {
        pod.ip = *ip;
    }
    fleet.start_all();
}
