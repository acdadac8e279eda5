//! Empty pods become one cluster by themselves, whatever happens meanwhile; and what must not be
//! formed is not.

mod announced;
mod faults;
mod held;
pub(crate) mod later;
pub(crate) mod names;
mod nodeport;
pub(crate) mod ordered;
mod scaled;
mod whole;

use std::fmt::Debug;
use std::time::Duration;

use rejoin::status::Status;

use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::server::{Server, servers};
use crate::support::wait::wait_ok;

/// The longest that any one state may take to come, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Wrapped servers with one replica each, which do not wait before a first sync.
pub(crate) fn recipe(server: &Server, shards: usize) -> Recipe {
    let conf = vec!["repl-diskless-sync-delay 0".to_owned()];
    Recipe { conf, ..Recipe::wrapped(server, shards) }
}

/// The same with every version at once, since it mostly waits.
pub(crate) fn in_every_version(check: impl Fn(&Server) + Sync) {
    let servers = servers();
    std::thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| check(server));
        }
    });
}

/// `REJOIN_PEERS` lists the pods' own addresses only: a fresh pod joins a cluster once most of what
/// is listed belongs to it, and spare addresses never will.
pub(crate) fn forget_spares(fleet: &mut Fleet) {
    let peers: Vec<String> = fleet.pods.iter().map(|pod| pod.address().to_string()).collect();
    for pod in &mut fleet.pods {
        pod.env.insert("REJOIN_PEERS".to_owned(), peers.join(","));
    }
}

/// Loses the volume of a pod that was killed. A child that its server had just forked may still
/// write a last file.
#[track_caller]
pub(crate) fn lose_volume(pod: &Pod) {
    wait_ok(LIMIT, "the volume to be removed", || std::fs::remove_dir_all(pod.data()));
    std::fs::create_dir(pod.data()).expect("its parent is ours");
}

/// What the pod says of itself.
pub(crate) fn status(pod: &Pod) -> Result<Status, String> {
    let body = pod.http("/status")?.body;
    serde_json::from_str(&body).map_err(|error| format!("{}: {error}: {body}", pod.name()))
}

/// The `held[].kind` of a pod's status, without doubles.
pub(crate) fn held(pod: &Pod) -> Result<Vec<String>, String> {
    let mut kinds: Vec<String> = status(pod)?.held.into_iter().map(|held| held.kind).collect();
    kinds.sort();
    kinds.dedup();
    Ok(kinds)
}

/// Whether the pod is ready, by the probe over HTTP and by the command.
pub(crate) fn ready(pod: &Pod) -> Result<(), String> {
    let answer = pod.http("/readyz")?;
    if answer.status != 200 {
        return Err(format!("{}: {}", pod.name(), answer.body));
    }
    let output = pod.rejoin(&["ready"]);
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", pod.name(), String::from_utf8_lossy(&output.stdout)))
}

#[track_caller]
pub(crate) fn wait_all_ready(fleet: &Fleet) {
    wait_ok(LIMIT, "every pod to be ready", || fleet.pods.iter().try_for_each(ready));
}

/// Waits until the pod is ready only because it waits for others, of whom it sees so many.
#[track_caller]
fn wait_waiting(pod: &Pod, seen: &str) {
    wait_ok(LIMIT, &format!("{} to wait, with {seen}", pod.name()), || {
        let ready = status(pod)?.probes.ready;
        let waits = ready.ok && ready.reason.contains(&format!("waits for other pods: {seen}"));
        if waits { Ok(()) } else { Err(format!("{ready:?}")) }
    });
}

/// Waits until the pod holds nothing.
#[track_caller]
pub(crate) fn wait_nothing_held(pod: &Pod) {
    wait_ok(LIMIT, &format!("{} to hold nothing", pod.name()), || {
        let kinds = held(pod)?;
        if kinds.is_empty() { Ok(()) } else { Err(format!("{kinds:?}")) }
    });
}

/// Waits until the pod says in its status and in its log that this kind of thing is held.
#[track_caller]
pub(crate) fn wait_held(pod: &Pod, kind: &str) {
    wait_ok(LIMIT, &format!("{} to hold {kind}", pod.name()), || {
        let status = status(pod)?;
        let Some(held) = status.held.iter().find(|held| held.kind == kind) else {
            return Err(format!("{:?}, {:?}", status.held, status.probes.ready));
        };
        let is_logged = pod.log().contains(&held.reason);
        if is_logged { Ok(()) } else { Err(format!("not in the log: {}", held.reason)) }
    });
}

/// Nobody knows anybody, and nobody has taken a slot that it did not have.
#[track_caller]
fn assert_nothing_formed(pods: &[Pod]) {
    for pod in pods.iter().filter(|pod| pod.is_started()) {
        let view = pod.view().expect("its view");
        assert_eq!(view.nodes.len(), 1, "{} knows others: {view:?}", pod.name());
        assert_eq!(view.me().slot_count(), 0, "{} has slots: {view:?}", pod.name());
    }
}

#[track_caller]
fn assert_same<T: Debug + PartialEq>(pod: &Pod, found: T, expected: T) {
    assert_eq!(found, expected, "{}", pod.name());
}
