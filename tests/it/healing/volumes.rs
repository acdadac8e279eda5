//! Pods come back without their volume, or with a part of it.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::server::{Server, any_server};
use crate::support::wait::wait_ok;

use super::{
    HASTY, KEYS, LIMIT, assert_keys, find_only, form, formed_on_own_addresses, id, ids,
    in_every_version, keys, lose_volume, six, wait_all_ready, wait_healed, wait_held,
};

/// A fleet whose pods find their own addresses and the spare ones of some.
fn formed_with_spare(server: &Server, shards: usize, spare: &[usize]) -> Fleet {
    let mut fleet = Fleet::new(&Recipe { shards, ..six(server, HASTY) });
    let spare: Vec<IpAddr> = spare.iter().map(|n| fleet.spare[*n]).collect();
    find_only(&mut fleet, &spare);
    form(&mut fleet);
    fleet
}

/// Kills pods and starts them with empty volumes, and waits until the cluster is whole without
/// their former ids.
#[track_caller]
fn lose_and_heal(fleet: &mut Fleet, ordinals: &[usize], what: &str) {
    let before: Vec<String> = ordinals.iter().map(|n| id(&fleet.pods[*n])).collect();
    let start = Instant::now();
    for n in ordinals {
        fleet.pods[*n].kill();
        lose_volume(&fleet.pods[*n]);
    }
    for n in ordinals {
        fleet.pods[*n].ip = fleet.spare[*n];
        fleet.pods[*n].start();
    }
    wait_healed(fleet, what, start);
    let after = ids(fleet);
    assert!(before.iter().all(|id| !after.contains(id)), "{before:?} {after:?}");
    for n in ordinals {
        assert!(fleet.pods[*n].view().unwrap().me().master.is_some(), "redis-{n} is no replica");
    }
    wait_all_ready(fleet);
    assert_keys(fleet);
}

/// The shard of each pod, by the first slot of its master.
fn shards(fleet: &Fleet) -> Vec<u16> {
    let shard = |pod: &Pod| {
        let view = pod.view().expect("its view");
        let master = view.me().master.as_ref().unwrap_or(&view.myself);
        *view.nodes[master].slots[0].start()
    };
    fleet.pods.iter().map(shard).collect()
}

#[test]
fn master_that_lost_its_volume_inside_the_node_timeout_comes_back_as_a_replica() {
    in_every_version(|server| {
        let mut fleet = formed_with_spare(server, 3, &[0]);
        let before = shards(&fleet);
        lose_and_heal(&mut fleet, &[0], "a master's volume lost");
        assert_eq!(shards(&fleet), before);
    });
}

#[test]
fn two_volumes_lost_in_two_shards_at_once_come_back() {
    in_every_version(|server| {
        for (lost, what) in [([4, 5], "two replicas'"), ([0, 4], "a master's and a replica's")] {
            let mut fleet = formed_with_spare(server, 3, &lost);
            let before = shards(&fleet);
            lose_and_heal(&mut fleet, &lost, &format!("{what} volumes lost"));
            assert_eq!(shards(&fleet), before);
        }
    });
}

#[test]
fn volumes_of_two_masters_lost_at_once_come_back() {
    // Of five, since a majority must be left to elect the successors.
    in_every_version(|server| {
        let mut fleet = formed_with_spare(server, 5, &[0, 2]);
        lose_and_heal(&mut fleet, &[0, 2], "two masters' volumes lost");
    });
}

