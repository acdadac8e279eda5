//! Pods without `rejoin` are replaced by pods with it, one by one, as `docs/migrating.md` says: who
//! has no hand-over is failed over by hand before.

use super::rolling::{PACE, assert_written};
use super::*;
use crate::forming::later::made_by_hand;
use crate::forming::ready;
use crate::support::pod::Program;
use crate::support::process::rest;
use crate::support::server::any_server;
use crate::support::writer::Writers;

/// If the pod is a master, its replica takes over, by the one command; then waits until it copies.
/// Whether it was one.
#[track_caller]
fn fail_over(fleet: &Fleet, ordinal: usize) -> bool {
    let pod = &fleet.pods[ordinal];
    let was_master = role(pod).expect("it answers") == "master";
    if was_master {
        let replica = replica_of(fleet, ordinal);
        fleet.pods[replica].text(&["CLUSTER", "FAILOVER"]).expect("it is a replica");
        wait_role(pod, "slave");
    }
    wait_ok(LIMIT, "a link to its master", || {
        match pod.field(&["INFO", "replication"], "master_link_status")?.as_str() {
            "up" => Ok(()),
            link => Err(link.to_owned()),
        }
    });
    was_master
}

#[test]
fn cluster_without_rejoin_goes_over_without_a_gap_where_masters_are_failed_over_before() {
    let node_timeout = Duration::from_secs(5);
    let mut fleet = made_by_hand(&six(&any_server(), node_timeout));
    let writers = Writers::start(&fleet, PACE);
    let mut masters = 0;
    for ordinal in (0..fleet.pods.len()).rev() {
        let was_master = fail_over(&fleet, ordinal);
        masters += usize::from(was_master);
        fleet.pods[ordinal].stop();
        if was_master && masters == 1 {
            // Without the command its shard would be away for longer than that.
            rest(node_timeout + Duration::from_secs(1));
        }
        fleet.swap_address(ordinal);
        let pod = &mut fleet.pods[ordinal];
        pod.program = Program::Wrapped;
        pod.start();
        wait_ok(LIMIT, &format!("redis-{ordinal} to be ready"), || ready(&fleet.pods[ordinal]));
    }
    assert_eq!(masters, 3);
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    assert_written(&fleet, writers);
}
