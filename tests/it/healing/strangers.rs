//! Somebody else answers where a pod is looked for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::{PORT, Pod, Program};
use crate::support::server::{Server, any_server};
use crate::support::wait::wait_ok;

use super::{
    BRISK, HASTY, LIMIT, PATIENT, all_to, as_drop_in, assert_keys, find_only, form, formed,
    formed_on_own_addresses, held, id, ids, in_every_version, keys, lose_volume, readdress, s, say,
    seats, six, wait_all_ready, wait_healed, wait_held,
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

/// The recipe of six with this password.
fn six_with(server: &Server, node_timeout: Duration, password: &str) -> Recipe {
    Recipe { password: Some(password.to_owned()), ..six(server, node_timeout) }
}

fn formed_of(recipe: &Recipe) -> Fleet {
    let mut fleet = Fleet::new(recipe);
    form(&mut fleet);
    fleet
}

#[track_caller]
fn exchange_all_addresses(mut one: Fleet, mut other: Fleet) {
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
    say(&one, &format!("two clusters exchange addresses: whole after {}", s(start.elapsed())));
    assert_keys(&one);
    assert_keys(&other);
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
            exchange_all_addresses(one, other);
        }
    });
}

#[test]
fn two_clusters_with_one_password_that_exchange_all_addresses_stay_two() {
    let [one, other] = [(); 2].map(|()| formed_of(&six_with(&any_server(), BRISK, "ours")));
    exchange_all_addresses(one, other);
}