#[test]
fn pod_that_lost_its_volume_joins_the_shard_that_lacks_a_replica_where_its_own_does_not() {
    let mut recipe = six(&any_server(), HASTY);
    // Lest a server moves a replica to the shard that is without.
    recipe.conf.push("cluster-migration-barrier 2".to_owned());
    let mut fleet = Fleet::new(&recipe);
    find_only(&mut fleet, &[]);
    form(&mut fleet);
    let [first, third] = [0, 2].map(|n| id(&fleet.pods[n]));
    fleet.pods[3].text(&["CLUSTER", "REPLICATE", &third]).unwrap();
    wait_ok(LIMIT, "everybody to know that the third shard has two", || {
        fleet.pods.iter().try_for_each(|pod| {
            let view = pod.view()?;
            let count = view.nodes.values().filter(|node| node.master_is(&third)).count();
            if count == 2 { Ok(()) } else { Err(format!("{view:?}")) }
        })
    });
    lose_volume_of(&mut fleet, 5);
    fleet.wait_whole(LIMIT);
    assert!(fleet.pods[5].view().unwrap().me().master_is(&first));
    assert!(fleet.pods[3].view().unwrap().me().master_is(&third));
    assert_keys(&fleet);
}

/// Removes what is in the volume by the start of its names.
pub(super) fn remove(pod: &Pod, starts: &[&str]) {
    for entry in fs::read_dir(pod.data()).expect("it is ours").flatten() {
        let name = entry.file_name().into_string().expect("a plain name");
        if !starts.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.expect("it is ours");
    }
}

#[test]
fn lost_nodes_conf_beside_kept_data_is_held_and_no_copy_is_lost() {
    in_every_version(|server| {
        for ordinal in [5, 0] {
            let mut fleet = formed_with_spare(server, 3, &[0]);
            let spare = fleet.spare[0];
            let pod = &mut fleet.pods[ordinal];
            let held = keys(pod).unwrap();
            assert!(held > 0);
            pod.kill();
            remove(pod, &["nodes.conf"]);
            if ordinal == 0 {
                pod.ip = spare;
            }
            pod.start();
            wait_held(&fleet.pods[ordinal], "data_without_cluster");
            // Nobody touches it while the others do what they must.
            wait_served_by_others(&fleet, ordinal);
            assert_eq!(keys(&fleet.pods[ordinal]).unwrap(), held);
            wait_held(&fleet.pods[ordinal], "data_without_cluster");
            assert_eq!(fleet.pods[ordinal].view().unwrap().nodes.len(), 1);
            // The way out that the reason names: the volume is given up.
            lose_volume_of(&mut fleet, ordinal);
            fleet.wait_whole(LIMIT);
            assert_keys(&fleet);
        }
    });
}

fn lose_volume_of(fleet: &mut Fleet, ordinal: usize) {
    fleet.pods[ordinal].kill();
    lose_volume(&fleet.pods[ordinal]);
    fleet.pods[ordinal].start();
}

/// Waits until the masters among the other pods serve every slot. They have every key: the copies
/// that replicas have are not counted.
#[track_caller]
pub(super) fn wait_served_by_others(fleet: &Fleet, ordinal: usize) {
    let others = || fleet.pods.iter().filter(move |pod| pod.ordinal != ordinal);
    let masters = wait_ok(LIMIT, "the others to serve every slot", || {
        let (mut slots, mut masters) = (0, Vec::new());
        for pod in others() {
            let own = pod.view()?.me().slot_count();
            slots += own;
            masters.extend((own > 0).then_some(pod));
        }
        if slots == 16384 { Ok(masters) } else { Err(format!("{slots} slots")) }
    });
    let held: u64 = masters.into_iter().map(|pod| keys(pod).unwrap()).sum();
    assert_eq!(held, KEYS as u64, "keys that the masters have");
}

#[test]
fn replica_that_lost_its_data_but_not_its_nodes_conf_gets_it_again() {
    in_every_version(|server| {
        let mut fleet = formed_on_own_addresses(server, HASTY);
        let before = ids(&fleet);
        let replica = &mut fleet.pods[3];
        let held = keys(replica).unwrap();
        replica.kill();
        remove(replica, &["appendonly", "dump"]);
        let start = Instant::now();
        replica.start();
        wait_healed(&fleet, "a replica's data lost", start);
        assert_eq!(ids(&fleet), before);
        wait_ok(Duration::from_secs(10), "its data", || {
            let now = keys(&fleet.pods[3])?;
            if now == held { Ok(()) } else { Err(format!("{now} of {held} keys")) }
        });
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}
