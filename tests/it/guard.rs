//! Masters without persistence that are killed and come back at once, long before the cluster
//! declares anybody failed: their replicas would copy their emptiness.

#![allow(clippy::unwrap_used, reason = "what is missing here fails the test, as it should")]

mod alone;
mod promoted;
mod returning;

use std::time::Duration;

use crate::support::fleet::{Fleet, Recipe};
pub(crate) use crate::support::keys::{assert_keys, keys, write_keys};
use crate::support::pod::Pod;
use crate::support::server::{Server, servers};
use crate::support::wait::wait_ok;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
/// What the log and the probes say of a server that is not started yet.
const HELD: &str = "it would start as a master without its data";

/// Three masters with a replica each, in memory only; a failover by the cluster itself would
/// come 15 s after a kill.
pub(crate) fn recipe(server: &Server) -> Recipe {
    Recipe {
        node_timeout: Duration::from_secs(15),
        conf: vec!["appendonly no".to_owned(), "save \"\"".to_owned()],
        ..Recipe::wrapped(server, 3)
    }
}

/// A cluster of that kind that is whole, with keys in all shards, which the replicas have too.
#[track_caller]
fn fleet_with_keys(server: &Server) -> Fleet {
    with_keys(Fleet::started(&recipe(server)))
}

/// The same of any kind.
#[track_caller]
fn with_keys(fleet: Fleet) -> Fleet {
    fleet.wait_whole(LIMIT);
    write_keys(&fleet);
    fleet
}

/// The oldest version and the newest of the last kind, at once, since it mostly waits.
fn in_two_versions(check: impl Fn(&Server) + Sync) {
    let servers = servers();
    let (first, last) = (&servers[0], &servers[servers.len() - 1]);
    std::thread::scope(|scope| {
        scope.spawn(|| check(first));
        if first != last {
            scope.spawn(|| check(last));
        }
    });
}

/// The cluster's epoch, as the pod knows it: each failover makes it grow by one.
#[track_caller]
fn epoch(pod: &Pod) -> u64 {
    pod.field(&["CLUSTER", "INFO"], "cluster_current_epoch").unwrap().parse().unwrap()
}

/// Waits until the pod says this of why its server is not started: alive, and not ready.
#[track_caller]
fn wait_held(pod: &Pod, why: &str) {
    wait_ok(LIMIT, &format!("{} to be held: {why}", pod.name()), || {
        let (live, ready) = (pod.http("/livez")?, pod.http("/readyz")?);
        let said = live.body.contains(HELD) && ready.body.contains(HELD);
        let so = (live.status, ready.status) == (200, 503) && said && ready.body.contains(why);
        if so { Ok(()) } else { Err(format!("{live:?} {ready:?}")) }
    });
}

#[track_caller]
fn assert_log(pod: &Pod, text: &str) {
    let log = pod.log();
    assert!(log.contains(text), "{text} is not in the log of {}:\n{log}", pod.name());
}

#[track_caller]
pub(crate) fn wait_role(pod: &Pod, role: &str) {
    wait_ok(LIMIT, &format!("{} to be a {role}", pod.name()), || {
        let found = pod.field(&["INFO", "replication"], "role")?;
        if found == role { Ok(()) } else { Err(found) }
    });
}
