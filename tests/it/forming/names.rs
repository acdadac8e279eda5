//! Pods that find each other by the name of their Service.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::support::dns::{Answer, Dns};
use crate::support::fleet::Fleet;
use crate::support::left_out::left_out;
use crate::support::netns::Netns;
use crate::support::server::any_server;
use crate::support::wait::{wait_for, wait_ok};

use super::{LIMIT, assert_nothing_formed, ready, recipe, status, wait_all_ready, wait_waiting};

/// The Service's full name in the tests.
pub(crate) const FULL: &str = "redis.shop.svc.cluster.local";

/// A network of its own with a name server in it, and six pods that are told nothing but the name
/// of their Service.
pub(crate) struct Named {
    // Dropped in this order: the pods before what they stand on.
    pub fleet: Fleet,
    pub dns: Dns,
    pub ips: Vec<IpAddr>,
    _netns: Netns,
}

impl Named {
    /// `prefix` is the addresses' without their last part; `None` where this machine lets nobody
    /// make networks.
    pub fn new(what: &str, prefix: &str, service: &str) -> Option<Self> {
        let netns = Netns::enter(what)?;
        let ip = |n: usize| -> IpAddr { format!("{prefix}{n}").parse().expect("an address") };
        let ips: Vec<IpAddr> = (1..=6).map(ip).collect();
        let spare: Vec<IpAddr> = (101..=106).map(ip).collect();
        ips.iter().chain(&spare).chain([&ip(53)]).for_each(|ip| netns.add(*ip));
        let dns = Dns::start((ip(53), 53).into());
        netns.set_pod_resolv_conf(ip(53), "shop");
        let mut recipe = recipe(&any_server(), 3);
        recipe.env.push(("REJOIN_SERVICE".to_owned(), service.to_owned()));
        let mut fleet = Fleet::on(&recipe, &ips, Some(netns.name()));
        fleet.spare = spare;
        Some(Self { fleet, dns, ips, _netns: netns })
    }

    /// The Service has these pods from now on.
    pub fn publish(&self, ips: &[IpAddr]) {
        self.dns.set(FULL, Answer::Addresses(ips.to_vec()));
    }

    #[track_caller]
    pub fn wait_formed(&self) {
        self.fleet.wait_whole(LIMIT);
        wait_all_ready(&self.fleet);
    }
}

#[test]
fn pods_form_by_the_short_name_of_their_service() {
    let Some(mut named) = Named::new("forming by a short name", "10.77.0.", "redis") else {
        return;
    };
    named.publish(&named.ips);
    named.fleet.start_all();
    named.wait_formed();
}

#[test]
fn pods_form_by_the_full_name_of_their_service() {
    for name in [FULL, "redis.shop.svc.cluster.local."] {
        let Some(mut named) = Named::new("forming by a full name", "10.77.0.", name) else {
            return;
        };
        named.publish(&named.ips);
        named.fleet.start_all();
        named.wait_formed();
    }
}

#[test]
fn pods_with_ipv6_only_form_by_the_name_of_their_service() {
    let Some(mut named) = Named::new("forming by a name over IPv6", "fd00:77::", "redis") else {
        return;
    };
    named.publish(&named.ips);
    named.fleet.start_all();
    named.wait_formed();
    let questions = named.dns.questions();
    assert!(questions.contains(&(FULL.to_owned(), "AAAA".to_owned())), "{questions:?}");
}

#[test]
fn pods_whose_service_has_no_name_yet_are_ready_and_form_once_it_has() {
    let Some(mut named) = Named::new("forming once the name is there", "10.77.0.", "redis") else {
        return;
    };
    named.fleet.start_all();
    named.fleet.pods.iter().for_each(|pod| wait_waiting(pod, "1 of 6"));
    named.fleet.pods.iter().for_each(|pod| wait_ok(LIMIT, "the pod to be ready", || ready(pod)));
    assert_nothing_formed(&named.fleet.pods);
    // A name without addresses is an answer as well.
    named.publish(&[]);
    named.publish(&named.ips[..3]);
    named.fleet.pods[..3].iter().for_each(|pod| wait_waiting(pod, "3 of 6"));
    named.publish(&named.ips);
    named.wait_formed();
}

#[test]
fn pods_whose_resolver_fails_are_not_ready_and_form_once_it_works() {
    for trouble in [Answer::ServFail, Answer::Silence] {
        let Some(mut named) = Named::new("forming once the resolver works", "10.77.0.", "redis")
        else {
            return;
        };
        named.publish(&named.ips);
        named.dns.set_trouble(Some(trouble));
        named.fleet.start_all();
        wait_ok(LIMIT, "every pod to say that the resolver fails", || {
            named.fleet.pods.iter().try_for_each(|pod| {
                let status = status(pod)?;
                let said = status.held.iter().any(|held| held.kind == "resolver_failed")
                    && !status.probes.ready.ok
                    && status.probes.live.ok
                    && status.probes.ready.reason.contains("resolver failed");
                if said { Ok(()) } else { Err(format!("{status:?}")) }
            })
        });
        assert_nothing_formed(&named.fleet.pods);
        named.dns.set_trouble(None);
        named.wait_formed();
    }
}

#[test]
fn pods_leave_the_name_server_alone_once_all_is_well() {
    let Some(mut named) = Named::new("what DNS is asked at rest", "10.77.0.", "redis") else {
        return;
    };
    named.publish(&named.ips);
    named.fleet.start_all();
    named.wait_formed();
    let count = || named.dns.questions().len();
    let mut last = (count(), std::time::Instant::now());
    wait_for(LIMIT, "five seconds without a question", || {
        if count() != last.0 {
            last = (count(), std::time::Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(5)
    });
}

#[test]
fn status_shows_every_pod_by_the_name_that_it_announces_when_all_is_well() {
    if !any_server().is_at_least((7, 0)) {
        return left_out("announced names: no server has them");
    }
    let Some(mut named) = Named::new("announced names", "10.77.0.", "redis") else { return };
    named.publish(&named.ips);
    let expected: BTreeSet<String> = (0..6).map(|ordinal| format!("redis-{ordinal}")).collect();
    for (name, ip) in expected.iter().zip(&named.ips) {
        named.dns.set(&format!("{name}.{FULL}"), Answer::Addresses(vec![*ip]));
    }
    named.fleet.start_all();
    named.wait_formed();
    wait_ok(LIMIT, "all names on all pods", || {
        named.fleet.pods.iter().try_for_each(|pod| {
            let nodes = status(pod)?.nodes;
            let shown: BTreeSet<String> = nodes.into_iter().filter_map(|node| node.pod).collect();
            if shown == expected { Ok(()) } else { Err(format!("{}: {shown:?}", pod.name())) }
        })
    });
}
