//! A cluster that runs gets more masters, as `docs/kubernetes.md` says.

use crate::support::fleet::Fleet;
use crate::support::keys::{assert_keys, write_keys};
use crate::support::pod::Pod;
use crate::support::server::any_server;
use crate::support::wait::wait_ok;

use super::{LIMIT, forget_spares, ready, recipe, wait_all_ready, wait_held, wait_nothing_held};

/// Waits until so many of the pods see each other, and nobody else, alike.
#[track_caller]
fn wait_agreed(fleet: &Fleet, count: usize) {
    wait_ok(LIMIT, &format!("{count} pods to agree"), || {
        let views: Result<Vec<_>, String> = fleet.pods[..count].iter().map(Pod::view).collect();
        let views = views?;
        let agree = views.iter().all(|view| view.shared() == views[0].shared());
        if agree && views[0].nodes.len() == count { Ok(()) } else { Err(format!("{views:?}")) }
    });
}

#[test]
fn cluster_of_three_masters_gets_a_fourth_as_the_documents_say() {
    let mut fleet = Fleet::new(&recipe(&any_server(), 3));
    let further = [6, 7].map(|ordinal| fleet.another(ordinal, fleet.spare[ordinal - 6]));
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    write_keys(&fleet);

    // `replicas: 8`.
    fleet.pods.extend(further);
    forget_spares(&mut fleet);
    fleet.start_all();
    for pod in &fleet.pods[6..] {
        wait_held(pod, "beyond_shape");
        assert!(ready(pod).is_err(), "{} is ready", pod.name());
    }
    // The others serve on.
    fleet.pods[..6].iter().for_each(|pod| ready(pod).unwrap());
    let at = |ordinal: usize| fleet.pods[ordinal].address().to_string();
    fleet.cluster_cli(["add-node", &at(6), &at(0)]);
    wait_agreed(&fleet, 7);
    // A server that has just come to a cluster takes nothing for a while.
    wait_ok(LIMIT, "the new master's cluster_state:ok", || {
        match fleet.pods[6].field(&["CLUSTER", "INFO"], "cluster_state")?.as_str() {
            "ok" => Ok(()),
            state => Err(state.to_owned()),
        }
    });
    let id = fleet.pods[6].text(&["CLUSTER", "MYID"]).unwrap();
    // A part of its share, since each slot takes a while.
    let weight = format!("{id}=0.05");
    let rebalance = ["rebalance", &at(0), "--cluster-use-empty-masters"];
    fleet.cluster_cli([&rebalance[..], &["--cluster-weight", &weight]].concat());
    wait_agreed(&fleet, 7);
    let replica = ["--cluster-slave", "--cluster-master-id", &id];
    fleet.cluster_cli([&["add-node", &at(7), &at(0)][..], &replica].concat());
    fleet.wait_whole(LIMIT);
    let moved = fleet.pods[6].view().unwrap().me().slot_count();
    assert!((200..400).contains(&moved), "{moved} slots");
    assert_keys(&fleet);

    // `REJOIN_SHARDS`, which rolls through the pods.
    for pod in &mut fleet.pods {
        pod.env.insert("REJOIN_SHARDS".to_owned(), "4".to_owned());
    }
    for ordinal in (0..8).rev() {
        let pod = &mut fleet.pods[ordinal];
        assert!(pod.stop().success());
        pod.start();
        wait_ok(LIMIT, &format!("redis-{ordinal} to be ready"), || ready(&fleet.pods[ordinal]));
    }
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    fleet.pods.iter().for_each(wait_nothing_held);
    assert_keys(&fleet);
}
