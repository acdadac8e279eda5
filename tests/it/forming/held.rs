//! What must not be formed is held, with the reason in log and status; and once it is put right,
//! it forms.

use crate::support::fleet::Fleet;
use crate::support::other::Other;
use crate::support::pod::{PORT, Pod, Program};
use crate::support::server::any_server;
use crate::support::wait::wait_ok;

use super::{
    LIMIT, assert_nothing_formed, lose_volume, ready, recipe, status, wait_all_ready, wait_held,
    wait_nothing_held, wait_waiting,
};

fn six() -> Fleet {
    Fleet::new(&recipe(&any_server(), 3))
}

#[track_caller]
fn wait_formed(fleet: &mut Fleet) {
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(fleet);
    fleet.pods.iter().for_each(wait_nothing_held);
}

#[test]
fn too_few_pods_wait_and_form_once_all_are_there() {
    let mut fleet = six();
    fleet.pods[..4].iter_mut().for_each(Pod::start);
    fleet.pods[..4].iter().for_each(|pod| wait_waiting(pod, "4 of 6"));
    assert_nothing_formed(&fleet.pods);
    fleet.pods[..4].iter().for_each(|pod| wait_ok(LIMIT, "it to be ready", || ready(pod)));
    wait_formed(&mut fleet);
}

#[test]
fn too_many_pods_are_held_until_the_last_is_gone() {
    let mut fleet = six();
    let mut seventh = fleet.another(6, fleet.spare[0]);
    seventh.start();
    wait_held(&seventh, "beyond_shape");
    fleet.start_all();
    fleet.pods.iter().for_each(|pod| wait_held(pod, "too_many"));
    assert_nothing_formed(&fleet.pods);
    drop(seventh);
    wait_formed(&mut fleet);
}

#[test]
fn two_pods_with_one_ordinal_are_held() {
    let mut fleet = six();
    let name = fleet.pods[5].env.insert("POD_NAME".to_owned(), "redis-4".to_owned()).unwrap();
    fleet.start_all();
    fleet.pods.iter().for_each(|pod| wait_held(pod, "same_ordinal"));
    assert_nothing_formed(&fleet.pods);
    // Its server has the wrong number for good, so its empty volume is of no more use.
    let last = &mut fleet.pods[5];
    last.kill();
    last.env.insert("POD_NAME".to_owned(), name);
    last.start();
    wait_held(last, "foreign_epoch");
    last.kill();
    lose_volume(last);
    wait_formed(&mut fleet);
}

#[test]
fn pod_without_a_number_is_held_and_the_others_wait_for_it() {
    let mut fleet = six();
    let name = fleet.pods[5].env.insert("POD_NAME".to_owned(), "database".to_owned()).unwrap();
    fleet.start_all();
    wait_held(&fleet.pods[5], "no_ordinal");
    let address = fleet.pods[5].address();
    let seen = format!("{address} has not taken its number yet");
    for pod in &fleet.pods[..5] {
        wait_ok(LIMIT, &format!("{} to say: {seen}", pod.name()), || {
            let ready = status(pod)?.probes.ready;
            let says_so = !ready.ok && ready.reason.contains(&seen);
            if says_so { Ok(()) } else { Err(format!("{ready:?}")) }
        });
    }
    assert_nothing_formed(&fleet.pods);
    fleet.pods[5].kill();
    fleet.pods[5].env.insert("POD_NAME".to_owned(), name);
    wait_formed(&mut fleet);
}

#[test]
fn peer_with_another_password_is_held() {
    for others in [None, Some("theirs")] {
        let mut fleet = Fleet::new(&recipe(&any_server(), 3).open());
        if let Some(password) = others {
            fleet.pods.iter_mut().for_each(|pod| set_password(pod, password));
        }
        let right = fleet.pods[5].conf.clone();
        set_password(&mut fleet.pods[5], "another");
        fleet.start_all();
        fleet.pods.iter().for_each(|pod| wait_held(pod, "unusable_peer"));
        assert_nothing_formed(&fleet.pods);
        fleet.pods[5].kill();
        fleet.pods[5].conf = right;
        fleet.pods[5].access.password = others.map(str::to_owned);
        wait_formed(&mut fleet);
    }
}

fn set_password(pod: &mut Pod, password: &str) {
    pod.conf.extend([format!("requirepass {password}"), format!("masterauth {password}")]);
    pod.access.password = Some(password.to_owned());
}

#[test]
fn pod_that_holds_keys_is_held_and_keeps_them() {
    let mut fleet = six();
    let pod = &mut fleet.pods[5];
    (pod.program, pod.conf) =
        (Program::Bare, [&pod.conf[..], &["cluster-enabled no".into()]].concat());
    pod.start();
    pod.wait_answers(LIMIT);
    pod.text(&["SET", "precious", "value"]).unwrap();
    pod.stop();
    pod.conf.pop();
    pod.program = Program::Wrapped;
    fleet.start_all();
    fleet.pods.iter().for_each(|pod| wait_held(pod, "holds_keys"));
    assert_nothing_formed(&fleet.pods[..5]);
    assert_eq!(fleet.pods[5].view().unwrap().nodes.len(), 1);
    assert_eq!(fleet.pods[5].text(&["DBSIZE"]).unwrap(), "1");
    fleet.pods[5].kill();
    lose_volume(&fleet.pods[5]);
    wait_formed(&mut fleet);
}

#[test]
fn pods_that_expect_another_number_of_shards_are_held() {
    let mut fleet = six();
    fleet.pods[0].env.insert("REJOIN_SHARDS".to_owned(), "2".to_owned());
    fleet.start_all();
    wait_held(&fleet.pods[0], "too_many");
    assert_eq!(fleet.pods[0].view().unwrap().me().slot_count(), 0);
    fleet.pods[0].kill();
    fleet.pods[0].env.insert("REJOIN_SHARDS".to_owned(), "3".to_owned());
    wait_formed(&mut fleet);
}

#[test]
fn peer_that_is_no_redis_is_held_until_it_is_gone() {
    for says in ["HTTP/1.1 400 Bad Request\r\n\r\n", "\0\u{1}\u{2}garbage\n\r\u{7f}"] {
        let mut fleet = six();
        let other = Other::on((fleet.spare[0], PORT).into(), says);
        fleet.start_all();
        fleet.pods.iter().for_each(|pod| wait_held(pod, "unusable_peer"));
        assert_nothing_formed(&fleet.pods);
        drop(other);
        wait_formed(&mut fleet);
    }
}

#[test]
fn peer_that_takes_connections_and_says_nothing_is_waited_for() {
    let mut fleet = six();
    let other = Other::on(fleet.pods[5].address(), "");
    fleet.pods[..5].iter_mut().for_each(Pod::start);
    fleet.pods[..5].iter().for_each(|pod| wait_waiting(pod, "5 of 6"));
    assert_nothing_formed(&fleet.pods);
    drop(other);
    wait_formed(&mut fleet);
}

#[test]
fn address_that_says_nothing_does_not_hinder_the_rest() {
    let mut fleet = six();
    let _other = Other::on((fleet.spare[0], PORT).into(), "");
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
}
