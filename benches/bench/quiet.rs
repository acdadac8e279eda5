//! Row k: what a healthy cluster of thirty is asked while nothing happens.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::row::{Row, Target, Unit};
use crate::support::dns::{Answer, Dns};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::netns::Netns;
use crate::support::pod::{PORT, Pod};
use crate::support::process::rest;
use crate::support::server::any_server;
use crate::support::wait::wait_ok;

const LIMIT: Duration = Duration::from_secs(180);
/// What passes before a formed cluster counts as quiet, and how long it is watched then.
const SETTLE: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(30);

/// Commands to the own server in a round, questions to the name service, connections to peers.
pub fn thirty() -> Vec<Row> {
    let netns = Netns::enter("row k: a name service for the pods").expect("a network of its own");
    let name_server: IpAddr = "10.79.0.53".parse().expect("an address");
    netns.add(name_server);
    let ips: Vec<IpAddr> =
        (1..=30).map(|n| format!("10.79.1.{n}").parse().expect("an address")).collect();
    ips.iter().for_each(|ip| netns.add(*ip));
    let dns = Dns::start((name_server, 53).into());
    netns.set_pod_resolv_conf(name_server, "shop");
    let service = "redis.shop.svc.cluster.local";
    dns.set(service, Answer::Addresses(ips.clone()));
    for (ordinal, ip) in ips.iter().enumerate() {
        dns.set(&format!("redis-{ordinal}.{service}"), Answer::Addresses(vec![*ip]));
    }
    let mut recipe = Recipe::wrapped(&any_server(), 15);
    recipe.node_timeout = Duration::from_secs(15);
    recipe.env.push(("REJOIN_SERVICE".to_owned(), "redis".to_owned()));
    let mut fleet = Fleet::on(&recipe, &ips, Some(netns.name()));
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_ok(LIMIT, "every pod to be ready", || {
        fleet.pods.iter().try_for_each(|pod| match pod.http("/readyz")?.status {
            200 => Ok(()),
            status => Err(format!("{}: {status}", pod.name())),
        })
    });
    rest(SETTLE);
    let before: Vec<(f64, f64)> = fleet.pods.iter().map(commands_and_rounds).collect();
    let (asked, mut linked) = (dns.questions().len(), 0);
    let start = Instant::now();
    while start.elapsed() < WATCHED {
        linked = linked.max(fleet.pods.iter().map(peer_connections).sum());
        rest(Duration::from_millis(500));
    }
    let asked = dns.questions().len() - asked;
    let after = fleet.pods.iter().map(commands_and_rounds);
    // The first count was a command of this kind itself.
    let a_round =
        after.zip(&before).map(|(after, before)| (after.0 - before.0 - 1.0) / (after.1 - before.1));
    let row = |what: &str, ours, most| Row {
        what: format!("30 pods at rest for {} s: {what}", WATCHED.as_secs()),
        ours,
        rival: Vec::new(),
        rival_name: String::new(),
        unit: Unit::Count,
        target: Target::AtMost(most),
        wrong: None,
    };
    vec![
        row("commands to the own server in a round", a_round.collect(), 1.0),
        row("questions to the name service, all pods", vec![asked as f64], 0.0),
        row("connections to peers at any moment, all pods", vec![linked as f64], 0.0),
    ]
}

/// How many of the commands that `rejoin` uses the server was sent before this question, which is one
/// of them; and how many rounds the keeper has made.
fn commands_and_rounds(pod: &Pod) -> (f64, f64) {
    let metrics = pod.http("/metrics").expect("the probes are served").body;
    let rounds = metrics
        .lines()
        .find_map(|line| line.strip_prefix("rejoin_keeper_rounds_total ")?.parse::<f64>().ok());
    let stats = pod.text(&["INFO", "commandstats"]).expect("the server answers");
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let used = ["cluster", "config", "info", "dbsize"];
        let is_ours = used.contains(&name.split('|').next()?);
        is_ours.then(|| rest.split(',').next()?.parse::<f64>().ok())?
    };
    (stats.lines().filter_map(calls).sum(), rounds.expect("the keeper counts its rounds"))
}

/// Established connections of the pod's first process to servers other than its own, from
/// `/proc/PID/fd` and `/proc/PID/net/tcp`.
fn peer_connections(pod: &Pod) -> usize {
    let pid = pod.pid();
    let sockets: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the pod runs")
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let IpAddr::V4(own) = pod.ip else { return 0 };
    // The kernel writes addresses as numbers in the byte order of the machine.
    let own = format!("{:08X}:{PORT:04X}", u32::from_ne_bytes(own.octets()));
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("the pod runs");
    let to_peer = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, remote, "01", _, _, _, _, _, inode, ..] = fields[..] else { return false };
        sockets.contains(inode) && remote.ends_with(&format!(":{PORT:04X}")) && remote != own
    };
    table.lines().skip(1).filter(to_peer).count()
}
