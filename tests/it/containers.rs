//! The image and the manifests, in real containers: what is shipped is what is tested. The images
//! are built by `scripts/images`; commands, variables, probes, volumes and rights are those of the
//! rendered overlays.
//!
//! In reading order:
//! - [`kubelet`]: probes on their own schedule;
//! - [`access`]: how the tests get into servers that are locked;
//! - [`secret`]: a Secret as it is mounted, and as it changes;
//! - [`cert_manager`]: what is in one that cert-manager makes;
//! - [`set`]: a StatefulSet, pod by pod;
//! - [`load`]: writers, and what they lost;
//! - [`leaks`]: what pods show, and no secret in it;
//! - the rest are tests.

mod access;
mod cert_manager;
mod faults;
mod flood;
mod image;
mod kubelet;
mod leaks;
mod life;
mod load;
mod locked;
mod migrating;
mod mistakes;
mod moving;
mod overlays;
mod renewal;
mod secret;
mod set;
mod signals;
mod upgrade;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::manifests::rendered::Rendered;
use crate::support::engine::{Network, versions};

use load::{Load, assert_keys, assert_none_lost};
use set::Set;

/// The longest that any one state may take to come, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// One test at a time, since each runs two dozen containers.
static ALONE: Mutex<()> = Mutex::new(());

/// Checks every version at once, since that mostly waits.
fn each_version(versions: &[String], check: impl Fn(&str) + Sync) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for version in versions {
            scope.spawn(|| check(version));
        }
    });
}

/// The newest Redis and the newest Valkey, for what is all about files, and who reads them.
fn newest() -> Vec<String> {
    let kind = |version: &str| version.split('-').next().unwrap_or_default().to_owned();
    // In order, so that the newest of a kind stays.
    let newest: BTreeMap<String, String> =
        versions().into_iter().map(|version| (kind(&version), version)).collect();
    newest.into_values().collect()
}

/// What `kubectl apply -k k8s` applies, in every version.
fn in_every_version(check: impl Fn(Set) + Sync) {
    let Some(rendered) = Rendered::of("k8s") else { return };
    each_version(&versions(), |version| {
        check(Set::new(rendered.clone(), version, Network::new()));
    });
}

/// A set whose pods have formed a cluster.
fn formed(mut set: Set) -> Set {
    set.create_all();
    set.wait_whole();
    set
}

/// Deletes all pods at once and creates them on new addresses, where they have these keys again.
#[track_caller]
fn come_back(set: &mut Set, keys: usize) {
    for ended in set.delete_all() {
        assert_eq!(ended.code, 0, "{}: {}", set.version, ended.log);
    }
    set.create_all();
    set.wait_whole();
    assert_keys(set, keys);
}

/// What a master says whose replica has its slots before it stops.
const HANDED_OVER: &str = " has taken over: ";

/// The manifest's `cluster-node-timeout`: no failover takes less.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);

/// Replaces the pods as a rolling update does, under load: from the last to the first, each when the
/// one before is ready. Every master hands over, so no failover is waited for; nothing is lost.
#[track_caller]
fn roll(set: &mut Set, keys: usize) {
    let load = Load::start(set);
    for ordinal in (0..6).rev() {
        let slots = set.pods[&ordinal].view().expect("its view").me().slot_count();
        let ended = set.replace(ordinal);
        assert_eq!(ended.code, 0, "redis-{ordinal} on {}: {}", set.version, ended.log);
        let has_handed_over = ended.log.contains(HANDED_OVER);
        assert_eq!(has_handed_over, slots > 0, "{}: {}", set.version, ended.log);
        set.wait_ready(ordinal);
        assert_keys(set, keys);
    }
    set.wait_whole();
    let seen = load.end();
    println!("{}: each replaced in turn: {seen:?}", set.version);
    assert!(seen.iter().all(|seen| seen.gap < NODE_TIMEOUT), "{}: {seen:?}", set.version);
    assert_none_lost(set, &seen);
    assert_keys(set, keys);
}
