//! Each right of `rejoin`'s user is needed, and one that is missing is named.

use crate::support::fleet::Fleet;
use crate::support::lock::RIGHTS;
use crate::support::pod::Pod;
use crate::support::server::{any_server, servers};
use crate::support::wait::{wait_for, wait_ok};

use super::{
    LIMIT, alone, file, fleet, status, wait_all_ready, wait_doubt, wait_failed_step,
    wait_nothing_held,
};

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
    for right in ["+cluster|nodes", "+cluster|info", "+info", "+dbsize"] {
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
    for right in ["+cluster|set-config-epoch", "+cluster|addslots"] {
        let mut fleet = alone(&any_server());
        without(&fleet, right);
        fleet.start_all();
        wait_failed_step(&fleet.pods[0], &["NOPERM", &named(right), WHO]);
        grant(&fleet.pods[0], right);
        wait_all_ready(&fleet);
        wait_nothing_held(&fleet.pods[0]);
    }
    for right in ["+cluster|meet", "+cluster|myid", "+cluster|replicate"] {
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
    without(&fleet, "+cluster|forget");
    // A fresh pod joins what most of the addresses belong to, and spare ones never do.
    let peers: Vec<String> = fleet.pods.iter().map(|pod| pod.address().to_string()).collect();
    for pod in &mut fleet.pods {
        pod.env.insert("REJOIN_PEERS".to_owned(), peers.join(","));
    }
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    let lost = &mut fleet.pods[1];
    lost.kill();
    wait_ok(LIMIT, "the volume to be removed", || std::fs::remove_dir_all(lost.data()));
    std::fs::create_dir(lost.data()).unwrap();
    lost.start();
    wait_failed_step(&fleet.pods[0], &["NOPERM", &named("+cluster|forget"), WHO]);
    grant(&fleet.pods[0], "+cluster|forget");
    fleet.wait_whole(LIMIT);
    wait_nothing_held(&fleet.pods[0]);
}

#[test]
fn pod_that_may_not_order_a_failover_says_so_and_stops_as_ever() {
    let mut fleet = fleet(&any_server(), 1, 1);
    without(&fleet, "+cluster|failover");
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    assert!(fleet.pods[0].stop().success());
    let log = fleet.pods[0].log();
    assert!(log.contains("NOPERM") && log.contains(&named("+cluster|failover")), "{log}");
    assert!(log.contains(WHO), "{log}");
}

#[test]
fn pod_that_may_not_set_an_option_hands_over_all_the_same() {
    let mut fleet = fleet(&any_server(), 1, 1);
    without(&fleet, "+config|set");
    fleet.pods[0].env.insert("REJOIN_LOG".to_owned(), "debug".to_owned());
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    assert!(fleet.pods[0].stop().success());
    let log = fleet.pods[0].log();
    assert!(log.contains("NOPERM") && log.contains(&named("+config|set")), "{log}");
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
    let conf = pod.conf_file().display().to_string();
    let lines = std::fs::read_to_string(pod.conf_file()).unwrap();
    let at = |option: &str| {
        let number = lines.lines().position(|line| line.starts_with(option)).unwrap() + 1;
        format!("{} in {conf}:{number}", option.trim())
    };
    let who = format!("user copier of {}, password of {}", at("masteruser "), at("masterauth "));
    wait_doubt(pod, &["our login is refused: NOPERM", &who]);
    assert!(status(pod).unwrap().probes.live.ok);
}
