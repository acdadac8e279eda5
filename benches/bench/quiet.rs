//! Row k: what a healthy cluster of thirty is asked while nothing happens.

use std::net::IpAddr;
use std::time::Duration;

use crate::row::{Row, Target, Unit};
use crate::support::dns::{Answer, Dns};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::netns::Netns;
use crate::support::pod::Pod;
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
    let before: Vec<Counts> = fleet.pods.iter().map(Counts::of).collect();
    let asked = dns.questions().len();
    rest(WATCHED);
    let asked = dns.questions().len() - asked;
    let after: Vec<Counts> = fleet.pods.iter().map(Counts::of).collect();
    let pairs = || after.iter().zip(&before);
    // The first count was a command of this kind itself, over a connection of its own.
    let a_round = pairs().map(|(after, before)| {
        (after.commands - before.commands - 1.0) / (after.rounds - before.rounds)
    });
    let most = a_round.fold(0.0, f64::max);
    let linked = pairs().map(|(after, before)| after.connections - before.connections - 1.0).sum();
    let row = |what: &str, ours: f64, most| Row {
        what: format!("30 pods at rest for {} s: {what}", WATCHED.as_secs()),
        ours: vec![ours],
        rival: Vec::new(),
        rival_name: String::new(),
        unit: Unit::Count,
        target: Target::AtMost(most),
        wrong: None,
    };
    vec![
        row("commands to the own server in a round, the pod with the most", most, 1.0),
        row("questions to the name service, all pods", asked as f64, 0.0),
        row("connections made to the servers, all pods", linked, 0.0),
    ]
}

/// What was counted in one pod.
struct Counts {
    /// How many of the commands that `rejoin` uses the server was sent before this question, which is
    /// one of them.
    commands: f64,
    /// The connections that the server was ever opened, that of this question included.
    connections: f64,
    /// The rounds that the keeper has made.
    rounds: f64,
}

impl Counts {
    fn of(pod: &Pod) -> Counts {
        let metrics = pod.http("/metrics").expect("the probes are served").body;
        let rounds = metrics
            .lines()
            .find_map(|line| line.strip_prefix("rejoin_keeper_rounds_total ")?.parse().ok());
        let info = pod.text(&["INFO", "everything"]).expect("the server answers");
        let calls = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let used = ["auth", "cluster", "config", "hello", "info", "dbsize"];
            let is_ours = used.contains(&name.split('|').next()?);
            is_ours.then(|| rest.split(',').next()?.parse::<f64>().ok())?
        };
        let connections = info
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:")?.parse().ok());
        Counts {
            commands: info.lines().filter_map(calls).sum(),
            connections: connections.expect("the server counts its connections"),
            rounds: rounds.expect("the keeper counts its rounds"),
        }
    }
}
