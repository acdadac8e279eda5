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

/// Lets one megabyte a second through from one server to its replica, and everything else as before.
/// Why that is not possible here, if so.
fn slow_down(netns: &Netns, ips: &[IpAddr]) -> Result<(), String> {
    let (from, to) = (ips[0], ips[1]);
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

/// How far the replica is behind; `None` once it is the master.
fn lag(fleet: &Fleet) -> Option<u64> {
    let offset = |pod: &Pod, name| pod.field(&["INFO", "replication"], name).ok()?.parse().ok();
    let got: u64 = offset(&fleet.pods[1], "slave_repl_offset")?;
    let sent: u64 = offset(&fleet.pods[0], "master_repl_offset")?;
    Some(sent.saturating_sub(got))
}

#[test]
fn replica_far_behind_is_told_to_take_over_before_the_time_is_over() {
    let what = "a replica behind a slow link";
    let Some(netns) = Netns::enter(what) else { return };
    let ips: Vec<IpAddr> = (1..=2).map(|n| IpAddr::from([10, 79, 0, n])).collect();
    ips.iter().for_each(|ip| netns.add(*ip));
    let mut recipe = Recipe { node_timeout: PATIENT, ..recipe(&any_server(), 1) };
    let peers: Vec<String> = ips.iter().map(|ip| format!("{ip}:{PORT}")).collect();
    recipe.env.push(("REJOIN_PEERS".to_owned(), peers.join(",")));
    recipe.env.push(("REJOIN_HANDOVER_TIMEOUT".to_owned(), "7s".to_owned()));
    let mut fleet = Fleet::on(&recipe, &ips, Some(netns.name()));
    start(&mut fleet);
    if let Err(reason) = slow_down(&netns, &ips) {
        return left_out(&format!("{what}: links cannot be slowed down here: {reason}"));
    }
    // A few bytes to the master, and many from there to the replica.
    let fill = "redis.call('set', '{a}' .. ARGV[1], string.rep('x', 262144))";
    let (mut number, mut is_told) = (0, false);
    wait_for(LIMIT, "a hand-over", || {
        match lag(&fleet) {
            None => return is_told,
            Some(lag) if lag < LAG => {
                number += 1;
                // Paused, and then refused, once the replica takes over.
                let _ = fleet.pods[0].redis(&["EVAL", fill, "0", &number.to_string()]);
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
