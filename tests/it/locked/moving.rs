//! A cluster that runs in plain text comes to speak TLS: pod by pod, with both ports open.

use std::net::TcpStream;

use crate::forming::{LIMIT, ready, recipe, wait_all_ready};
use crate::support::fleet::Fleet;
use crate::support::keys::{assert_keys, write_keys};
use crate::support::pod::{PORT, Pod};
use crate::support::server::servers;
use crate::support::wait::wait_ok;

use super::wait_nothing_held;

/// The replica's link is up, and by which port it reaches its master.
#[track_caller]
fn wait_copies_from(fleet: &Fleet, port: u16) {
    let port = port.to_string();
    wait_ok(LIMIT, &format!("a copy from port {port}"), || {
        fleet.ok()?;
        let info = |field: &str| {
            let field = |pod: &Pod| pod.field(&["INFO", "replication"], field);
            fleet.pods.iter().find_map(|pod| field(pod).ok()).unwrap_or_default()
        };
        let seen = (info("master_link_status"), info("master_port"));
        if seen == ("up".to_owned(), port.clone()) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// Waits until all are ready, and linked to each other.
#[track_caller]
fn wait_linked(fleet: &Fleet) {
    wait_ok(LIMIT, "every pod to be ready, and linked to all others", || {
        fleet.pods.iter().try_for_each(|pod| {
            ready(pod)?;
            let view = pod.view()?;
            let linked = view.nodes.values().all(|node| node.connected);
            let all = linked && view.nodes.len() == fleet.pods.len();
            if all { Ok(()) } else { Err(format!("{view:?}")) }
        })
    });
}

/// Restarts the pods one after the other, the last first. Returns those that were masters and did
/// not hand over.
#[track_caller]
pub fn roll(fleet: &mut Fleet) -> Vec<usize> {
    let mut alone = Vec::new();
    for ordinal in (0..fleet.pods.len()).rev() {
        let pod = &mut fleet.pods[ordinal];
        let handed_over = |pod: &Pod| pod.log().matches("has taken over").count();
        let (before, role) = (handed_over(pod), pod.field(&["INFO", "replication"], "role"));
        assert!(pod.stop().success());
        let is_alone = role.unwrap() == "master" && handed_over(pod) == before;
        alone.extend(is_alone.then_some(ordinal));
        pod.start();
        wait_linked(fleet);
    }
    alone
}

/// The same, and every master hands over, whatever the port at which its replica is found.
#[track_caller]
fn roll_handing_over(fleet: &mut Fleet) {
    let alone = roll(fleet);
    assert!(alone.is_empty(), "{}", alone.iter().map(|n| fleet.pods[*n].log()).collect::<String>());
}

#[test]
fn cluster_in_plain_text_moves_to_tls_pod_by_pod() {
    for server in servers() {
        let mut fleet = Fleet::started(&recipe(&server, 1).open());
        fleet.wait_whole(LIMIT);
        wait_all_ready(&fleet);
        write_keys(&fleet);
        let dir = fleet.dir().display().to_string();
        for pod in &mut fleet.pods {
            // A bus that follows the TLS port is looked for there too soon, and in vain.
            pod.conf.push(format!(
                "cluster-port {}\ntls-port {}\ntls-ca-cert-file {dir}/ca.crt\n\
                 tls-cert-file {dir}/server.crt\ntls-key-file {dir}/server.key",
                PORT + 10000,
                PORT + 1
            ));
        }
        roll_handing_over(&mut fleet);
        wait_copies_from(&fleet, PORT);
        // A bus speaks one of the two, so it is changed on all at once.
        for option in ["tls-cluster", "tls-replication"] {
            for pod in &mut fleet.pods {
                pod.redis(&["CONFIG", "SET", option, "yes"]).unwrap();
                pod.conf.push(format!("{option} yes"));
            }
        }
        roll_handing_over(&mut fleet);
        wait_copies_from(&fleet, PORT + 1);
        fleet.pods.iter().for_each(wait_nothing_held);
        // No client uses the plain port any more.
        for pod in &mut fleet.pods {
            (pod.access.tls, pod.port) = (true, PORT + 1);
            pod.conf.push("port 0".to_owned());
        }
        roll_handing_over(&mut fleet);
        fleet.wait_whole(LIMIT);
        fleet.pods.iter().for_each(wait_nothing_held);
        for pod in &fleet.pods {
            TcpStream::connect((pod.ip, PORT)).unwrap_err();
        }
        assert_keys(&fleet);
    }
}
