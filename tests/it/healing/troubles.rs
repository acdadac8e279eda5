//! Other things go wrong while the addresses change.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::dns::{Answer, Dns};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::netns::Netns;
use crate::support::process::send;
use crate::support::server::any_server;
use crate::support::wait::{wait_for, wait_ok};

use super::{
    HASTY, LIMIT, PATIENT, all_to, as_drop_in, assert_keys, formed, id, in_every_version,
    readdress, seats, six, wait_all_ready, wait_healed, wait_held,
};

/// The Service's full name.
const FULL: &str = "redis.shop.svc.cluster.local";

/// A network of its own with a name server, in which six pods have formed a cluster.
struct Named {
    // Dropped in this order: the pods before what they stand on.
    fleet: Fleet,
    dns: Dns,
    netns: Netns,
}

impl Named {
    /// `prefix` is the addresses' without their last part; `None` where this machine lets nobody
    /// make networks.
    fn formed(what: &str, prefix: &str, node_timeout: Duration) -> Option<Self> {
        let netns = Netns::enter(what)?;
        let name_server: IpAddr = "10.78.0.53".parse().expect("an address");
        netns.add(name_server);
        let ips = add(&netns, prefix);
        let dns = Dns::start((name_server, 53).into());
        netns.set_pod_resolv_conf(name_server, "shop");
        dns.set(FULL, Answer::Addresses(ips.clone()));
        let mut recipe = six(&any_server(), node_timeout);
        recipe.env.push(("REJOIN_SERVICE".to_owned(), "redis".to_owned()));
        let mut fleet = Fleet::on(&recipe, &ips, Some(netns.name()));
        super::form(&mut fleet);
        Some(Self { fleet, dns, netns })
    }

    /// All pods come back at once on these addresses, which is what the Service has from now on.
    fn readdress(&mut self, ips: &[IpAddr]) {
        self.dns.set(FULL, Answer::Addresses(ips.to_vec()));
        readdress(&mut self.fleet, &all_to(ips));
    }
}

fn add(netns: &Netns, prefix: &str) -> Vec<IpAddr> {
    let ip = |n: usize| -> IpAddr { format!("{prefix}{n}").parse().expect("an address") };
    let ips: Vec<IpAddr> = (1..=6).map(ip).collect();
    ips.iter().for_each(|ip| netns.add(*ip));
    ips
}

/// Waits until the started pods see nobody of those that do not answer them as well.
fn wait_given_up(fleet: &Fleet, what: &str) {
    let up = |pod: &crate::support::pod::Pod| pod.is_started();
    wait_ok(LIMIT, what, || {
        fleet.pods.iter().filter(|pod| up(pod)).try_for_each(|pod| {
            let view = pod.view()?;
            let well = view.nodes.values().find(|node| {
                let failed = ["fail", "fail?", "noaddr"].iter().any(|flag| node.is(flag));
                let there = fleet.pods.iter().any(|pod| {
                    up(pod) && pod.address().to_string() == node.address && node.connected
                });
                !failed && !there && !node.is("myself")
            });
            well.map_or(Ok(()), |node| Err(format!("{} sees {node:?}", pod.name())))
        })
    });
}

#[test]
fn move_while_names_are_not_answered_heals_once_they_are() {
    for (silence, what) in [(Answer::Silence, "silent"), (Answer::ServFail, "failing")] {
        let Some(mut named) = Named::formed("DNS that is away during a move", "10.78.0.", HASTY)
        else {
            return;
        };
        named.dns.set_trouble(Some(silence));
        let new = add(&named.netns, "10.78.1.");
        named.readdress(&new);
        named.fleet.pods.iter().for_each(|pod| wait_held(pod, "resolver_failed"));
        wait_given_up(&named.fleet, "everybody to be given up by everybody");
        named.dns.set_trouble(None);
        wait_healed(&named.fleet, &format!("all moved, DNS {what} at first"), Instant::now());
        wait_all_ready(&named.fleet);
        assert_keys(&named.fleet);
    }
}

#[test]
fn short_silence_of_names_during_a_move_costs_no_failover() {
    let Some(mut named) = Named::formed("DNS that is away for a moment", "10.78.0.", PATIENT)
    else {
        return;
    };
    let before = seats(&named.fleet);
    named.dns.set_trouble(Some(Answer::Silence));
    let new = add(&named.netns, "10.78.1.");
    named.readdress(&new);
    named.fleet.pods.iter().for_each(|pod| pod.wait_answers(LIMIT));
    let asked = named.dns.questions().len();
    wait_for(LIMIT, "every pod to have asked", || named.dns.questions().len() >= asked + 12);
    named.dns.set_trouble(None);
    wait_healed(&named.fleet, "all moved, DNS silent for a moment", Instant::now());
    assert_eq!(seats(&named.fleet), before);
}

