//! Pods whose users have them announce an address and ports of their choice.

use crate::support::fleet::Fleet;
use crate::support::keys::{assert_keys, write_keys};
use crate::support::pod::{PORT, Pod};

use super::{LIMIT, in_every_version, recipe, wait_all_ready, wait_nothing_held};

/// What the server has set.
fn option(pod: &Pod, name: &str) -> String {
    let reply = pod.redis(&["CONFIG", "GET", name]).expect("it answers");
    let reply: [(String, String); 1] = redis::from_redis_value(reply).expect("a pair");
    reply[0].1.clone()
}

#[test]
fn address_and_port_that_the_user_announces_are_kept() {
    in_every_version(|server| {
        let mut recipe = recipe(server, 1).open();
        // Both copies are killed.
        recipe.conf.push("appendfsync always".to_owned());
        let mut fleet = Fleet::new(&recipe);
        for pod in &mut fleet.pods {
            // As manifests have it that take the address from a variable.
            let announced = [
                ("ip", pod.ip.to_string()),
                ("port", PORT.to_string()),
                ("bus-port", (PORT + 10000).to_string()),
            ];
            pod.args.extend(
                announced.iter().flat_map(|(what, value)| {
                    [format!("--cluster-announce-{what}"), value.clone()]
                }),
            );
        }
        for round in 0..2 {
            fleet.start_all();
            fleet.wait_whole(LIMIT);
            wait_all_ready(&fleet);
            fleet.pods.iter().for_each(wait_nothing_held);
            if round == 0 {
                write_keys(&fleet);
            }
            assert_keys(&fleet);
            for pod in &mut fleet.pods {
                assert_eq!(option(pod, "cluster-announce-ip"), pod.ip.to_string());
                assert_eq!(option(pod, "cluster-announce-port"), PORT.to_string());
                pod.kill();
            }
        }
    });
}
