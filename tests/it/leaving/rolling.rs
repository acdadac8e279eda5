//! Rolling restarts, as a StatefulSet does them: the highest ordinal first, each pod deleted only
//! when the one before it is ready again, at a new address; with a writer on each shard.

use super::*;
use crate::forming::names::Named;
use crate::forming::ordered::{Published, form_in_order, publish, wait_ready, wait_whole};
use crate::forming::ready;
use crate::support::process::{rest, send};
use crate::support::server::{any_server, servers};
use crate::support::writer::{Pace, Writers, every_shard_has_a_copy};

/// Of the writer of each shard.
pub(super) const PACE: Pace = Pace { batch: 1, pause: Duration::from_millis(2) };

/// What a shard may be without an acknowledged write at most. A hand-over takes milliseconds, a busy
/// machine some hundreds of them. A master that is restarted without one takes no write for more than
/// this after its start (`CLUSTER_WRITABLE_DELAY`, 2 s), and was away before; an election takes the
/// node timeout as well.
pub(super) const GAP_MAX: Duration = Duration::from_secs(2);

/// Restarts every pod, each back after `away`, and the next one as soon as it says that it is ready.
#[track_caller]
pub(super) fn roll(fleet: &mut Fleet, away: Duration) {
    let (start, mut masters) = (newest_epoch(fleet), 0);
    for ordinal in (0..fleet.pods.len()).rev() {
        let before = Before::look(fleet, ordinal);
        assert_eq!(fleet.pods[ordinal].stop().code(), Some(0));
        before.assert_handed_over(fleet);
        masters += u64::from(before.is_master);
        rest(away);
        fleet.swap_address(ordinal);
        fleet.pods[ordinal].start();
        wait_ok(LIMIT, &format!("redis-{ordinal} to be ready"), || ready(&fleet.pods[ordinal]));
        // A server that comes back as a replica reports a master for its first moments.
        let log = fleet.pods[ordinal].log_since(before.log_len);
        assert!(!log.contains(" ready: a master"), "redis-{ordinal}: {log}");
    }
    assert_eq!(every_shard_has_a_copy(fleet), Ok(()));
    assert_eq!(newest_epoch(fleet), start + masters, "nobody is elected as pods come back");
}

/// A pod that is told to stop next, in a cluster where that is safe.
struct Before {
    ordinal: usize,
    is_master: bool,
    epoch: u64,
    log_len: usize,
}

impl Before {
    #[track_caller]
    fn look(fleet: &Fleet, ordinal: usize) -> Self {
        assert_eq!(every_shard_has_a_copy(fleet), Ok(()));
        let pod = &fleet.pods[ordinal];
        let is_master = role(pod).expect("it answers") == "master";
        Self { ordinal, is_master, epoch: newest_epoch(fleet), log_len: pod.log().len() }
    }

    /// A master that has left since was taken over from, by one failover; of a replica there was none.
    #[track_caller]
    fn assert_handed_over(&self, fleet: &Fleet) {
        let pod = &fleet.pods[self.ordinal];
        let log = pod.log_since(self.log_len);
        let said: Vec<&str> = log.lines().filter(|it| it.contains("has taken over: ")).collect();
        println!("{}: {}: {said:?}", pod.server.name, pod.name());
        assert_eq!(said.len(), usize::from(self.is_master), "{}: {log}", pod.name());
        assert_eq!(newest_epoch(fleet), self.epoch + u64::from(self.is_master), "{}", pod.name());
    }
}

/// No acknowledged write is lost, and no shard was without a master for as long as a restart or an
/// election takes.
#[track_caller]
fn rolls_under_load(fleet: &mut Fleet, away: Duration) {
    let writers = Writers::start(fleet, PACE);
    roll(fleet, away);
    fleet.wait_whole(LIMIT);
    assert_written(fleet, writers);
}

#[track_caller]
pub(super) fn assert_written(fleet: &Fleet, writers: Writers) {
    let written = writers.end();
    let name = &fleet.pods[0].server.name;
    for written in written {
        let (count, gap) = (written.acknowledged.len(), written.longest_gap());
        println!("{name}: {count} writes, {gap:?} without one at most");
        assert_eq!(written.lost(fleet), Ok(0));
        assert!(gap < GAP_MAX, "{name}: {gap:?}");
    }
}