#[test]
fn all_pods_on_new_addresses_heal_over_ipv6_and_from_one_family_to_the_other() {
    let Some(mut named) = Named::formed("a move over IPv6", "fd00:78::1:", PATIENT) else {
        return;
    };
    let before = seats(&named.fleet);
    for (prefix, what) in [
        ("fd00:78::2:", "IPv6 to IPv6"),
        ("10.78.1.", "IPv6 to IPv4"),
        ("fd00:78::3:", "IPv4 to IPv6"),
    ] {
        let new = add(&named.netns, prefix);
        let start = Instant::now();
        named.readdress(&new);
        wait_healed(&named.fleet, what, start);
        assert_eq!(seats(&named.fleet), before);
    }
    wait_all_ready(&named.fleet);
    assert_keys(&named.fleet);
}

/// A pod is paused while all others move, and goes on once they have found each other.
#[track_caller]
fn sleep_through_a_move(mut fleet: Fleet, sleeper: usize) {
    let asleep = id(&fleet.pods[sleeper]);
    let sleeping = [fleet.pods[sleeper].pid(), fleet.pods[sleeper].server_pid().unwrap()];
    sleeping.iter().for_each(|pid| send(*pid, Signal::SIGSTOP));
    let moves: Vec<_> = all_to(&fleet.spare.clone())
        .into_iter()
        .filter(|(ordinal, _)| *ordinal != sleeper)
        .collect();
    readdress(&mut fleet, &moves);
    wait_ok(LIMIT, "the others to have found each other", || {
        fleet.pods.iter().filter(|pod| pod.ordinal != sleeper).try_for_each(|pod| {
            let view = pod.view()?;
            let lost = view.nodes.values().filter(|node| node.id != asleep).find(|node| {
                !node.connected || ["fail", "fail?", "noaddr"].iter().any(|it| node.is(it))
            });
            lost.map_or(Ok(()), |node| Err(format!("{}: {node:?}", pod.name())))
        })
    });
    sleeping.iter().rev().for_each(|pid| send(*pid, Signal::SIGCONT));
    wait_healed(&fleet, &format!("pod {sleeper} asleep through it"), Instant::now());
    wait_all_ready(&fleet);
    assert_keys(&fleet);
}

#[test]
fn pod_that_slept_through_the_move_of_all_others_is_a_member_again() {
    in_every_version(|server| {
        for sleeper in [0, 4] {
            sleep_through_a_move(formed(server, HASTY), sleeper);
        }
    });
}

#[test]
fn without_a_shape_a_pod_that_slept_through_the_move_of_all_others_is_a_member_again() {
    let mut fleet = formed(&any_server(), HASTY);
    as_drop_in(&mut fleet);
    // The sleeper too is without from its next start on only.
    let ips: Vec<IpAddr> = fleet.pods.iter().map(|pod| pod.ip).collect();
    readdress(&mut fleet, &all_to(&ips));
    fleet.wait_whole(LIMIT);
    sleep_through_a_move(fleet, 0);
}

#[test]
fn pods_that_come_one_by_one_after_the_rest_was_given_up_are_whole_again() {
    in_every_version(|server| {
        let mut fleet = formed(server, Duration::from_secs(2));
        let spare = fleet.spare.clone();
        for (pod, ip) in fleet.pods.iter_mut().zip(spare) {
            pod.kill();
            pod.ip = ip;
        }
        for ordinal in 0..fleet.pods.len() - 1 {
            fleet.pods[ordinal].start();
            fleet.pods[ordinal].wait_answers(LIMIT);
            wait_given_up(&fleet, "those that are not there to be given up");
        }
        let start = Instant::now();
        fleet.start_all();
        wait_healed(&fleet, "the last of pods that come one by one", start);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

#[test]
fn single_shard_on_new_addresses_is_whole_again() {
    let recipe = Recipe { shards: 1, replicas: 2, ..six(&any_server(), PATIENT) };
    let mut fleet = Fleet::new(&recipe);
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    let before = seats(&fleet);
    let spare = fleet.spare.clone();
    let start = Instant::now();
    readdress(&mut fleet, &all_to(&spare));
    wait_healed(&fleet, "one shard on new addresses", start);
    assert_eq!(seats(&fleet), before);
}
