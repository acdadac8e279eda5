//! A cluster's whole life in containers: formed, moved, and without one of its volumes.

use std::time::Duration;

use super::load::{Load, assert_keys, assert_none_lost, write_keys};
use super::{come_back, formed, in_every_version};

const KEYS: usize = 300;

#[test]
fn six_containers_form_and_come_back_on_new_addresses_and_without_a_volume() {
    in_every_version(|set| {
        let mut set = formed(set);
        write_keys(&set, KEYS);
        come_back(&mut set, KEYS);

        let lost = set.pods[&4].ask(&["CLUSTER", "MYID"]).expect("its id");
        set.delete(4);
        set.lose_volume(4);
        set.create(4);
        set.wait_whole();
        let ids = set.pods[&4].view().expect("its view").nodes;
        assert!(!ids.contains_key(&lost), "the lost id is still known on {}", set.version);
        assert_keys(&set, KEYS);
    });
}

/// What a master says whose replica has its slots before it stops.
const HANDED_OVER: &str = " has taken over: ";

/// The manifest's `cluster-node-timeout`: no failover takes less.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn each_container_is_stopped_in_turn_under_load_and_no_failover_is_waited_for() {
    in_every_version(|set| {
        let mut set = formed(set);
        write_keys(&set, KEYS);
        let load = Load::start(&set);
        // As a rolling update goes: from the last to the first, each when the one before is ready.
        for ordinal in (0..6).rev() {
            let slots = set.pods[&ordinal].view().expect("its view").me().slot_count();
            let ended = set.replace(ordinal);
            assert_eq!(ended.code, 0, "redis-{ordinal} on {}: {}", set.version, ended.log);
            let has_handed_over = ended.log.contains(HANDED_OVER);
            assert_eq!(has_handed_over, slots > 0, "{}: {}", set.version, ended.log);
            set.wait_ready(ordinal);
        }
        set.wait_whole();
        let seen = load.end();
        println!("{}: each stopped in turn: {seen:?}", set.version);
        assert!(seen.iter().all(|seen| seen.gap < NODE_TIMEOUT), "{}: {seen:?}", set.version);
        assert_none_lost(&set, &seen);
        assert_keys(&set, KEYS);
    });
}
