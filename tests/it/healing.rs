//! No member is ever lost: whatever addresses the pods come back on, whatever volume is gone, and
//! whoever answers where they have been, the cluster is whole again, and nobody else's is touched.

mod addresses;
mod losses;
mod lost_shard;
mod same_address;
mod strangers;
mod third_copy;
mod troubles;
mod volumes;

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::forming::recipe;
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::{PORT, Pod};
use crate::support::server::Server;
use crate::support::wait::wait_ok;

pub(crate) use addresses::kept_back;

pub(crate) use crate::forming::{LIMIT, held, in_every_version, wait_all_ready, wait_held};
pub(crate) use crate::support::keys::{KEYS, assert_keys, keys, write_keys};

/// The usual node timeout: nobody is declared failed while a busy machine starts six pods.
pub(crate) const PATIENT: Duration = Duration::from_secs(15);

/// A node timeout for what has to fail first.
const HASTY: Duration = Duration::from_millis(2500);

/// A node timeout for pods on each other's addresses: Valkey 8.1 and later takes twice as long to
/// forgive a master that it declared failed in error.
const BRISK: Duration = Duration::from_secs(5);

/// Three masters with a replica each. What a killed server has acknowledged is on its disk.
pub(crate) fn six(server: &Server, node_timeout: Duration) -> Recipe {
    let mut recipe = Recipe { node_timeout, ..recipe(server, 3) };
    recipe.conf.push("appendfsync always".to_owned());
    recipe
}

/// Six pods that have formed a cluster with keys in it, and know no addresses but their own ones
/// and the spare ones.
pub(crate) fn formed(server: &Server, node_timeout: Duration) -> Fleet {
    let mut fleet = Fleet::new(&six(server, node_timeout));
    form(&mut fleet);
    fleet
}

/// Has every pod find the addresses that pods have now, and these.
fn find_only(fleet: &mut Fleet, more: &[IpAddr]) {
    let ips = fleet.pods.iter().map(|pod| pod.ip).chain(more.iter().copied());
    let found: Vec<String> = ips.map(|ip| format!("{ip}:{PORT}")).collect();
    for pod in &mut fleet.pods {
        pod.env.insert("REJOIN_PEERS".to_owned(), found.join(","));
    }
}

/// The same for pods whose addresses are in the name service, which lists no spare ones. A fresh
/// pod joins a cluster that most of the addresses found belong to.
fn formed_on_own_addresses(server: &Server, node_timeout: Duration) -> Fleet {
    let mut fleet = Fleet::new(&six(server, node_timeout));
    find_only(&mut fleet, &[]);
    form(&mut fleet);
    fleet
}

pub(crate) fn form(fleet: &mut Fleet) {
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    write_keys(fleet);
}

/// What a failover changes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seat {
    id: String,
    master: Option<String>,
    slots: Vec<RangeInclusive<u16>>,
    /// Of a master. A replica may take its master's epoch from another sender for a while, where it
    /// asked at an address that was given to somebody else.
    epoch: Option<String>,
}

/// The seats of all pods, in a cluster that is whole.
fn seats(fleet: &Fleet) -> Vec<Seat> {
    let seat = |pod: &Pod| {
        let view = pod.view().expect("its view");
        let me = view.me();
        let epoch = pod.field(&["CLUSTER", "INFO"], "cluster_my_epoch").expect("its epoch");
        let epoch = me.is("master").then_some(epoch);
        Seat { id: me.id.clone(), master: me.master.clone(), slots: me.slots.clone(), epoch }
    };
    fleet.pods.iter().map(seat).collect()
}

/// The ids of all pods.
fn ids(fleet: &Fleet) -> BTreeSet<String> {
    fleet.pods.iter().map(id).collect()
}

fn id(pod: &Pod) -> String {
    pod.text(&["CLUSTER", "MYID"]).expect("its id")
}

/// Kills these pods all at once and starts them on other addresses.
fn readdress(fleet: &mut Fleet, moves: &[(usize, IpAddr)]) {
    for (ordinal, ip) in moves {
        fleet.pods[*ordinal].kill();
        fleet.pods[*ordinal].ip = *ip;
    }
    for (ordinal, _) in moves {
        fleet.pods[*ordinal].start();
    }
}

/// Moves for all pods, in order.
fn all_to(ips: &[IpAddr]) -> Vec<(usize, IpAddr)> {
    ips.iter().copied().enumerate().collect()
}

/// The addresses of all pods, each given to the next one.
fn shifted(fleet: &Fleet) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = fleet.pods.iter().map(|pod| pod.ip).collect();
    ips.rotate_left(1);
    ips
}

/// Waits until the fleet is whole, and prints how long that took after `start`.
#[track_caller]
fn wait_healed(fleet: &Fleet, what: &str, start: Instant) {
    wait_ok(LIMIT, "cluster_state:ok everywhere", || fleet.ok());
    let ok = start.elapsed();
    fleet.wait_whole(LIMIT);
    say(fleet, &format!("{what}: ok after {}, whole after {}", s(ok), s(start.elapsed())));
}

fn say(fleet: &Fleet, what: &str) {
    println!("{}: {what}", fleet.pods[0].server.name);
}

fn s(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Loses the volume of a pod that does not run.
fn lose_volume(pod: &Pod) {
    fs::remove_dir_all(pod.data()).expect("it is ours");
    fs::create_dir(pod.data()).expect("its parent is ours");
}

/// Without variables of ours, as `fix-ip.sh` is used: nothing is formed, joined or forgotten.
pub(crate) fn as_drop_in(fleet: &mut Fleet) {
    for pod in &mut fleet.pods {
        pod.env.remove("REJOIN_SHARDS");
        pod.env.remove("REJOIN_REPLICAS");
    }
}
