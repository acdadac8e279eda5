//! Each right of `rejoin`'s user is needed, and one that is missing is named.

use crate::manifests::own;
use crate::support::fleet::Fleet;
use crate::support::lock::RIGHTS;
use crate::support::pod::Pod;
use crate::support::server::{any_server, servers};
use crate::support::wait::wait_for;

use super::{
    LIMIT, alone, file, fleet, forget_spares, place, restart_empty, status, wait_all_ready,
    wait_doubt, wait_failed_step, wait_nothing_held,
};

/// Without one of these a pod cannot see how things are.
const LOOK: [&str; 4] = ["+cluster|nodes", "+cluster|info", "+info", "+dbsize"];
/// Without one of these a master takes no slots,
const FORM: [&str; 2] = ["+cluster|set-config-epoch", "+cluster|addslots"];
/// and without one of these nobody joins it.
const JOIN: [&str; 3] = ["+cluster|meet", "+cluster|myid", "+cluster|replicate"];
const FORGET: &str = "+cluster|forget";
const RAISE: &str = "+cluster|bumpepoch";
const FAILOVER: &str = "+cluster|failover";
const SET: &str = "+config|set";

#[test]
fn rights_of_the_tests_are_those_of_the_documents_and_each_is_taken_away_here() {
    let mut ours: Vec<&str> = RIGHTS.split_whitespace().collect();
    // Nothing else is behind the password, a key's name for instance.
    for (page, password) in
        [("docs/operations.md", ">…"), ("k8s/make-secret", "$(hash \"$rejoin\")")]
    {
        let text = std::fs::read_to_string(own(page)).unwrap();
        let start = format!("user rejoin on {password} ");
        let given = text.lines().find_map(|line| line.strip_prefix(&start)).expect(&start);
        assert_eq!(given.split_whitespace().collect::<Vec<_>>(), ours, "{page}");
    }
    let mut taken = [&LOOK[..], &FORM, &JOIN, &[FORGET, RAISE, FAILOVER, SET]].concat();
    taken.sort_unstable();
    ours.sort_unstable();
    assert_eq!(taken, ours);
}

/// Has the servers of the fleet start without one of the rights.
fn without(fleet: &Fleet, right: &str) {
    let file = file(fleet, "users.acl");
    let users = std::fs::read_to_string(&file).unwrap();
    let fewer: Vec<&str> = RIGHTS.split_whitespace().filter(|given| *given != right).collect();
    assert_eq!(fewer.len() + 1, RIGHTS.split_whitespace().count(), "{right} is none of ours");
    std::fs::write(&file, users.replace(RIGHTS, &fewer.join(" "))).unwrap();
}

fn grant(pod: &Pod, right: &str) {
    pod.redis(&["ACL", "SETUSER", "keeper", right]).unwrap();
}

/// As the server names what is not allowed: `'cluster|nodes'`.
fn named(right: &str) -> String {
    format!("'{}' command", right.trim_start_matches('+'))
}

const WHO: &str = "user keeper of REJOIN_USERNAME, password of REJOIN_PASSWORD_FILE in ";

#[test]
fn pod_that_may_not_look_is_alive_and_names_the_right() {
    for right in LOOK {
        for server in servers() {
            let mut fleet = alone(&server);
            without(&fleet, right);
            fleet.start_all();
            let pod = &fleet.pods[0];
            wait_doubt(pod, &["our login is refused: NOPERM", &named(right), WHO]);
            grant(pod, right);
            wait_all_ready(&fleet);
        }
    }
}

#[test]
fn pods_that_may_not_form_hold_and_name_the_right_until_they_have_it() {
    for right in FORM {
        let mut fleet = alone(&any_server());
        without(&fleet, right);
        fleet.start_all();
        wait_failed_step(&fleet.pods[0], &["NOPERM", &named(right), WHO]);
        grant(&fleet.pods[0], right);
        wait_all_ready(&fleet);
        wait_nothing_held(&fleet.pods[0]);
    }
    for right in JOIN {
        let mut fleet = fleet(&any_server(), 1, 1);
        without(&fleet, right);
        fleet.start_all();
        wait_failed_step(&fleet.pods[1], &["NOPERM", &named(right), WHO]);
        fleet.pods.iter().for_each(|pod| grant(pod, right));
        fleet.wait_whole(LIMIT);
        wait_all_ready(&fleet);
        fleet.pods.iter().for_each(wait_nothing_held);
    }
}

#[test]
fn pod_that_may_not_forget_holds_and_names_the_right_until_it_has_it() {
    let mut fleet = fleet(&any_server(), 1, 1);
    without(&fleet, FORGET);
    forget_spares(&mut fleet);
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    restart_empty(&mut fleet.pods[1]);
    wait_failed_step(&fleet.pods[0], &["NOPERM", &named(FORGET), WHO]);
    grant(&fleet.pods[0], FORGET);
    fleet.wait_whole(LIMIT);
    wait_nothing_held(&fleet.pods[0]);
}

#[test]
fn pod_that_may_not_raise_its_epoch_takes_no_lost_shard_and_names_the_right_until_it_has_it() {
    // The other two are most of the masters.
    let mut fleet = fleet(&any_server(), 3, 0);
    without(&fleet, RAISE);
    forget_spares(&mut fleet);
    for pod in &mut fleet.pods {
        pod.env.insert("REJOIN_ON_LOST_SHARD".to_owned(), "recreate".to_owned());
    }
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    restart_empty(&mut fleet.pods[0]);
    let pod = &fleet.pods[0];
    wait_failed_step(pod, &["NOPERM", &named(RAISE), WHO]);
    assert_eq!(pod.view().unwrap().me().slot_count(), 0);
    grant(pod, RAISE);
    fleet.wait_whole(LIMIT);
    assert_eq!(fleet.pods[0].view().unwrap().me().slot_count(), 5461);
    fleet.pods.iter().for_each(wait_nothing_held);
}

#[test]
fn pod_that_may_not_order_a_failover_says_so_and_stops_as_ever() {
    let mut fleet = fleet(&any_server(), 1, 1);
    without(&fleet, FAILOVER);
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    assert!(fleet.pods[0].stop().success());
    let log = fleet.pods[0].log();
    assert!(log.contains("NOPERM") && log.contains(&named(FAILOVER)), "{log}");
    assert!(log.contains(WHO), "{log}");
}

#[test]
fn pod_that_may_not_set_an_option_hands_over_all_the_same() {
    let mut fleet = fleet(&any_server(), 1, 1);
    without(&fleet, SET);
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    assert!(fleet.pods[0].stop().success());
    let log = fleet.pods[0].log();
    assert!(log.contains("NOPERM") && log.contains(&named(SET)), "{log}");
    wait_for(LIMIT, "the replica to be a master", || {
        let role = fleet.pods[1].field(&["INFO", "replication"], "role");
        role.is_ok_and(|role| role == "master")
    });
    assert!(log.contains("has taken over"), "{log}");
}

#[test]
fn user_of_the_replicas_alone_is_told_from_one_of_our_own() {
    let mut fleet = alone(&any_server());
    let pod = &mut fleet.pods[0];
    pod.env.remove("REJOIN_USERNAME");
    pod.env.remove("REJOIN_PASSWORD_FILE");
    pod.start();
    let pod = &fleet.pods[0];
    let at = |option| place(pod, option);
    let who = format!("user copier of {}, password of {}", at("masteruser"), at("masterauth"));
    wait_doubt(pod, &["our login is refused: NOPERM", &who]);
    assert!(status(pod).unwrap().probes.live.ok);
}