#[test]
fn rolling_restart_under_load_loses_nothing() {
    in_every_version(|server| {
        let mut fleet = formed(server);
        rolls_under_load(&mut fleet, Duration::from_millis(500));
        // The roles have moved by then.
        rolls_under_load(&mut fleet, Duration::from_millis(500));
    });
}

#[test]
fn rolling_restart_with_pods_away_for_longer_than_the_node_timeout_loses_nothing() {
    let node_timeout = Duration::from_secs(5);
    let mut fleet = Fleet::new(&six(&any_server(), node_timeout));
    form(&mut fleet);
    wait_all_ready(&fleet);
    rolls_under_load(&mut fleet, node_timeout + Duration::from_secs(3));
}

#[test]
fn upgrade_by_a_rolling_restart_loses_nothing() {
    let servers = servers();
    for pair in servers.windows(2).filter(|pair| pair[0].kind() == pair[1].kind()) {
        let mut fleet = formed(&pair[0]);
        let writers = Writers::start(&fleet, PACE);
        fleet.pods.iter_mut().for_each(|pod| pod.server = pair[1].clone());
        roll(&mut fleet, Duration::from_millis(500));
        fleet.wait_whole(LIMIT);
        assert_written(&fleet, writers);
    }
}

#[test]
fn rolling_restart_where_only_ready_pods_are_published_loses_nothing() {
    let what = "a rolling restart where only ready pods are published";
    let Some(mut named) = Named::new(what, "10.77.0.", "redis") else { return };
    form_in_order(&mut named, Published::Ready);
    let writers = Writers::start(&named.fleet, PACE);
    for ordinal in (0..named.fleet.pods.len()).rev() {
        let before = Before::look(&named.fleet, ordinal);
        named.fleet.pods[ordinal].signal(Signal::SIGTERM);
        publish(&named, Published::Ready);
        assert!(named.fleet.pods[ordinal].wait_exit(LIMIT).success());
        before.assert_handed_over(&named.fleet);
        named.fleet.swap_address(ordinal);
        named.fleet.pods[ordinal].start();
        wait_ready(&named, Published::Ready, ordinal);
    }
    wait_whole(&named, Published::Ready);
    assert_written(&named.fleet, writers);
}

#[test]
fn master_that_is_cut_off_from_pods_that_exist_is_not_ready() {
    let Some(mut named) = Named::new("a pod that is cut off", "10.77.0.", "redis") else { return };
    named.publish(&named.ips);
    named.fleet.start_all();
    named.wait_formed();
    named.fleet.pods[0].kill();
    let others: Vec<u32> = named.fleet.pods[1..].iter().filter_map(Pod::server_pid).collect();
    others.iter().for_each(|pid| send(*pid, Signal::SIGSTOP));
    named.fleet.pods[0].start();
    let pod = &named.fleet.pods[0];
    wait_ok(LIMIT, "a server that believes itself well", || {
        let state = pod.field(&["CLUSTER", "INFO"], "cluster_state")?;
        let ready = status(pod)?.probes.ready;
        assert!(!ready.ok, "{ready:?}");
        let told = ready.reason.contains("1 of the 3 masters answer");
        if told && state == "ok" { Ok(()) } else { Err(format!("{state}, {ready:?}")) }
    });
    others.iter().for_each(|pid| send(*pid, Signal::SIGCONT));
    named.wait_formed();
}

#[test]
fn master_that_was_replaced_is_ready_as_a_replica_only() {
    let mut fleet = Fleet::new(&six(&any_server(), Duration::from_secs(3)));
    form(&mut fleet);
    wait_all_ready(&fleet);
    let successor = replica_of(&fleet, 0);
    fleet.pods[0].kill();
    wait_role(&fleet.pods[successor], "master");
    fleet.pods[0].start();
    let ready = wait_ok(LIMIT, "readiness", || {
        let ready = status(&fleet.pods[0])?.probes.ready;
        if ready.ok { Ok(ready.reason) } else { Err(ready.reason) }
    });
    assert!(ready.contains("a replica"), "{ready}");
    fleet.wait_whole(LIMIT);
    assert_keys(&fleet);
}
