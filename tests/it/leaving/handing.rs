//! The ordinary case: a replica is there, and takes over.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use super::*;
use crate::healing::as_drop_in;
use crate::support::lock::RIGHTS;
use crate::support::server::{any_server, servers};
use crate::support::wait::wait_for;

#[test]
fn master_is_a_replica_before_its_server_stops() {
    in_every_version(|server| {
        let mut fleet = formed(server);
        let successor = replica_of(&fleet, 0);
        let before = newest_epoch(&fleet);
        let (status, _) = stop(&mut fleet.pods[0]);
        assert_eq!(status.code(), Some(0));
        assert_says(&fleet.pods[0], "has taken over: chosen within ");
        assert_says(&fleet.pods[0], "the server has stopped ");
        assert_eq!(role(&fleet.pods[successor]).unwrap(), "master");
        assert_eq!(newest_epoch(&fleet), before + 1);
        fleet.pods[0].start();
        fleet.wait_whole(LIMIT);
        assert_eq!(role(&fleet.pods[0]).unwrap(), "slave");
        assert_keys(&fleet);
    });
}

#[test]
fn old_master_sends_clients_on_before_it_stops() {
    for server in servers() {
        let mut fleet = one_shard(&server, 1);
        let (successor, mut sent_on) = (fleet.pods[1].address().to_string(), false);
        fleet.pods[0].signal(Signal::SIGTERM);
        wait_for(LIMIT, "the end of its server", || match fleet.pods[0].text(&["SET", "a", "b"]) {
            Ok(_) => false,
            Err(error) => {
                sent_on |= error.contains(&successor);
                error.contains("refused")
            }
        });
        assert!(sent_on);
        assert!(fleet.pods[0].wait_exit(LIMIT).success());
    }
}

#[test]
fn status_log_and_metrics_say_who_takes_over_and_how_long_it_took() {
    let mut fleet = Fleet::new(&Recipe { node_timeout: PATIENT, ..recipe(&any_server(), 1) });
    outlive_the_server(&mut fleet);
    start(&mut fleet);
    let id = fleet.pods[1].text(&["CLUSTER", "MYID"]).unwrap();
    fleet.pods[0].signal(Signal::SIGTERM);
    let (handover, metrics) = wait_ok(LIMIT, "a hand-over", || {
        let handover = status(&fleet.pods[0])?.handover.ok_or("none yet")?;
        let metrics = fleet.pods[0].http("/metrics")?.body;
        if handover.linger_s.is_some() { Ok((handover, metrics)) } else { Err(handover.said) }
    });
    assert_eq!(handover.to.as_deref(), Some(id.as_str()));
    assert_eq!(handover.at, Some(fleet.pods[1].address().to_string()));
    assert!(handover.lag_bytes.is_some() && handover.choose_s.is_some(), "{handover:?}");
    assert!(handover.order_s.is_some() && handover.linger_s >= Some(0.3), "{handover:?}");
    for phase in ["choose", "order", "linger"] {
        let part = format!("rejoin_handover_seconds{{phase=\"{phase}\"}} ");
        assert!(metrics.contains(&part), "{metrics}");
    }
    assert!(metrics.contains(&format!("handover_lag_bytes{{replica=\"{id}\"}} ")), "{metrics}");
    assert_says(&fleet.pods[0], &format!("hands its slots over to {id} at "));
    assert_says(&fleet.pods[0], "sent clients on for 300 ms: the signal passes");
}

