//! The third copy of a shard is elected although its new master is gone before it was seen to copy
//! that one: what it holds came from the same shard.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::forming::status;
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::server::Server;
use crate::support::wait::wait_ok;

use super::addresses::{kept_back, wait_nobody_kept_back};
use super::{
    BRISK, LIMIT, assert_keys, form, id, in_every_version, s, say, seats, six, wait_all_ready,
};

/// The pods of the first shard: its master and the other two.
fn copies(fleet: &Fleet) -> [usize; 3] {
    let seats = seats(fleet);
    let serves = |n: &usize| seats[*n].slots.iter().any(|range| range.contains(&0));
    let master = (0..seats.len()).find(serves).expect("a master of slot 0");
    let follows = |n: &usize| seats[*n].master.as_ref() == Some(&seats[master].id);
    let replicas: Vec<usize> = (0..seats.len()).filter(follows).collect();
    let [one, two] = replicas[..] else { panic!("{master} has {replicas:?}") };
    [master, one, two]
}

fn info(pod: &Pod, field: &str) -> Result<String, String> {
    pod.field(&["INFO", "replication"], field)
}

#[track_caller]
fn wait_info(pod: &Pod, field: &str, expected: &str) {
    wait_ok(LIMIT, &format!("{field}:{expected} of {}", pod.name()), || match info(pod, field)? {
        value if value == expected => Ok(()),
        value => Err(value),
    });
}

/// Has the second take over, and waits until the third has heard of it.
#[track_caller]
fn hand_over(fleet: &Fleet, second: usize, third: usize) {
    let (second, third) = (&fleet.pods[second], &fleet.pods[third]);
    second.text(&["CLUSTER", "FAILOVER"]).expect("it is a replica");
    wait_info(second, "role", "master");
    let successor = id(second);
    wait_ok(LIMIT, "the third copy to follow the second", || match third.view()?.me() {
        me if me.master_is(&successor) => Ok(()),
        me => Err(format!("{me:?}")),
    });
}

#[track_caller]
fn wait_elected(fleet: &Fleet, third: usize, what: &str) {
    let start = Instant::now();
    let copy = &fleet.pods[third];
    wait_ok(LIMIT, "the third copy to be elected", || match info(copy, "role")?.as_str() {
        "master" => Ok(()),
        _ => Err(format!("kept back {:?}, held {:#?}", kept_back(copy)?, status(copy)?.held)),
    });
    say(fleet, &format!("{what}: the third copy was elected after {}", s(start.elapsed())));
}

#[track_caller]
fn bring_back(fleet: &mut Fleet, gone: [usize; 2]) {
    gone.iter().for_each(|n| fleet.pods[*n].start());
    fleet.wait_whole(LIMIT);
    wait_nobody_kept_back(fleet);
    assert_keys(fleet);
}

/// Three masters with two replicas each, whose keepers have all seen who has whose data.
fn nine(server: &Server) -> Fleet {
    let mut recipe = Recipe { replicas: 2, ..six(server, BRISK) };
    // Lest a server moves another shard's replica to the third copy while that is alone.
    recipe.conf.push("cluster-migration-barrier 2".to_owned());
    let mut fleet = Fleet::new(&recipe);
    form(&mut fleet);
    wait_all_ready(&fleet);
    wait_ok(LIMIT, "every keeper to know all replicas", || {
        fleet.pods.iter().try_for_each(|pod| {
            let nodes = status(pod)?.nodes;
            let follow = nodes.iter().filter(|node| node.master.is_some()).count();
            if follow == 6 { Ok(()) } else { Err(format!("{} knows {follow}", pod.name())) }
        })
    });
    fleet
}

#[test]
fn third_copy_that_never_reached_its_new_master_is_elected_when_that_dies() {
    in_every_version(|server| {
        let mut fleet = nine(server);
        let [master, second, third] = copies(&fleet);
        let copy = &fleet.pods[third];
        let reply = copy.redis(&["CONFIG", "GET", "masterauth"]).expect("it answers");
        let reply: BTreeMap<String, String> = redis::from_redis_value(reply).expect("pairs");
        // For links that are made from now on.
        copy.text(&["CONFIG", "SET", "masterauth", "nobody's"]).expect("it is set");
        hand_over(&fleet, second, third);
        wait_ok(LIMIT, "the third copy to be kept back", || match kept_back(copy)? {
            true => Ok(()),
            false => Err("it is not".to_owned()),
        });
        [master, second].iter().for_each(|n| _ = fleet.pods[*n].kill());
        wait_elected(&fleet, third, "never linked to its new master");
        let password = &reply["masterauth"];
        fleet.pods[third].text(&["CONFIG", "SET", "masterauth", password]).expect("it is set");
        bring_back(&mut fleet, [master, second]);
    });
}

#[test]
fn third_copy_whose_keeper_never_saw_its_new_master_is_elected_when_that_dies() {
    in_every_version(|server| {
        let mut fleet = nine(server);
        let [master, second, third] = copies(&fleet);
        let stream = info(&fleet.pods[third], "master_replid").expect("it answers");
        fleet.pods[third].signal(Signal::SIGSTOP);
        hand_over(&fleet, second, third);
        wait_info(&fleet.pods[third], "master_link_status", "up");
        assert_eq!(info(&fleet.pods[third], "master_replid2"), Ok(stream), "it was copied anew");
        [master, second].iter().for_each(|n| _ = fleet.pods[*n].kill());
        fleet.pods[third].signal(Signal::SIGCONT);
        wait_elected(&fleet, third, "not seen to follow its new master");
        bring_back(&mut fleet, [master, second]);
    });
}
