//! The ground that all other tests stand on: that the test support itself tells the truth.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use crate::support::dns::{Answer, Dns};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::netns::Netns;
use crate::support::pod::Program;
use crate::support::process::{alive, run};
use crate::support::server::{any_server, servers};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn bare_servers_made_a_cluster_by_hand_are_whole_in_every_version() {
    for server in servers() {
        let fleet = Fleet::started(&Recipe::bare(&server, 3));
        fleet.pods.iter().for_each(|pod| pod.wait_answers(LIMIT));
        let lack = fleet.whole().unwrap_err();
        assert_eq!(lack, "redis-0: cluster_state:fail", "{}", server.name);
        fleet.create_by_cli();
        fleet.wait_whole(LIMIT);
    }
}

#[test]
fn a_restart_on_another_address_keeps_the_data() {
    let mut fleet = Fleet::new(&Recipe { replicas: 0, ..Recipe::bare(&any_server(), 1) });
    let pod = &mut fleet.pods[0];
    pod.start();
    pod.wait_answers(LIMIT);
    let id = pod.text(&["CLUSTER", "MYID"]).unwrap();
    assert!(pod.stop().success());
    assert!(!pod.is_started());
    let old = pod.ip;
    fleet.swap_address(0);
    let pod = &mut fleet.pods[0];
    pod.start();
    pod.wait_answers(LIMIT);
    assert_eq!(pod.text(&["CLUSTER", "MYID"]).unwrap(), id);
    assert_ne!(pod.ip, old);
}

#[test]
fn a_killed_pod_leaves_no_process() {
    let server = any_server();
    for recipe in [Recipe::bare(&server, 1), Recipe::wrapped(&server, 1)] {
        let mut fleet = Fleet::started(&Recipe { replicas: 0, ..recipe });
        let pod = &mut fleet.pods[0];
        pod.wait_answers(LIMIT);
        let (init, server) = (pod.pid(), pod.server_pid().unwrap());
        assert_eq!(init == server, pod.program == Program::Bare);
        pod.kill();
        assert!(!alive(init) && !alive(server));
        // Its address is free at once, and its volume is as it was.
        pod.start();
        pod.wait_answers(LIMIT);
        assert!(pod.stop().success());
        assert!(!alive(server));
    }
}

#[test]
fn fleets_at_the_same_time_have_addresses_of_their_own() {
    let recipe = Recipe::bare(&any_server(), 3);
    let (one, other) = (Fleet::new(&recipe), Fleet::new(&recipe));
    assert_ne!(one.pods[0].ip, other.pods[0].ip);
}

#[test]
fn names_in_a_network_of_its_own_change_while_it_runs() {
    let Some(netns) = Netns::enter("the name server of the test support") else { return };
    let (four, six): (IpAddr, IpAddr) =
        ("10.77.0.1".parse().unwrap(), "fd00:77::1".parse().unwrap());
    netns.add(four);
    netns.add(six);
    let dns = Dns::start((four, 53).into());
    netns.set_pod_resolv_conf(four, "shop");
    let full = "redis-0.redis.shop.svc.cluster.local";
    // By the C library, which reads the search domains as a pod would.
    let ask = |family: &str| {
        let output = run(Command::new("ip").args(["netns", "exec", netns.name()]).args([
            "getent",
            family,
            "redis-0.redis",
        ]));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask("ahostsv4"), "", "a name that was never set does not exist");
    dns.publish("redis.shop.svc.cluster.local", &[("redis-0".to_owned(), six)]);
    assert_eq!(ask("ahostsv4"), "", "a name may have addresses of the other family only");
    dns.set(full, Answer::Addresses(vec![four, six]));
    assert!(ask("ahostsv4").starts_with("10.77.0.1 "));
    assert!(ask("ahostsv6").starts_with("fd00:77::1 "));
    dns.set_trouble(Some(Answer::ServFail));
    assert_eq!(ask("ahostsv4"), "");
    dns.set_trouble(None);
    assert!(dns.questions().contains(&(full.to_owned(), "AAAA".to_owned())));
}

#[test]
fn bare_servers_with_a_password_form_over_ipv6_in_a_network_of_their_own() {
    let Some(netns) = Netns::enter("a cluster over IPv6") else { return };
    let ips: Vec<IpAddr> = (1..=6).map(|n| format!("fd00:77::{n}").parse().unwrap()).collect();
    ips.iter().for_each(|ip| netns.add(*ip));
    let password = Some("open-sesame".to_owned());
    let recipe = Recipe { password, ..Recipe::bare(&any_server(), 3) };
    let mut fleet = Fleet::on(&recipe, &ips, Some(netns.name()));
    fleet.start_all();
    fleet.pods.iter().for_each(|pod| pod.wait_answers(LIMIT));
    fleet.create_by_cli();
    fleet.wait_whole(LIMIT);
}
