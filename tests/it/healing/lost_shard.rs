//! A master and all its replicas come back without their volumes.

use std::net::IpAddr;
use std::time::Instant;

use crate::forming::{ready, status};
use crate::support::fleet::Fleet;
use crate::support::pod::Pod;
use crate::support::server::{Server, any_server};
use crate::support::wait::wait_ok;

use super::{
    HASTY, LIMIT, find_only, id, ids, in_every_version, keys, lose_volume, six, wait_all_ready,
    wait_healed, wait_held, write_keys,
};

/// The pods of the first shard.
const SHARD: [usize; 2] = [0, 3];

/// Six pods with keys whose clients are served by the shards that are there.
fn formed(server: &Server, on_lost_shard: Option<&str>) -> Fleet {
    formed_with(server, on_lost_shard, &[])
}

/// The same, with the spare addresses of these pods to be found.
fn formed_with(server: &Server, on_lost_shard: Option<&str>, spare: &[usize]) -> Fleet {
    let mut recipe = six(server, HASTY);
    recipe.conf.push("cluster-require-full-coverage no".to_owned());
    let setting = on_lost_shard.map(|it| ("REJOIN_ON_LOST_SHARD".to_owned(), it.to_owned()));
    recipe.env.extend(setting);
    let mut fleet = Fleet::new(&recipe);
    let spare: Vec<IpAddr> = spare.iter().map(|n| fleet.spare[*n]).collect();
    find_only(&mut fleet, &spare);
    super::form(&mut fleet);
    fleet
}

/// Loses the shard's volumes, while no pod of it runs.
fn lose_shard(fleet: &mut Fleet) -> Vec<String> {
    let before = SHARD.map(|n| id(&fleet.pods[n])).to_vec();
    SHARD.iter().for_each(|n| _ = fleet.pods[*n].kill());
    SHARD.iter().for_each(|n| lose_volume(&fleet.pods[*n]));
    before
}

fn others(fleet: &Fleet) -> impl Iterator<Item = &Pod> {
    fleet.pods.iter().filter(|pod| !SHARD.contains(&pod.ordinal))
}

/// The shards that were not lost have all that they had.
#[track_caller]
fn assert_others_kept(fleet: &Fleet, before: u64) {
    let now: u64 = others(fleet).map(|pod| keys(pod).unwrap()).sum();
    assert_eq!(now, before);
}

#[test]
fn lost_shard_is_held_loudly_and_the_others_serve_on() {
    in_every_version(|server| {
        // Nobody has to ask for that.
        let setting = (*server != any_server()).then_some("hold");
        let mut fleet = formed(server, setting);
        let kept: u64 = others(&fleet).map(|pod| keys(pod).unwrap()).sum();
        let gone = lose_shard(&mut fleet);
        SHARD.iter().for_each(|n| fleet.pods[*n].start());
        for pod in &fleet.pods {
            wait_held(pod, "shard_lost");
            let held = status(pod).unwrap().held;
            let held = held.iter().find(|held| held.kind == "shard_lost").unwrap();
            for part in ["0-5460", &gone[0], &gone[1], "REJOIN_ON_LOST_SHARD=recreate"] {
                assert!(held.reason.contains(part), "{}", held.reason);
            }
        }
        for pod in others(&fleet) {
            wait_ok(LIMIT, &format!("{} to serve on, and to hold", pod.name()), || {
                ready(pod)?;
                let state = pod.field(&["CLUSTER", "INFO"], "cluster_state")?;
                let metrics = pod.http("/metrics")?.body;
                let holds = metrics.contains("rejoin_holds{kind=\"shard_lost\"} 1");
                if state == "ok" && holds { Ok(()) } else { Err(format!("{state} {metrics}")) }
            });
        }
        // Its slot is the third shard's.
        wait_ok(LIMIT, "a key to be written", || {
            let set = |pod: &Pod| pod.text(&["SET", "foo", "1"]).and(pod.text(&["DEL", "foo"]));
            others(&fleet).find_map(|pod| set(pod).ok()).ok_or("nobody takes it")
        });
        wait_ok(LIMIT, "its copy to be gone", || {
            let now: Result<Vec<u64>, String> = others(&fleet).map(keys).collect();
            let now: u64 = now?.iter().sum();
            if now == kept { Ok(()) } else { Err(format!("{now} of {kept} keys")) }
        });
        for n in SHARD {
            ready(&fleet.pods[n]).unwrap_err();
        }
    });
}

