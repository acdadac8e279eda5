//! A cluster's whole life in containers: formed, moved, and without one of its volumes.

use super::load::{assert_keys, write_keys};
use super::{come_back, formed, in_every_version, roll};

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

#[test]
fn each_container_is_stopped_in_turn_under_load_and_no_failover_is_waited_for() {
    in_every_version(|set| {
        let mut set = formed(set);
        write_keys(&set, KEYS);
        roll(&mut set, KEYS);
    });
}
