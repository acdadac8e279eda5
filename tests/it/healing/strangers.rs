//! Somebody else answers where a pod is looked for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use crate::support::fleet::Fleet;
use crate::support::pod::{PORT, Pod, Program};
use crate::support::wait::wait_ok;

use super::{
    BRISK, HASTY, LIMIT, PATIENT, all_to, as_drop_in, assert_keys, formed, formed_on_own_addresses,
    held, ids, in_every_version, lose_volume, readdress, s, say, wait_healed, wait_held,
};

/// Has every pod of both find the pods of both.
fn mix_names(one: &mut Fleet, other: &mut Fleet) {
    let pods = one.pods.iter().chain(&other.pods);
    let found: Vec<String> = pods.map(|pod| format!("{}:{PORT}", pod.ip)).collect();
    set_names(one, &found);
    set_names(other, &found);
}

fn set_names(fleet: &mut Fleet, found: &[String]) {
    for pod in &mut fleet.pods {
        pod.env.insert("REJOIN_PEERS".to_owned(), found.join(","));
    }
}

/// Nobody of the fleet knows anybody but these.
fn knows_only(fleet: &Fleet, own: &BTreeSet<String>) -> Result<(), String> {
    fleet.pods.iter().try_for_each(|pod| {
        let Ok(view) = pod.view() else { return Ok(()) };
        // The id of a handshake is random.
        let alien =
            view.nodes.values().find(|node| !own.contains(&node.id) && !node.is("handshake"));
        alien.map_or(Ok(()), |node| Err(format!("{} knows {node:?}", pod.name())))
    })
}

/// Waits until both are whole, and panics as soon as one knows anybody of the other.
#[track_caller]
fn wait_apart(one: &Fleet, other: &Fleet, own: [&BTreeSet<String>; 2]) {
    wait_ok(LIMIT, "two healthy clusters", || {
        knows_only(one, own[0]).unwrap();
        knows_only(other, own[1]).unwrap();
        one.whole().and_then(|()| other.whole())
    });
    knows_only(one, own[0]).unwrap();
    knows_only(other, own[1]).unwrap();
}

fn ips(fleet: &Fleet) -> Vec<IpAddr> {
    fleet.pods.iter().map(|pod| pod.ip).collect()
}

#[test]
fn two_clusters_that_exchange_all_addresses_stay_two() {
    in_every_version(|server| {
        for drop_in in [false, true] {
            let (mut one, mut other) = (formed(server, BRISK), formed(server, BRISK));
            if drop_in {
                as_drop_in(&mut one);
                as_drop_in(&mut other);
            }
            let own = [&ids(&one), &ids(&other)];
            mix_names(&mut one, &mut other);
            let (to_other, to_one) = (ips(&other), ips(&one));
            one.pods.iter_mut().chain(&mut other.pods).for_each(|pod| _ = pod.kill());
            for (pod, ip) in one.pods.iter_mut().zip(&to_other) {
                pod.ip = *ip;
            }
            for (pod, ip) in other.pods.iter_mut().zip(&to_one) {
                pod.ip = *ip;
            }
            let start = Instant::now();
            one.start_all();
            other.start_all();
            wait_apart(&one, &other, own);
            say(
                &one,
                &format!("two clusters exchange addresses: whole after {}", s(start.elapsed())),
            );
            assert_keys(&one);
            assert_keys(&other);
        }
    });
}

#[test]
fn cluster_that_comes_to_addresses_which_another_left_stays_apart_from_it() {
    in_every_version(|server| {
        let (mut one, mut other) = (formed(server, HASTY), formed(server, HASTY));
        let own = [&ids(&one), &ids(&other)];
        let (left, spare) = (ips(&one), one.spare.clone());
        // The names of the first still lead to where it was.
        readdress(&mut one, &all_to(&spare));
        readdress(&mut other, &all_to(&left));
        let found: Vec<String> =
            left.iter().chain(&other.spare).map(|ip| format!("{ip}:{PORT}")).collect();
        for pod in &mut other.pods {
            pod.kill();
            pod.env.insert("REJOIN_PEERS".to_owned(), found.join(","));
            pod.start();
        }
        wait_apart(&one, &other, own);
        assert_keys(&one);
        assert_keys(&other);
    });
}

#[test]
fn fresh_pod_that_finds_only_another_cluster_does_not_join_it() {
    in_every_version(|server| {
        let mut one = formed_on_own_addresses(server, HASTY);
        let other = formed_on_own_addresses(server, HASTY);
        let theirs = ids(&other);
        // The whole of it, and a single pod of it.
        for found in [6, 1] {
            let names: Vec<String> =
                other.pods[..found].iter().map(|pod| pod.address().to_string()).collect();
            let pod = &mut one.pods[5];
            pod.kill();
            lose_volume(pod);
            let right = pod.env.insert("REJOIN_PEERS".to_owned(), names.join(","));
            pod.start();
            wait_ok(LIMIT, "the pod to say why it does not join", || {
                let kinds = held(&one.pods[5])?;
                let said = kinds.iter().any(|kind| kind == "no_seat" || kind == "part_of_cluster");
                if said { Ok(()) } else { Err(format!("{kinds:?}")) }
            });
            assert_eq!(one.pods[5].view().unwrap().nodes.len(), 1);
            knows_only(&other, &theirs).unwrap();
            let pod = &mut one.pods[5];
            pod.kill();
            pod.env.insert("REJOIN_PEERS".to_owned(), right.expect("it was set"));
            pod.start();
            one.wait_whole(LIMIT);
        }
        knows_only(&other, &theirs).unwrap();
        other.assert_whole();
    });
}

#[test]
fn id_at_two_addresses_is_held_until_one_is_gone() {
    in_every_version(|server| {
        let mut fleet = formed(server, PATIENT);
        // A copy of a volume, as of a snapshot that was restored beside its pod.
        let mut copy = Pod::new(Program::Bare, server, fleet.dir(), 77, fleet.spare[5]);
        copy.conf = fleet.pods[5].conf.clone();
        let from = fleet.pods[5].data();
        std::fs::copy(from.join("nodes.conf"), copy.data().join("nodes.conf")).unwrap();
        // A replica may not have heard its master's shard id yet, and bare servers refuse that.
        assert!(copy.rejoin(&["fix", "--nodes-conf", "nodes.conf"]).status.success());
        let spare = fleet.spare[0];
        copy.start();
        copy.wait_answers(LIMIT);
        readdress(&mut fleet, &[(0, spare)]);
        wait_held(&fleet.pods[0], "same_id");
        drop(copy);
        wait_healed(&fleet, "an id at two addresses", Instant::now());
    });
}
