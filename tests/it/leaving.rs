//! A pod that is told to stop leaves no gap: its replica takes over first. Whatever is wrong, a
//! replica that cannot is not waited for, and the signal passes in the end.

mod alone;
mod behind;
mod clients;
mod going_over;
mod handing;
mod home;
mod rolling;
mod together;
mod trouble;

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::forming::recipe;
use crate::guard::wait_role;
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::server::Server;
use crate::support::wait::wait_ok;

pub(crate) use crate::forming::{LIMIT, in_every_version, status, wait_all_ready};
pub(crate) use crate::healing::{PATIENT, assert_keys, form, six};

/// One master with replicas, which all serve and answer their probes. Nothing is elected in time.
fn one_shard(server: &Server, replicas: usize) -> Fleet {
    started(&Recipe { replicas, node_timeout: PATIENT, ..recipe(server, 1) })
}

fn started(recipe: &Recipe) -> Fleet {
    let mut fleet = Fleet::new(recipe);
    start(&mut fleet);
    fleet
}

#[track_caller]
fn start(fleet: &mut Fleet) {
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(fleet);
}

/// Six pods, three of them masters, with keys.
fn formed(server: &Server) -> Fleet {
    let mut fleet = Fleet::new(&six(server, PATIENT));
    form(&mut fleet);
    wait_all_ready(&fleet);
    fleet
}

/// The ordinals of the replicas of that pod, as it says.
fn replicas_of(fleet: &Fleet, master: usize) -> Vec<usize> {
    let view = fleet.pods[master].view().expect("its view");
    let of = |pod: &Pod| view.nodes.values().find(|node| node.address == pod.address().to_string());
    let follows = |pod: &Pod| of(pod).is_some_and(|node| node.master_is(&view.myself));
    fleet.pods.iter().filter(|pod| follows(pod)).map(|pod| pod.ordinal).collect()
}

fn replica_of(fleet: &Fleet, master: usize) -> usize {
    let replicas = replicas_of(fleet, master);
    assert_eq!(replicas.len(), 1, "{replicas:?}");
    replicas[0]
}

fn role(pod: &Pod) -> Result<String, String> {
    pod.field(&["INFO", "replication"], "role")
}

/// The cluster's epoch as the pod knows it: each election that is tried makes it grow by one.
#[track_caller]
fn epoch(pod: &Pod) -> u64 {
    let epoch = pod.field(&["CLUSTER", "INFO"], "cluster_current_epoch").expect("it answers");
    epoch.parse().expect("a number")
}

/// The newest one that any pod knows.
#[track_caller]
fn newest_epoch(fleet: &Fleet) -> u64 {
    fleet.pods.iter().filter(|pod| pod.is_started()).map(epoch).max().expect("some pods run")
}

/// Waits for a line of its log.
#[track_caller]
fn wait_says(pod: &Pod, part: &str) {
    wait_ok(LIMIT, &format!("{} to say {part:?}", pod.name()), || {
        let log = pod.log();
        if log.contains(part) { Ok(()) } else { Err(last_lines(&log)) }
    });
}

#[track_caller]
fn assert_says(pod: &Pod, part: &str) {
    assert!(pod.log().contains(part), "{part:?} is not in the log of {}", pod.name());
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

/// SIGTERM, and how long it took to end.
#[track_caller]
fn stop(pod: &mut Pod) -> (ExitStatus, Duration) {
    let start = Instant::now();
    pod.signal(Signal::SIGTERM);
    let status = pod.wait_exit(LIMIT);
    println!("{}: {} stopped within {:?}", pod.server.name, pod.name(), start.elapsed());
    (status, start.elapsed())
}