/// Puts a script around the first pod's server that does not end with it: what the pod says at its
/// end can be looked at.
fn outlive_the_server(fleet: &mut Fleet) {
    let script = fleet.dir().join("redis-server");
    let real = fleet.pods[0].server.bin.display();
    let text = format!(
        "#!/bin/sh\n[ \"$1\" != --version ] || exec {real} \"$@\"\n{real} \"$@\" &\n\
         trap 'kill -TERM $!; wait $!; exec sleep 1000' TERM\nwait\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    fleet.pods[0].server.bin = script;
}

#[test]
fn drop_in_with_a_password_hands_over_too() {
    let server = any_server();
    let password = Some("hunter2".to_owned());
    let mut fleet = started(&Recipe { password, node_timeout: PATIENT, ..recipe(&server, 1) });
    fleet.pods.iter_mut().for_each(|pod| _ = pod.stop());
    as_drop_in(&mut fleet);
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    let master = fleet.pods.iter().position(|pod| role(pod).unwrap() == "master").unwrap();
    assert!(stop(&mut fleet.pods[master]).0.success());
    assert_eq!(role(&fleet.pods[1 - master]).unwrap(), "master");
}

#[test]
fn user_with_few_rights_hands_over() {
    let mut recipe = Recipe { node_timeout: PATIENT, ..recipe(&any_server(), 1) }.open();
    recipe.conf.push(format!("user rejoin on >hunter2 {RIGHTS}"));
    let login = [("REJOIN_USERNAME", "rejoin"), ("REJOIN_PASSWORD", "hunter2")];
    recipe.env.extend(login.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut fleet = started(&recipe);
    assert!(stop(&mut fleet.pods[0]).0.success());
    assert_eq!(role(&fleet.pods[1]).unwrap(), "master");
    assert!(!fleet.pods.iter().any(|pod| pod.log().contains("NOPERM")));
}

#[test]
fn servers_own_failover_at_shutdown_leaves_it_to_us() {
    for server in servers().iter().filter(|it| it.kind() == "valkey" && it.is_at_least((9, 0))) {
        let mut recipe = Recipe { node_timeout: PATIENT, ..recipe(server, 3) };
        recipe.conf.push("shutdown-on-sigterm failover".to_owned());
        let mut fleet = started(&recipe);
        let successor = replica_of(&fleet, 0);
        assert!(stop(&mut fleet.pods[0]).0.success());
        assert_says(&fleet.pods[0], "has taken over: ");
        assert_eq!(role(&fleet.pods[successor]).unwrap(), "master");
        let elections = fleet.pods[successor].log().matches("Failover election won").count();
        assert_eq!(elections, 1);
    }
}

#[test]
fn master_that_was_handed_over_to_does_not_hand_back_to_one_that_leaves() {
    let mut fleet = one_shard(&any_server(), 1);
    fleet.pods[0].signal(Signal::SIGTERM);
    wait_says(&fleet.pods[0], "has taken over: ");
    fleet.pods[1].signal(Signal::SIGTERM);
    for pod in &mut fleet.pods {
        assert!(pod.wait_exit(LIMIT).success());
    }
    assert_says(&fleet.pods[1], "leaves without a hand-over: ");
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    assert_eq!(role(&fleet.pods[1]).unwrap(), "master");
}

#[test]
fn slot_on_its_way_is_waited_for() {
    for server in servers() {
        let mut fleet = formed(&server);
        open_slot(&fleet);
        fleet.pods[0].signal(Signal::SIGTERM);
        wait_says(&fleet.pods[0], "waits with the hand-over: 1 slots are being moved");
        assert_eq!(role(&fleet.pods[0]).unwrap(), "master");
        fleet.pods[0].redis(&["CLUSTER", "SETSLOT", "0", "STABLE"]).unwrap();
        assert!(fleet.pods[0].wait_exit(LIMIT).success());
        assert_says(&fleet.pods[0], "has taken over: ");
    }
}

#[test]
fn slot_left_open_long_ago_does_not_stop_a_hand_over() {
    let mut recipe = six(&any_server(), PATIENT);
    recipe.env.push(("REJOIN_HANDOVER_TIMEOUT".to_owned(), "6s".to_owned()));
    let mut fleet = Fleet::new(&recipe);
    form(&mut fleet);
    wait_all_ready(&fleet);
    open_slot(&fleet);
    assert!(stop(&mut fleet.pods[0]).0.success());
    assert_says(&fleet.pods[0], "has taken over: ");
}

/// Begins to move the first slot from the first pod to the second.
fn open_slot(fleet: &Fleet) {
    let to = fleet.pods[1].text(&["CLUSTER", "MYID"]).unwrap();
    fleet.pods[0].redis(&["CLUSTER", "SETSLOT", "0", "MIGRATING", &to]).unwrap();
}
