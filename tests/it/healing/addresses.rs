//! Pods come back on other addresses.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::forming::held;
use crate::guard::wait_role;
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::{Pod, Program};
use crate::support::process::{rest, send};
use crate::support::server::{Server, any_server};
use crate::support::wait::{wait_for, wait_ok};

use super::strangers::elects_by_itself;
use super::{
    BRISK, HASTY, LIMIT, PATIENT, Seat, all_to, as_drop_in, assert_keys, formed, in_every_version,
    keys, readdress, s, say, seats, shifted, six, wait_all_ready, wait_healed,
};

/// Redis' own floor: bare servers, all killed and started again on the addresses that they had.
fn say_floor(server: &Server) {
    let recipe = Recipe { program: Program::Bare, ..six(server, PATIENT) };
    let mut fleet = Fleet::started(&recipe);
    fleet.pods.iter().for_each(|pod| pod.wait_answers(LIMIT));
    fleet.create_by_cli();
    fleet.wait_whole(LIMIT);
    for pod in &mut fleet.pods {
        pod.kill();
    }
    let start = Instant::now();
    fleet.start_all();
    wait_ok(LIMIT, "cluster_state:ok everywhere", || fleet.ok());
    let ok = start.elapsed();
    fleet.wait_whole(LIMIT);
    let whole = start.elapsed();
    say(
        &fleet,
        &format!("bare on the old addresses: ok after {}, whole after {}", s(ok), s(whole)),
    );
}

