//! A replica that is far behind is waited for, but not until the time is over.

use std::net::IpAddr;
use std::process::Command;

use rejoin::handover::plan::LAG_MAX;

use super::*;
use crate::support::left_out::left_out;
use crate::support::netns::Netns;
use crate::support::pod::PORT;
use crate::support::process::run;
use crate::support::server::any_server;
use crate::support::wait::wait_for;

/// How far the replica is kept behind, in bytes: more than a hand-over waits for even where this test
/// gets no processor for two seconds, and no more than the link carries in four.
const LAG: u64 = 3 << 20;

/// One master with these replicas in a network of its own, ready; `None`: not possible here.
fn behind_links(what: &str, replicas: u8) -> Option<(Netns, Fleet)> {
    let netns = Netns::enter(what)?;
    let ips: Vec<IpAddr> = (1..=1 + replicas).map(|n| IpAddr::from([10, 79, 0, n])).collect();
    ips.iter().for_each(|ip| netns.add(*ip));
    let replicas = replicas.into();
    let mut recipe = Recipe { replicas, node_timeout: PATIENT, ..recipe(&any_server(), 1) };
    let peers: Vec<String> = ips.iter().map(|ip| format!("{ip}:{PORT}")).collect();
    recipe.env.push(("REJOIN_PEERS".to_owned(), peers.join(",")));
    recipe.env.push(("REJOIN_HANDOVER_TIMEOUT".to_owned(), "7s".to_owned()));
    let mut fleet = Fleet::on(&recipe, &ips, Some(netns.name()));
    start(&mut fleet);
    Some((netns, fleet))
}

/// Lets one megabyte a second through from the master to this replica, and everything else as before.
/// Why that is not possible here, if so.
fn slow_down(netns: &Netns, fleet: &Fleet, replica: usize) -> Result<(), String> {
    let (from, to) = (fleet.pods[0].ip, fleet.pods[replica].ip);
    let stream = format!("match ip src {from} match ip dst {to} match ip sport {PORT} 0xffff");
    for words in [
        "qdisc add dev lo root handle 1: htb".to_owned(),
        "class add dev lo parent 1: classid 1:2 htb rate 8mbit".to_owned(),
        format!("filter add dev lo parent 1: protocol ip prio 1 u32 {stream} flowid 1:2"),
    ] {
        // By a shell, which says so where there is no `tc`.
        let mut command = Command::new("sh");
        let output = run(command.args(["-c", &format!("tc -n {} {words}", netns.name())]));
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
    }
    Ok(())
}

/// How far this replica is behind; `None` once it is the master.
fn lag(fleet: &Fleet, replica: usize) -> Option<u64> {
    let offset = |pod: &Pod, name| pod.field(&["INFO", "replication"], name).ok()?.parse().ok();
    let got: u64 = offset(&fleet.pods[replica], "slave_repl_offset")?;
    let sent: u64 = offset(&fleet.pods[0], "master_repl_offset")?;
    Some(sent.saturating_sub(got))
}

/// Writes a few bytes to the master, which are many from there to its replicas. Such a write pauses, and
/// is then refused, once a replica takes over.
fn fill(fleet: &Fleet, number: u32) {
    let fill = "redis.call('set', '{a}' .. ARGV[1], string.rep('x', 262144))";
    let _ = fleet.pods[0].redis(&["EVAL", fill, "0", &number.to_string()]);
}

#[test]
fn replica_far_behind_is_told_to_take_over_before_the_time_is_over() {
    let what = "a replica behind a slow link";
    let Some((netns, mut fleet)) = behind_links(what, 1) else { return };
    if let Err(reason) = slow_down(&netns, &fleet, 1) {
        return left_out(&format!("{what}: links cannot be slowed down here: {reason}"));
    }
    let (mut number, mut is_told) = (0, false);
    wait_for(LIMIT, "a hand-over", || {
        match lag(&fleet, 1) {
            None => return is_told,
            Some(lag) if lag < LAG => {
                number += 1;
                fill(&fleet, number);
            }
            Some(_) if is_told => {}
            Some(_) => {
                fleet.pods[0].signal(Signal::SIGTERM);
                is_told = true;
            }
        }
        false
    });
    assert!(fleet.pods[0].wait_exit(LIMIT).success());
    let log = fleet.pods[0].log();
    let said = |part: &str| log.lines().find(|line| line.contains(part));
    let waits = said("waits with the hand-over: is ").expect("it is waited for");
    assert!(waits.ends_with(" bytes behind"), "{waits}");
    let order = said("hands its slots over to ").expect("it is told");
    println!("{waits}\n{order}");
    let behind = order.strip_suffix(" bytes behind").and_then(|it| it.rsplit(' ').next());
    assert!(behind.and_then(|it| it.parse().ok()) > Some(LAG_MAX), "{order}");
    assert_says(&fleet.pods[0], "has taken over: ");
    assert_eq!(role(&fleet.pods[1]).unwrap(), "master");
}

#[test]
fn most_up_to_date_of_two_replicas_takes_over() {
    let what = "one of two replicas behind a slow link";
    let Some((netns, mut fleet)) = behind_links(what, 2) else { return };
    let id = |pod: usize| fleet.pods[pod].text(&["CLUSTER", "MYID"]).unwrap();
    // Of two that are equally far the lower id is chosen, so that one is slow.
    let (slow, other) = if id(1) < id(2) { (1, 2) } else { (2, 1) };
    if let Err(reason) = slow_down(&netns, &fleet, slow) {
        return left_out(&format!("{what}: links cannot be slowed down here: {reason}"));
    }
    let mut number = 0;
    wait_for(LIMIT, "one that is behind, and one that is not", || {
        if lag(&fleet, slow).is_none_or(|lag| lag < LAG) {
            number += 1;
            fill(&fleet, number);
        }
        lag(&fleet, other) == Some(0) && lag(&fleet, slow).is_some_and(|lag| lag >= LAG)
    });
    assert!(stop(&mut fleet.pods[0]).0.success());
    let order = format!(" at {}, ", fleet.pods[other].address());
    let log = fleet.pods[0].log();
    let said = log.lines().find(|line| line.contains("hands its slots over to "));
    assert!(said.is_some_and(|line| line.contains(&order)), "{said:?}");
    assert_eq!(role(&fleet.pods[other]).unwrap(), "master");
}
