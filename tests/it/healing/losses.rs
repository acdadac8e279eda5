//! What is sent is lost without a word, where processes on one machine would hear that nobody is
//! there: pods that are cut off, nodes that are gone.

use std::time::{Duration, Instant};

use crate::chaos::{Fault, Kind, Setup, Stage};
use crate::support::fleet::Fleet;
use crate::support::pod::Pod;
use crate::support::rng::Rng;
use crate::support::server::{Server, any_server};
use crate::support::wait::wait_ok;

use super::{
    HASTY, LIMIT, PATIENT, assert_keys, id, in_every_version, seats, wait_all_ready, wait_healed,
    wait_held, write_keys,
};

/// Three masters with a replica each, every pod in a network of its own, with keys.
fn formed(server: &Server, node_timeout: Duration) -> Option<Stage> {
    let stage = Stage::new(server, Setup::plain(node_timeout))?;
    write_keys(stage.fleet());
    Some(stage)
}

fn fault(kind: Kind, pods: &[usize]) -> Fault {
    Fault { kind, pods: pods.to_vec(), time: Duration::ZERO }
}

/// Waits until this pod is a master with slots.
fn wait_serves(pod: &Pod) {
    wait_ok(LIMIT, &format!("{} to serve", pod.name()), || {
        let slots = pod.view()?.me().slot_count();
        if slots > 0 { Ok(()) } else { Err("no slots".to_owned()) }
    });
}

fn wait_fails(pod: &Pod) {
    wait_ok(LIMIT, &format!("{} to stop serving", pod.name()), || {
        let state = pod.field(&["CLUSTER", "INFO"], "cluster_state")?;
        if state == "fail" { Ok(()) } else { Err(state) }
    });
}

fn assert_follows(fleet: &Fleet, replica: usize, master: usize) {
    let view = fleet.pods[replica].view().expect("its view");
    assert!(view.me().master_is(&id(&fleet.pods[master])), "{view:?}");
}

#[test]
fn master_that_was_cut_off_follows_its_successor_once_it_is_heard_again() {
    in_every_version(|server| {
        for kind in [Kind::CutOff, Kind::Mute] {
            let Some(mut stage) = formed(server, HASTY) else { return };
            // With another shard's replica, which cannot elect anybody.
            let cut = fault(kind, &[0, 4]);
            stage.begin(&cut);
            wait_serves(&stage.fleet().pods[3]);
            if kind == Kind::CutOff {
                wait_fails(&stage.fleet().pods[0]);
            }
            stage.end(&cut, &mut Rng::new(0));
            wait_healed(stage.fleet(), &format!("{} over", kind.name()), Instant::now());
            assert_follows(stage.fleet(), 0, 3);
            wait_all_ready(stage.fleet());
            assert_keys(stage.fleet());
        }
    });
}

#[test]
fn shard_that_was_cut_off_as_a_whole_serves_again() {
    in_every_version(|server| {
        let Some(mut stage) = formed(server, HASTY) else { return };
        // Here is no majority, and there no replica of this master.
        let cut = fault(Kind::CutOff, &[0, 3]);
        stage.begin(&cut);
        stage.fleet().pods.iter().for_each(wait_fails);
        stage.end(&cut, &mut Rng::new(0));
        wait_healed(stage.fleet(), "a whole shard cut off", Instant::now());
        wait_all_ready(stage.fleet());
        assert_keys(stage.fleet());
    });
}

#[test]
fn all_nodes_lost_and_pods_on_new_addresses_heal_without_a_failover() {
    in_every_version(|server| {
        let Some(mut stage) = formed(server, PATIENT) else { return };
        let before = seats(stage.fleet());
        let lost = fault(Kind::NodeLost, &[0, 1, 2, 3, 4, 5]);
        stage.begin(&lost);
        let start = Instant::now();
        stage.end(&lost, &mut Rng::new(1));
        wait_healed(stage.fleet(), "all nodes lost", start);
        assert_eq!(seats(stage.fleet()), before);
        wait_all_ready(stage.fleet());
        assert_keys(stage.fleet());
    });
}

#[test]
fn nodes_lost_while_no_name_is_answered_heal_once_they_are() {
    for kind in [Kind::NamesSilent, Kind::NamesFail] {
        let Some(mut stage) = formed(&any_server(), HASTY) else { return };
        let (names, lost) = (fault(kind, &[]), fault(Kind::NodeLost, &[0, 1, 2, 3, 4, 5]));
        stage.begin(&names);
        stage.begin(&lost);
        stage.end(&lost, &mut Rng::new(1));
        stage.fleet().pods.iter().for_each(|pod| wait_held(pod, "resolver_failed"));
        stage.fleet().pods.iter().for_each(wait_fails);
        stage.end(&names, &mut Rng::new(1));
        wait_healed(stage.fleet(), kind.name(), Instant::now());
        wait_all_ready(stage.fleet());
        assert_keys(stage.fleet());
    }
}