#[test]
fn lost_shard_is_given_empty_to_its_fresh_pods_where_that_is_wanted() {
    in_every_version(|server| {
        let mut fleet = formed(server, Some("recreate"));
        let kept = others(&fleet).map(|pod| keys(pod).unwrap()).sum();
        let gone = lose_shard(&mut fleet);
        let start = Instant::now();
        SHARD.iter().for_each(|n| fleet.pods[*n].start());
        wait_healed(&fleet, "a shard lost and recreated", start);
        wait_all_ready(&fleet);
        let now = ids(&fleet);
        assert!(gone.iter().all(|id| !now.contains(id)));
        assert_others_kept(&fleet, kept);
        let said = |pod: &Pod| {
            let log = pod.log();
            log.contains("no pod has a copy of the slots 0-5460") && log.contains(&gone[0])
        };
        assert!(fleet.pods.iter().any(said));
        write_keys(&fleet);
    });
}

#[test]
fn shard_with_a_copy_on_a_volume_that_comes_late_is_not_recreated() {
    in_every_version(|server| {
        let mut fleet = formed_with(server, Some("recreate"), &[0]);
        let before = ids(&fleet);
        let copy = keys(&fleet.pods[3]).unwrap();
        assert!(copy > 0);
        SHARD.iter().for_each(|n| _ = fleet.pods[*n].kill());
        lose_volume(&fleet.pods[0]);
        // Elsewhere: where its master was, a replica copies whatever answers when it starts.
        fleet.swap_address(0);
        fleet.pods[0].start();
        fleet.pods[0].wait_answers(LIMIT);
        // The others have given the shard up for failed, and the fresh pod is among them.
        let fresh = wait_ok(LIMIT, "the fresh pod to have met the others", || {
            let fresh = id(&fleet.pods[0]);
            others(&fleet).try_for_each(|pod| {
                let view = pod.view()?;
                let failed = view.nodes.values().filter(|node| node.is("fail")).count();
                let there = view.nodes.contains_key(&fresh) && failed == 2;
                if there { Ok(()) } else { Err(format!("{view:?}")) }
            })?;
            Ok::<_, String>(fresh)
        });
        wait_ok(LIMIT, "the fresh pod to wait", || {
            let reason = status(&fleet.pods[0])?.probes.ready;
            if reason.ok { Err(reason.reason) } else { Ok(()) }
        });
        fleet.pods[3].start();
        fleet.pods[3].wait_answers(LIMIT);
        assert!(before.contains(&id(&fleet.pods[3])));
        assert_eq!(keys(&fleet.pods[3]).unwrap(), copy);
        wait_ok(LIMIT, "everybody to know the fresh pod and the copy", || {
            let view = fleet.pods[3].view()?;
            if view.nodes.contains_key(&fresh) { Ok(()) } else { Err(format!("{view:?}")) }
        });
        for pod in others(&fleet) {
            let view = pod.view().unwrap();
            let owners = view.owners();
            assert_eq!(owners[0], 1, "{}: the slots were given up", pod.name());
            assert!(!pod.log().contains("no pod has a copy"), "{}", pod.name());
        }
        assert_eq!(fleet.pods[0].view().unwrap().me().slot_count(), 0);
        assert_eq!(keys(&fleet.pods[3]).unwrap(), copy);
    });
}