#[test]
fn two_clusters_with_a_password_each_that_exchange_all_addresses_stay_two() {
    let [one, other] =
        ["ours", "theirs"].map(|password| formed_of(&six_with(&any_server(), BRISK, password)));
    exchange_all_addresses(one, other);
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

/// The last pod of `one` comes back without its volume, and finds so many pods of the other and
/// nobody else: it does not join, and says why.
#[track_caller]
fn find_only_another(mut one: Fleet, other: &Fleet, found: &[usize], says: &[&str]) {
    let theirs = ids(other);
    for found in found {
        let names: Vec<String> =
            other.pods[..*found].iter().map(|pod| pod.address().to_string()).collect();
        let pod = &mut one.pods[5];
        pod.kill();
        lose_volume(pod);
        let right = pod.env.insert("REJOIN_PEERS".to_owned(), names.join(","));
        pod.start();
        wait_ok(LIMIT, "the pod to say why it does not join", || {
            let kinds = held(&one.pods[5])?;
            let said = kinds.iter().any(|kind| says.contains(&kind.as_str()));
            if said { Ok(()) } else { Err(format!("{kinds:?}")) }
        });
        assert_eq!(one.pods[5].view().unwrap().nodes.len(), 1);
        knows_only(other, &theirs).unwrap();
        let pod = &mut one.pods[5];
        pod.kill();
        pod.env.insert("REJOIN_PEERS".to_owned(), right.expect("it was set"));
        pod.start();
        one.wait_whole(LIMIT);
    }
    knows_only(other, &theirs).unwrap();
    other.assert_whole();
}

#[test]
fn fresh_pod_that_finds_only_another_cluster_does_not_join_it() {
    in_every_version(|server| {
        let [one, other] = [HASTY; 2].map(|timeout| formed_on_own_addresses(server, timeout));
        // The whole of it, and a single pod of it.
        find_only_another(one, &other, &[6, 1], &["no_seat", "part_of_cluster"]);
    });
}

/// Formed on their own addresses, with a password.
fn formed_behind(password: &str) -> Fleet {
    let mut fleet = Fleet::new(&six_with(&any_server(), HASTY, password));
    find_only(&mut fleet, &[]);
    form(&mut fleet);
    fleet
}

#[test]
fn fresh_pod_that_finds_only_another_cluster_with_its_password_does_not_join_it() {
    let [one, other] = ["ours", "ours"].map(formed_behind);
    find_only_another(one, &other, &[6], &["no_seat", "part_of_cluster"]);
}

#[test]
fn fresh_pod_that_finds_only_another_cluster_with_another_password_does_not_join_it() {
    let [one, other] = ["ours", "theirs"].map(formed_behind);
    find_only_another(one, &other, &[6], &["unusable_peer"]);
}

/// A server of nobody's, where pod 0 is now. With a password nobody can copy it.
fn stranger_for_first(fleet: &Fleet, password: Option<&str>) -> Pod {
    let first = &fleet.pods[0];
    let mut stranger = Pod::new(Program::Bare, &first.server, fleet.dir(), 66, first.ip);
    stranger.conf.push("repl-diskless-sync-delay 0".to_owned());
    fleet.lock_alike(&mut stranger);
    if let Some(password) = password {
        // Users in a file would have it forgotten.
        stranger.conf.extend(["aclfile \"\"".to_owned(), format!("requirepass {password}")]);
        stranger.access.user = None;
        stranger.access.password = Some(password.to_owned());
    }
    stranger
}

/// Valkey 8.1 and later marks a node as failed as soon as another answers at its address, and
/// elects a successor at once by itself, whatever that one has copied.
pub(super) fn elects_by_itself(server: &Server) -> bool {
    server.kind() == "valkey" && server.is_at_least((8, 1))
}

#[test]
fn replica_of_a_master_whose_address_a_stranger_has_takes_over() {
    in_every_version(|server| {
        let mut fleet = formed(server, HASTY);
        let master = id(&fleet.pods[0]);
        let mut stranger = stranger_for_first(&fleet, Some("theirs"));
        fleet.pods[0].kill();
        let start = Instant::now();
        stranger.start();
        stranger.wait_answers(LIMIT);
        if server.is_at_least((7, 0)) {
            wait_ok(LIMIT, "the replica to take over", || {
                let view = fleet.pods[3].view()?;
                let slots = view.me().slot_count();
                let others = fleet.pods[1..].iter().all(|pod| {
                    pod.view().is_ok_and(|seen| seen.nodes[&view.myself].slot_count() == 5461)
                });
                let lost = || Err(format!("{:?}", view.nodes[&master]));
                if slots == 5461 && others { Ok(()) } else { lost() }
            });
            say(&fleet, &format!("stranger on a master's address: {}", s(start.elapsed())));
            let ordered = fleet.pods[3].log().contains(&format!("take over from {master}"));
            assert_eq!(ordered, !elects_by_itself(server), "who saw to it");
        } else {
            // It forgets whose data it has when the stranger refuses its login.
            wait_held(&fleet.pods[3], "master_gone");
        }
        assert_eq!(stranger.view().unwrap().nodes.len(), 1, "it was met");
        // And the pod comes back, elsewhere.
        fleet.pods[0].ip = fleet.spare[0];
        let start = Instant::now();
        fleet.pods[0].start();
        wait_healed(&fleet, "the former master back elsewhere", start);
        assert_eq!(stranger.view().unwrap().nodes.len(), 1, "it was met");
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

#[test]
fn master_that_comes_back_elsewhere_in_time_keeps_its_slots_from_its_replica() {
    in_every_version(|server| {
        let mut fleet = formed(server, PATIENT);
        let (before, master) = (seats(&fleet), id(&fleet.pods[0]));
        let mut stranger = stranger_for_first(&fleet, Some("theirs"));
        fleet.pods[0].kill();
        stranger.start();
        wait_ok(LIMIT, "the replica to lose its master's address", || {
            let view = fleet.pods[3].view()?;
            let lost = view.nodes[&master].is("noaddr") || view.me().slot_count() > 0;
            if lost { Ok(()) } else { Err(format!("{:?}", view.nodes[&master])) }
        });
        fleet.pods[0].ip = fleet.spare[0];
        let start = Instant::now();
        fleet.pods[0].start();
        wait_healed(&fleet, "a master back before its replica takes over", start);
        assert!(!fleet.pods[3].log().contains("take over from"));
        if !elects_by_itself(server) {
            assert_eq!(seats(&fleet), before);
        }
        assert_keys(&fleet);
    });
}

/// Redis copies whatever answers at its master's address.
#[test]
fn replica_that_has_copied_a_stranger_does_not_take_over() {
    in_every_version(|server| {
        if elects_by_itself(server) {
            return println!("{}: left out, elects whoever has copied", server.name);
        }
        let mut fleet = formed(server, HASTY);
        let before = seats(&fleet);
        let mut stranger = stranger_for_first(&fleet, None);
        fleet.pods[0].kill();
        stranger.start();
        wait_ok(LIMIT, "the replica to copy the emptiness", || {
            let link = fleet.pods[3].field(&["INFO", "replication"], "master_link_status")?;
            let keys = keys(&fleet.pods[3])?;
            if keys == 0 && link == "up" { Ok(()) } else { Err(format!("{keys} keys, {link}")) }
        });
        wait_held(&fleet.pods[3], "master_gone");
        drop(stranger);
        // Without the link it is as it would be had it copied nobody.
        wait_ok(LIMIT, "the link to be down", || {
            let link = fleet.pods[3].field(&["INFO", "replication"], "master_link_status")?;
            if link == "down" { Ok(()) } else { Err(link) }
        });
        wait_held(&fleet.pods[3], "master_gone");
        // The data is all there once its master is.
        fleet.pods[0].ip = fleet.spare[0];
        let start = Instant::now();
        fleet.pods[0].start();
        wait_healed(&fleet, "the master back, its replica had copied a stranger", start);
        assert!(!fleet.pods[3].log().contains("take over from"));
        assert_eq!(seats(&fleet), before);
        assert_keys(&fleet);
    });
}

#[test]
fn id_at_two_addresses_is_held_until_one_is_gone() {
    in_every_version(|server| {
        let mut fleet = formed(server, PATIENT);
        // A copy of a volume, as of a snapshot that was restored beside its pod.
        let mut copy = Pod::new(Program::Bare, server, fleet.dir(), 77, fleet.spare[5]);
        copy.conf = fleet.pods[5].conf.clone();
        copy.access = fleet.pods[5].access.clone();
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