#[test]
fn all_pods_on_new_addresses_are_whole_again_without_a_failover() {
    in_every_version(|server| {
        say_floor(server);
        let mut fleet = formed(server, PATIENT);
        let before = seats(&fleet);
        let spare = fleet.spare.clone();
        let start = Instant::now();
        readdress(&mut fleet, &all_to(&spare));
        wait_healed(&fleet, "all on new addresses", start);
        assert_eq!(seats(&fleet), before);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

#[test]
fn all_pods_on_each_others_addresses_are_whole_again() {
    in_every_version(|server| {
        let mut fleet = formed(server, BRISK);
        let before = seats(&fleet);
        let ips = shifted(&fleet);
        let start = Instant::now();
        readdress(&mut fleet, &all_to(&ips));
        wait_healed(&fleet, "each on the address of the next", start);
        assert_no_failover(&fleet, &before, &ALL);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

/// All to new addresses, and at once to each other's former ones.
#[track_caller]
fn move_twice(mut fleet: Fleet, what: &str) {
    let before = seats(&fleet);
    let (second, first) = (shifted(&fleet), fleet.spare.clone());
    readdress(&mut fleet, &all_to(&first));
    fleet.pods[0].wait_answers(LIMIT);
    assert!(fleet.whole().is_err(), "the second move is meant to come before the first has healed");
    let start = Instant::now();
    readdress(&mut fleet, &all_to(&second));
    wait_healed(&fleet, what, start);
    assert_no_failover(&fleet, &before, &ALL);
    wait_all_ready(&fleet);
    assert_keys(&fleet);
}

#[test]
fn second_move_of_all_before_the_first_has_healed_is_whole_again() {
    in_every_version(|server| move_twice(formed(server, BRISK), "all moved twice in a row"));
}

#[test]
fn without_a_shape_a_second_move_of_all_heals_as_well() {
    let mut fleet = formed(&any_server(), BRISK);
    as_drop_in(&mut fleet);
    move_twice(fleet, "drop-in: all moved twice in a row");
}

#[test]
fn some_pods_on_new_addresses_are_whole_again_without_a_failover() {
    in_every_version(|server| {
        let mut fleet = formed(server, PATIENT);
        let before = seats(&fleet);
        for moved in [&[1][..], &[4], &[0, 2, 4], &[0, 1, 2], &[3, 4, 5], &[0, 3]] {
            let moves: Vec<_> = moved.iter().map(|n| (*n, fleet.spare[*n])).collect();
            moved.iter().for_each(|n| fleet.spare[*n] = fleet.pods[*n].ip);
            let start = Instant::now();
            readdress(&mut fleet, &moves);
            wait_healed(&fleet, &format!("pods {moved:?} on new addresses"), start);
            assert_eq!(seats(&fleet), before);
        }
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

#[test]
fn pods_that_swap_addresses_are_whole_again() {
    in_every_version(|server| {
        let mut fleet = formed(server, BRISK);
        let before = seats(&fleet);
        for (one, other, what) in [
            (0, 1, "two masters"),
            (3, 4, "two replicas"),
            (2, 5, "a master and its own replica"),
            (1, 3, "a master and another's replica"),
        ] {
            let moves = [(one, fleet.pods[other].ip), (other, fleet.pods[one].ip)];
            let start = Instant::now();
            readdress(&mut fleet, &moves);
            wait_healed(&fleet, &format!("{what} swap addresses"), start);
        }
        assert_no_failover(&fleet, &before, &ALL);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

/// Each master on the address of the next.
fn masters_in_a_cycle(fleet: &Fleet) -> Vec<(usize, IpAddr)> {
    (0..3).map(|n| (n, fleet.pods[(n + 1) % 3].ip)).collect()
}

/// Whether this pod's server is kept from being elected.
pub(crate) fn kept_back(pod: &Pod) -> Result<bool, String> {
    Ok(pod.view()?.me().is("nofailover"))
}

#[track_caller]
pub(super) fn wait_nobody_kept_back(fleet: &Fleet) {
    wait_ok(LIMIT, "every pod to stand for election again", || {
        fleet.pods.iter().try_for_each(|pod| match kept_back(pod)? {
            true => Err(format!("{} does not", pod.name())),
            false => Ok(()),
        })
    });
}

/// What became of a replica whose master's address was given to somebody else.
enum Became {
    /// It may have copied that one, is kept from being elected, and says so.
    Kept,
    /// It has copied nobody. Valkey 8.0 and later looks for its master where gossip says, and whoever is
    /// at that address now says that its master is nowhere.
    Elected,
}

fn become_of(replica: &Pod) -> Result<Became, String> {
    let info = |field| replica.field(&["INFO", "replication"], field);
    let heeds_gossip = replica.server.kind() == "valkey";
    if heeds_gossip && info("role")? == "master" {
        return Ok(Became::Elected);
    }
    // It is kept from it for a moment also where it is elected in the end.
    let (kept, held) = (kept_back(replica)?, held(replica)?);
    let (is_said, link) = (held.iter().any(|it| it == "master_gone"), info("master_link_status")?);
    let is_over = kept && is_said && (heeds_gossip || link == "up");
    if is_over {
        Ok(Became::Kept)
    } else {
        Err(format!("kept {kept}, holds {held:?}, link {link}"))
    }
}

#[test]
fn replica_that_has_copied_another_shards_master_waits_for_its_own() {
    in_every_version(|server| {
        let mut fleet = formed(server, BRISK);
        let moves = masters_in_a_cycle(&fleet);
        let before = keys(&fleet.pods[3]).expect("it answers");
        fleet.pods[..3].iter_mut().for_each(|pod| _ = pod.kill());
        for (ordinal, ip) in moves {
            fleet.pods[ordinal].ip = ip;
        }
        // Its own master comes last.
        fleet.pods[1..3].iter_mut().for_each(Pod::start);
        let replica = &fleet.pods[3];
        let became = wait_ok(LIMIT, "the replica to copy a stranger", || become_of(replica));
        if matches!(became, Became::Elected) {
            assert_eq!(keys(replica), Ok(before), "its master's keys");
        }
        let start = Instant::now();
        fleet.pods[0].start();
        wait_healed(&fleet, "the master of a replica that copied a stranger", start);
        wait_nobody_kept_back(&fleet);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

#[test]
fn masters_on_the_addresses_of_other_shards_masters_lose_no_data() {
    in_every_version(|server| {
        let mut fleet = formed(server, BRISK);
        for _ in 0..2 {
            let masters: Vec<usize> = (0..6)
                .filter(|n| fleet.pods[*n].view().is_ok_and(|it| it.me().is("master")))
                .collect();
            let next = |n: usize| fleet.pods[masters[(n + 1) % masters.len()]].ip;
            let moves: Vec<_> =
                masters.iter().enumerate().map(|(n, pod)| (*pod, next(n))).collect();
            let start = Instant::now();
            readdress(&mut fleet, &moves);
            wait_healed(&fleet, "masters in a cycle, their replicas running on", start);
            wait_nobody_kept_back(&fleet);
            assert_keys(&fleet);
        }
        wait_all_ready(&fleet);
    });
}

#[test]
fn pod_on_the_address_that_another_just_left_is_whole_again() {
    in_every_version(|server| {
        let mut fleet = formed(server, BRISK);
        let before = seats(&fleet);
        for (first, second) in [(0, 1), (3, 0), (1, 5)] {
            let (left, spare) = (fleet.pods[first].ip, fleet.spare[first]);
            fleet.spare[first] = fleet.pods[second].ip;
            let start = Instant::now();
            readdress(&mut fleet, &[(first, spare), (second, left)]);
            wait_healed(&fleet, &format!("pod {second} where {first} was"), start);
        }
        // Nobody was put where one of the third shard had been.
        assert_no_failover(&fleet, &before, &[0, 1, 3]);
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

/// Stops and continues a server while it makes its first links, so that what it writes, and what it
/// is answered, reach it in ever other orders.
fn falter(pod: &Pod) {
    wait_for(LIMIT, "the server to be started", || pod.server_pid().is_some());
    let server = pod.server_pid().expect("it was there");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(600) {
        send(server, Signal::SIGSTOP);
        rest(Duration::from_millis(3));
        send(server, Signal::SIGCONT);
        rest(Duration::from_micros(150));
    }
}

/// Its `nodes.conf` has another node at its own address: without a correction it talks to itself, and
/// what it has written before it hears of its successor makes it a master again when it reads it.
#[test]
fn replaced_master_on_an_address_that_it_knows_of_another_follows_its_successor() {
    in_every_version(|server| {
        let mut fleet = formed(server, HASTY);
        let (mut master, mut replica) = (0, 3);
        for round in 0..6 {
            fleet.pods[master].kill();
            wait_role(&fleet.pods[replica], "master");
            // One of the pods that are in no other way concerned.
            let other = if round % 2 == 0 { 4 } else { 5 };
            let left = fleet.pods[other].ip;
            fleet.pods[other].kill();
            fleet.swap_address(other);
            fleet.pods[other].start();
            fleet.pods[other].wait_answers(LIMIT);
            fleet.spare[other] = fleet.pods[master].ip;
            fleet.pods[master].ip = left;
            let start = Instant::now();
            fleet.pods[master].start();
            falter(&fleet.pods[master]);
            wait_healed(&fleet, "a replaced master where it knew another", start);
            (master, replica) = (replica, master);
        }
        assert_keys(&fleet);
    });
}

/// Without a keeper: a node that is `noaddr`, since its address led to the server itself, is never looked
/// for again (Redis, Valkey up to 8.0).
#[test]
fn masters_that_swap_addresses_find_each_other_by_the_correction_alone() {
    in_every_version(|server| {
        let mut fleet = formed(server, HASTY);
        for pod in &mut fleet.pods {
            pod.kill();
            pod.program = Program::Bare;
        }
        fleet.start_all();
        fleet.wait_whole(LIMIT);
        let (one, other) = (fleet.pods[0].ip, fleet.pods[1].ip);
        let start = Instant::now();
        for (ordinal, ip) in [(0, other), (1, one)] {
            fleet.pods[ordinal].kill();
            fleet.pods[ordinal].ip = ip;
            let output = fleet.pods[ordinal].rejoin(&["fix", "--nodes-conf", "nodes.conf"]);
            assert!(output.status.success(), "{output:?}");
        }
        fleet.start_all();
        wait_healed(&fleet, "two masters swap addresses, corrected and no more", start);
        assert_keys(&fleet);
    });
}

#[test]
fn without_a_shape_all_moves_heal_as_well() {
    in_every_version(|server| {
        let mut fleet = formed(server, BRISK);
        as_drop_in(&mut fleet);
        let (spare, shifted) = (fleet.spare.clone(), shifted(&fleet));
        for (moves, taken, what) in [
            (all_to(&spare), &[][..], "drop-in: all on new addresses"),
            (vec![(0, spare[1]), (1, spare[0])], &[0, 1], "drop-in: two masters swap addresses"),
            (all_to(&shifted), &ALL, "drop-in: all on each other's former addresses"),
        ] {
            let before = seats(&fleet);
            let start = Instant::now();
            readdress(&mut fleet, &moves);
            wait_healed(&fleet, what, start);
            assert_no_failover(&fleet, &before, taken);
        }
        wait_all_ready(&fleet);
        assert_keys(&fleet);
    });
}

/// Every pod of a fleet of six.
const ALL: [usize; 6] = [0, 1, 2, 3, 4, 5];

/// The slots of each pod's shard.
fn shards(seats: &[Seat]) -> Vec<&[RangeInclusive<u16>]> {
    let master = |seat: &Seat| seats.iter().find(|other| seat.master.as_ref() == Some(&other.id));
    seats.iter().map(|seat| &master(seat).unwrap_or(seat).slots[..]).collect()
}

/// Where another node took the address of one of these, its shard may have another master on
/// versions that elect one at once, before anybody can meet. All else is as it was.
#[track_caller]
fn assert_no_failover(fleet: &Fleet, before: &[Seat], taken: &[usize]) {
    let after = seats(fleet);
    let elects = elects_by_itself(&fleet.pods[0].server);
    let shard = shards(before);
    for (n, (now, then)) in after.iter().zip(before).enumerate() {
        let may = elects && taken.iter().any(|other| shard[*other] == shard[n]);
        assert!(now == then || may, "redis-{n}: {then:?} is {now:?}");
        assert_eq!(now.id, then.id, "redis-{n}");
    }
    assert_eq!(shards(&after), shard, "the shard of each pod");
    let changed = after.iter().zip(before).filter(|(now, then)| now != then).count();
    say(fleet, &format!("{changed} of 6 seats changed"));
}

#[test]
fn thirty_pods_on_new_addresses_are_whole_again_without_a_failover() {
    let recipe = Recipe { shards: 15, ..six(&any_server(), PATIENT) };
    let mut fleet = Fleet::started(&recipe);
    fleet.wait_whole(LIMIT * 2);
    let before = seats(&fleet);
    let spare = fleet.spare.clone();
    let start = Instant::now();
    readdress(&mut fleet, &all_to(&spare));
    wait_healed(&fleet, "thirty on new addresses", start);
    assert_eq!(seats(&fleet), before);
}
