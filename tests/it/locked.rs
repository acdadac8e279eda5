//! Servers that are locked down: no plain port, mutual TLS with certificates that name no address,
//! no user `default`, and a user of `rejoin`'s own with the least rights.

mod again;
mod certificates;
mod default_user;
mod leaks;
mod moving;
mod passwords;
mod rights;

use std::path::PathBuf;

use crate::forming::{ready, recipe, status};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::lock::Lock;
use crate::support::pod::Pod;
use crate::support::server::Server;
use crate::support::wait::wait_ok;

use crate::forming::{LIMIT, forget_spares, lose_volume, wait_all_ready, wait_nothing_held};

/// So many shards of locked-down servers, not started.
fn fleet(server: &Server, shards: usize, replicas: usize) -> Fleet {
    Fleet::new(&Recipe { lock: Lock::Locked, replicas, ..recipe(server, shards) })
}

/// A cluster of one pod, not started.
fn alone(server: &Server) -> Fleet {
    fleet(server, 1, 0)
}

/// The same, ready.
#[track_caller]
fn well(server: &Server) -> Fleet {
    let mut fleet = alone(server);
    fleet.start_all();
    wait_all_ready(&fleet);
    fleet
}

/// Waits until the pod is alive, and not ready for a reason with all of these words.
#[track_caller]
fn wait_doubt(pod: &Pod, words: &[&str]) {
    wait_ok(LIMIT, &format!("{} to say {words:?}", pod.name()), || {
        let probes = status(pod)?.probes;
        let said = words.iter().all(|word| probes.ready.reason.contains(word));
        let so = probes.live.ok && !probes.ready.ok && said;
        if so { Ok(()) } else { Err(format!("{:?} {:?}", probes.live, probes.ready)) }
    });
}

/// Waits until a step of the pod has failed for a reason with all of these words.
#[track_caller]
fn wait_failed_step(pod: &Pod, words: &[&str]) {
    wait_held_for(pod, "failed_step", words);
}

/// Waits until the pod holds something of this kind for a reason with all of these words.
#[track_caller]
fn wait_held_for(pod: &Pod, kind: &str, words: &[&str]) {
    wait_ok(LIMIT, &format!("{} to hold {kind} for {words:?}", pod.name()), || {
        let held = status(pod)?.held;
        let said = |reason: &str| words.iter().all(|word| reason.contains(word));
        let so = held.iter().any(|held| held.kind == kind && said(&held.reason));
        if so { Ok(()) } else { Err(format!("{held:?}")) }
    });
}

/// The line of the pod's `redis.conf` that sets an option last, as `rejoin` names it.
fn place(pod: &Pod, option: &str) -> String {
    let conf = std::fs::read_to_string(pod.conf_file()).unwrap();
    let is_it = |line: &str| line.split(' ').next() == Some(option);
    let lines: Vec<&str> = conf.lines().collect();
    let number = lines.iter().rposition(|line| is_it(line)).unwrap() + 1;
    format!("{option} in {}:{number}", pod.conf_file().display())
}

/// The pod comes back on an empty volume.
#[track_caller]
fn restart_empty(pod: &mut Pod) {
    pod.kill();
    lose_volume(pod);
    pod.start();
}

/// A file of the fleet: `ca.crt`, `server.crt`, `server.key`, `users.acl`, `password`.
fn file(fleet: &Fleet, name: &str) -> PathBuf {
    fleet.dir().join(name)
}

/// A cluster of six whose last pod has a secret of its own, which is wrong for a while: that pod says
/// so with all of these words, and the others do not notice.
#[track_caller]
fn one_of_six_is_in_doubt(
    fleet: &Fleet,
    spoil: impl FnOnce(),
    words: &[&str],
    mend: impl FnOnce(),
) {
    let (odd, pid) = (&fleet.pods[5], fleet.pods[5].server_pid());
    spoil();
    disconnect(odd);
    wait_doubt(odd, words);
    wait_ok(LIMIT, "it to be in the log", || {
        let log = odd.log();
        if words.iter().all(|word| log.contains(word)) { Ok(()) } else { Err(log) }
    });
    // The servers know nothing of it, and neither do the other pods.
    fleet.assert_whole();
    for pod in &fleet.pods[..5] {
        ready(pod).unwrap();
        wait_nothing_held(pod);
    }
    mend();
    wait_all_ready(fleet);
    assert_eq!(odd.server_pid(), pid, "the server was started once");
}

/// Has `rejoin` connect to its own server anew.
#[track_caller]
fn disconnect(pod: &Pod) {
    pod.redis(&["CLIENT", "KILL", "USER", "keeper"]).unwrap();
}
