//! A cluster that runs in plain text comes to speak TLS: pod by pod, with both ports open.

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

/// Restarts the pods one after the other, the last first, each when all are ready.
#[track_caller]
fn roll(fleet: &mut Fleet) {
    for ordinal in (0..fleet.pods.len()).rev() {
        let pod = &mut fleet.pods[ordinal];
        assert!(pod.stop().success());
        pod.start();
        wait_ok(LIMIT, "every pod to be ready", || fleet.pods.iter().try_for_each(ready));
    }
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
            pod.conf.push(format!(
                "tls-port {}\ntls-ca-cert-file {dir}/ca.crt\ntls-cert-file {dir}/server.crt\n\
                 tls-key-file {dir}/server.key",
                PORT + 1
            ));
        }
        roll(&mut fleet);
        wait_copies_from(&fleet, PORT);
        // A bus speaks one of the two, so it is changed on all at once.
        for option in ["tls-cluster", "tls-replication"] {
            for pod in &mut fleet.pods {
                pod.redis(&["CONFIG", "SET", option, "yes"]).unwrap();
                pod.conf.push(format!("{option} yes"));
            }
        }
        roll(&mut fleet);
        wait_copies_from(&fleet, PORT + 1);
        // Whoever was met while it started is in the view twice for a moment.
        wait_ok(LIMIT, "two nodes that know each other", || {
            fleet.pods.iter().try_for_each(|pod| {
                let view = pod.view()?;
                let linked = view.nodes.values().all(|node| node.connected);
                if view.nodes.len() == 2 && linked { Ok(()) } else { Err(format!("{view:?}")) }
            })
        });
        fleet.pods.iter().for_each(wait_nothing_held);
        assert_keys(&fleet);
    }
}
