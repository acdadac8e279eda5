//! Pods that start together.

use std::time::Duration;

use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::server::any_server;
use crate::support::wait::wait_ok;

use super::{LIMIT, assert_same, in_every_version, recipe, status, wait_all_ready, wait_waiting};

/// The first masters are the first pods, with the ranges of `redis-cli --cluster create`; pod `i`
/// after them follows number `(i - shards) % shards`.
#[track_caller]
fn assert_seats(fleet: &Fleet, ranges: &[std::ops::RangeInclusive<u16>]) {
    let views: Vec<_> = fleet.pods.iter().map(|pod| pod.view().expect("its view")).collect();
    for (pod, view) in fleet.pods.iter().zip(&views) {
        let me = view.me();
        match ranges.get(pod.ordinal) {
            Some(range) => {
                assert_same(pod, &me.slots, &vec![range.clone()]);
                assert_same(pod, &me.master, &None);
            }
            None => {
                let master = (pod.ordinal - ranges.len()) % ranges.len();
                assert_same(pod, &me.master, &Some(views[master].myself.clone()));
            }
        }
    }
}

#[test]
fn six_empty_pods_become_whole_and_ready_in_every_version() {
    in_every_version(|server| {
        let fleet = Fleet::started(&recipe(server, 3));
        fleet.wait_whole(LIMIT);
        assert_seats(&fleet, &[0..=5460, 5461..=10922, 10923..=16383]);
        wait_all_ready(&fleet);
        fleet.pods.iter().for_each(shows_the_cluster);
    });
}

/// `rejoin status` and its JSON show the six nodes once all is well.
#[track_caller]
fn shows_the_cluster(pod: &Pod) {
    let status = wait_ok(LIMIT, "a status without anything held", || {
        let status = status(pod)?;
        let whole = status.cluster.state.as_deref() == Some("ok")
            && status.cluster.slots_assigned == 16384
            && status.nodes.len() == 6
            && status.held.is_empty();
        if whole { Ok(status) } else { Err(format!("{status:?}")) }
    });
    assert_same(pod, status.ordinal.map(|n| n as usize), Some(pod.ordinal));
    let output = pod.rejoin(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    for node in &status.nodes {
        assert!(text.contains(&node.address), "{}: {text}", node.address);
    }
}

#[test]
fn one_shard_forms_with_any_number_of_replicas() {
    let server = any_server();
    for replicas in [0, 1, 2] {
        let fleet = Fleet::started(&Recipe { replicas, ..recipe(&server, 1) });
        fleet.wait_whole(LIMIT);
        assert_seats(&fleet, &[0..=16383]);
        wait_all_ready(&fleet);
    }
}

#[test]
fn masters_without_replicas_and_with_two_form() {
    let server = any_server();
    for replicas in [0, 2] {
        let fleet = Fleet::started(&Recipe { replicas, ..recipe(&server, 3) });
        fleet.wait_whole(LIMIT);
        assert_seats(&fleet, &[0..=5460, 5461..=10922, 10923..=16383]);
        wait_all_ready(&fleet);
    }
}

#[test]
fn thirty_pods_with_the_usual_node_timeout_form() {
    let thirty = Recipe { node_timeout: Duration::from_secs(15), ..recipe(&any_server(), 15) };
    let fleet = Fleet::started(&thirty);
    fleet.wait_whole(LIMIT * 2);
    wait_all_ready(&fleet);
}

#[test]
fn pods_that_start_one_after_the_other_in_any_order_wait_for_the_last() {
    let mut fleet = Fleet::new(&recipe(&any_server(), 3));
    for (before, ordinal) in [4, 1, 5, 0, 3].into_iter().enumerate() {
        fleet.pods[ordinal].start();
        let seen = format!("{} of 6", before + 1);
        for pod in fleet.pods.iter().filter(|pod| pod.is_started()) {
            wait_waiting(pod, &seen);
        }
    }
    super::assert_nothing_formed(&fleet.pods);
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    assert_seats(&fleet, &[0..=5460, 5461..=10922, 10923..=16383]);
    wait_all_ready(&fleet);
}

#[test]
fn password_is_read_from_the_server_configuration() {
    let mut secret = recipe(&any_server(), 3).open();
    secret.conf.extend(["requirepass s3cret".to_owned(), "masterauth s3cret".to_owned()]);
    let mut fleet = Fleet::new(&secret);
    fleet.pods.iter_mut().for_each(|pod| pod.access.password = Some("s3cret".to_owned()));
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    fleet.pods.iter().for_each(|pod| assert!(!pod.log().contains("s3cret"), "{}", pod.name()));
}

#[test]
fn user_of_its_own_logs_in_with_the_password_of_a_file() {
    let mut secret = recipe(&any_server(), 3).open();
    secret.conf.extend([
        "requirepass s3cret".to_owned(),
        "masterauth s3cret".to_owned(),
        // All that the keeper needs of a server.
        "user keeper on >f1le +cluster +info +dbsize +ping".to_owned(),
    ]);
    let mut fleet = Fleet::new(&secret);
    let file = fleet.dir().join("password");
    std::fs::write(&file, "f1le\n").unwrap();
    for pod in &mut fleet.pods {
        pod.access.password = Some("s3cret".to_owned());
        pod.env.insert("REJOIN_USERNAME".to_owned(), "keeper".to_owned());
        pod.env.insert("REJOIN_PASSWORD_FILE".to_owned(), file.display().to_string());
    }
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
}
