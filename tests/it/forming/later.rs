//! What comes after forming: a new volume, and clusters that were formed by hand.

use std::net::IpAddr;

use crate::support::fleet::{Fleet, Recipe};
use crate::support::keys::{assert_keys, write_keys};
use crate::support::pod::{Pod, Program};
use crate::support::wait::wait_ok;

use super::{LIMIT, forget_spares, in_every_version, lose_volume, recipe, wait_all_ready};

#[test]
fn replica_that_lost_its_volume_joins_its_own_shard_again_and_its_old_id_is_forgotten() {
    in_every_version(|server| {
        let mut fleet = Fleet::new(&recipe(server, 3));
        forget_spares(&mut fleet);
        fleet.start_all();
        fleet.wait_whole(LIMIT);
        write_keys(&fleet);
        let old = fleet.pods[5].view().unwrap();
        let last = &mut fleet.pods[5];
        last.kill();
        lose_volume(last);
        last.start();
        fleet.wait_whole(LIMIT);
        let new = fleet.pods[5].view().unwrap();
        assert_ne!(new.myself, old.myself);
        assert_eq!(new.me().master, old.me().master);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

/// A cluster of bare servers, made by hand, with keys, whose pods form nothing once they are wrapped.
pub(crate) fn made_by_hand(recipe: &Recipe) -> Fleet {
    let mut fleet = Fleet::started(&Recipe { program: Program::Bare, ..recipe.clone() });
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

/// Waits until every pod, the bare ones too, is linked to this one at its present address.
#[track_caller]
fn wait_known(fleet: &Fleet, ordinal: usize) {
    wait_ok(LIMIT, &format!("redis-{ordinal} to be known at its address"), || {
        let id = fleet.pods[ordinal].text(&["CLUSTER", "MYID"])?;
        let address = fleet.pods[ordinal].address().to_string();
        fleet.pods.iter().try_for_each(|pod| {
            let view = pod.view()?;
            let line = view.nodes.get(&id);
            let is_known = line.is_some_and(|node| node.address == address && node.connected);
            if is_known { Ok(()) } else { Err(format!("{} sees {line:?}", pod.name())) }
        })
    });
}

/// Waits until no sync is under way: a server that writes the first file of its AOF after one
/// ignores a SIGTERM ("Writing initial AOF, can't exit").
#[track_caller]
fn wait_at_rest(pod: &Pod) {
    wait_ok(LIMIT, &format!("{} to be at rest", pod.name()), || {
        let persistence = |field| pod.field(&["INFO", "persistence"], field);
        let busy = persistence("aof_rewrite_in_progress")? + &persistence("aof_rewrite_scheduled")?;
        let link = pod.field(&["INFO", "replication"], "master_link_status");
        let is_linked = link.as_ref().map_or(true, |link| link == "up");
        if busy == "00" && is_linked { Ok(()) } else { Err(format!("rewrite {busy}, {link:?}")) }
    });
}

fn wrap(pod: &mut Pod) {
    pod.program = Program::Wrapped;
}

#[test]
fn cluster_made_by_hand_is_whole_again_after_each_pod_moved() {
    in_every_version(|server| {
        let mut fleet = made_by_hand(&recipe(server, 3));
        let spare = fleet.spare.clone();
        for (ordinal, ip) in spare.into_iter().enumerate() {
            let pod = &mut fleet.pods[ordinal];
            pod.stop();
            wrap(pod);
            pod.ip = ip;
            pod.start();
            wait_known(&fleet, ordinal);
            fleet.pods.iter().for_each(wait_at_rest);
        }
        fleet.wait_whole(LIMIT);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

#[test]
fn cluster_made_by_hand_is_whole_again_after_all_pods_moved_at_once() {
    in_every_version(|server| {
        let mut fleet = made_by_hand(&recipe(server, 3));
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
    fleet.pods.iter().for_each(wait_at_rest);
    for pod in &mut fleet.pods {
        pod.stop();
        wrap(pod);
    }
    for (pod, ip) in fleet.pods.iter_mut().zip(ips) {
        pod.ip = *ip;
    }
    fleet.start_all();
}
