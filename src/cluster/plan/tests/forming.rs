//! Forming and joining.

use super::*;

const SIX_FRESH: &str = "
    0 epoch=1
    1 epoch=2
    2 epoch=3
    3 epoch=4
    4 epoch=5
    5 epoch=6";

/// As seen by pod 3, which has not got its master yet.
const MASTERS_TOOK_THEIR_SLOTS: &str = "
    3 epoch=4 knows=0,1,2,4,5
    0 epoch=1 slots=0-5460 knows=1,2,3,4,5
    1 epoch=2 slots=5461-10922 knows=0,2,3,4,5
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,5
    4 epoch=5 knows=0,1,2,3,5
    5 epoch=6 knows=0,1,2,3,4";

/// As seen by pod 5, which is new; its predecessor 9 has failed.
const FORMED_WITHOUT_FIVE: &str = "
    5
    0 epoch=1 slots=0-5460 knows=1,2,3,4,9 sees=9:fail
    1 epoch=2 slots=5461-10922 knows=0,2,3,4,9 sees=9:fail
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,9 sees=9:fail
    3 epoch=1 of=0 knows=0,1,2,4,9 sees=9:fail
    4 epoch=2 of=1 knows=0,1,2,3,9 sees=9:fail";

fn without(text: &str, number: u8) -> String {
    let start = format!("{number} ");
    text.lines().filter(|line| !line.trim().starts_with(&start)).collect::<Vec<_>>().join("\n")
}

#[test]
fn fresh_pod_takes_its_number_before_anything_else() {
    let plan = plan(&SIX_FRESH.replace("0 epoch=1", "0"));
    assert_eq!(plan.steps, [Step::SetEpoch(form::number_of(0))]);
}

/// Or Valkey 9 takes for outdated what a new replica says of itself.
#[test]
fn numbers_of_masters_are_above_those_of_replicas() {
    let numbers: Vec<u64> = (0..6).map(form::number_of).collect();
    assert!(numbers.is_sorted_by(|before, after| before > after), "{numbers:?}");
}

#[test]
fn pods_that_all_see_each_other_take_slots_and_meet() {
    let plan = plan(SIX_FRESH);
    let slots = Step::AddSlots(seat_range(0, 3));
    assert_eq!(plan.steps, [slots, join(1), join(2), join(3), join(4), join(5)]);
    assert_eq!(plan.held, []);
}

#[test]
fn nothing_is_formed_while_one_is_missing_and_the_pod_is_ready_meanwhile() {
    let plan = plan(&without(SIX_FRESH, 5));
    assert_eq!(plan.steps, []);
    assert_eq!(plan.held[0].reason, Reason::TooFew { found: 5, shape: SHAPE });
    assert!(matches!(&plan.membership, Membership::AwaitingPeers(what) if what.contains("5 of 6")));
}

#[test]
fn pod_alone_waits_for_the_others() {
    let plan = plan("2 epoch=3");
    assert!(plan.steps.is_empty());
    assert!(matches!(&plan.membership, Membership::AwaitingPeers(what) if what.contains("1 of 6")));
}

#[test]
fn failing_resolver_is_no_answer() {
    let mut view = scene("2 epoch=3");
    view.discovery = Discovery::Failed("timed out".to_owned());
    assert_held(&plan_of(&view), "resolver_failed");
}

#[test]
fn nothing_is_formed_before_all_have_taken_their_number() {
    let plan = plan(&SIX_FRESH.replace("4 epoch=5", "4"));
    assert_eq!(plan.steps, []);
}

#[test]
fn nothing_is_formed_over_keys() {
    assert_held(&plan(&SIX_FRESH.replace("5 epoch=6", "5 epoch=6 keys=1")), "holds_keys");
}

#[test]
fn keys_in_the_slots_that_were_just_formed_are_no_obstacle() {
    let text = SIX_FRESH.replace("1 epoch=2", "1 epoch=2 slots=5461-10922 keys=7");
    assert!(plan(&text).steps.contains(&Step::AddSlots(seat_range(0, 3))));
}

#[test]
fn too_many_pods_are_held() {
    assert_held(&plan(&format!("{SIX_FRESH}\n6 epoch=7")), "too_many");
}

#[test]
fn two_pods_with_one_ordinal_are_held() {
    assert_held(&plan(&SIX_FRESH.replace("5 epoch=6", "5 epoch=5")), "same_ordinal");
    assert_held(&plan(&SIX_FRESH.replace("5 epoch=6", "5 epoch=1")), "same_ordinal");
}

#[test]
fn two_pods_with_one_ordinal_are_held_while_others_are_missing() {
    assert_held(&plan("0 epoch=1\n1 epoch=1"), "same_ordinal");
}

#[test]
fn number_of_another_shape_is_held() {
    assert_held(&plan(&SIX_FRESH.replace("5 epoch=6", "5 epoch=9")), "foreign_epoch");
    assert_held(&plan(&SIX_FRESH.replace("0 epoch=1", "0 epoch=4")), "foreign_epoch");
}

#[test]
fn pod_that_knows_a_stranger_is_held() {
    assert_held(&plan(&SIX_FRESH.replace("5 epoch=6", "5 epoch=6 knows=77")), "stranger");
}

#[test]
fn slots_that_another_owns_are_not_taken() {
    let text = SIX_FRESH.replace("4 epoch=5", "4 epoch=5 slots=100-100");
    assert_held(&plan(&text), "slots_taken");
}

#[test]
fn slots_that_a_missing_node_owns_in_anybodys_view_are_not_taken() {
    let mut view = scene(SIX_FRESH);
    let gone = Spec::read("9 epoch=9 slots=0-5460").line(Some("fail"));
    if let Ok(report) = &mut view.peers[2].answer {
        let mut nodes: Vec<Node> = report.table.nodes().cloned().collect();
        nodes.push(gone);
        report.table = Table::new(nodes).expect("one own line");
    }
    assert!(!plan_of(&view).steps.contains(&Step::AddSlots(seat_range(0, 3))));
}

#[test]
fn peer_that_is_no_redis_or_has_another_password_is_held() {
    for failure in [
        Failure::Garbage("HTTP/1.1 400".to_owned()),
        Failure::Said(Answer::Refused("WRONGPASS".to_owned())),
    ] {
        let mut view = scene(&without(SIX_FRESH, 5));
        view.peers.push(Peer { at: at(5), named: true, alias: false, answer: Err(failure) });
        assert_held(&plan_of(&view), "unusable_peer");
    }
}

/// A rolling update must stop at a pod that lost its volume and reaches nobody; but the pods of a
/// mere list may not be created yet.
#[test]
fn pod_is_not_ready_while_a_pod_that_exists_does_not_answer_yet() {
    for failure in [Failure::Silent("refused".to_owned()), Failure::Said(Answer::Loading)] {
        let mut view = scene(&without(SIX_FRESH, 5));
        view.peers.push(Peer { at: at(5), named: true, alias: false, answer: Err(failure) });
        assert_held(&plan_of(&view), "too_few");
        view.peers[4].named = false;
        let plan = plan_of(&view);
        assert!(matches!(plan.membership, Membership::AwaitingPeers(_)), "{plan:#?}");
    }
}

#[test]
fn address_that_nobody_answers_at_does_not_hinder_the_rest() {
    let mut view = scene(SIX_FRESH);
    view.peers.push(Peer {
        at: at(99),
        named: true,
        alias: false,
        answer: Err(Failure::Silent("refused".to_owned())),
    });
    assert!(plan_of(&view).steps.contains(&Step::AddSlots(seat_range(0, 3))));
}

#[test]
fn replica_follows_the_owner_of_its_seat() {
    let plan = plan(MASTERS_TOOK_THEIR_SLOTS);
    assert_eq!(plan.steps, [Step::Replicate { master: id(0), why: Replicate::Join }]);
}

#[test]
fn pod_that_died_half_way_goes_on_where_it_was() {
    let half = "
        1 epoch=2 knows=0,2
        0 epoch=1 slots=0-5460 knows=1,2
        2 epoch=3 slots=10923-16383 knows=0,1
        3 epoch=4
        4 epoch=5
        5 epoch=6";
    let steps = plan(half).steps;
    assert_eq!(steps, [Step::AddSlots(seat_range(1, 3)), join(3), join(4), join(5)]);
}

#[test]
fn slots_are_taken_only_when_a_second_look_says_so_too() {
    let again = plan(&without(SIX_FRESH, 4));
    let confirmed = plan(SIX_FRESH).confirmed_by(&again);
    assert!(!confirmed.steps.iter().any(Step::needs_confirming));
    let confirmed = plan(SIX_FRESH).confirmed_by(&plan(SIX_FRESH));
    assert_eq!(confirmed, plan(SIX_FRESH));
}

#[test]
fn member_that_has_not_heard_of_our_slots_is_told() {
    let text = "
        0 epoch=1 slots=0-5460 knows=1,2,3,4,5
        1 epoch=2 slots=5461-10922 knows=0,2,3,4,5 sees=0:unassigned
        2 epoch=3 slots=10923-16383 knows=0,1,3,4,5
        3 epoch=1 of=0 knows=0,1,2,4,5
        4 epoch=2 of=1 knows=0,1,2,3,5
        5 epoch=3 of=2 knows=0,1,2,3,4";
    assert_eq!(plan(text).steps, [meet(1, Meet::Outdated)]);
}

#[test]
fn fresh_pod_joins_the_cluster_that_is_there() {
    let plan = plan(FORMED_WITHOUT_FIVE);
    assert_eq!(plan.steps, [join(0), join(1), join(2), join(3), join(4)]);
    assert!(matches!(plan.membership, Membership::Pending(_)));
}

#[test]
fn pod_with_data_does_not_join_by_itself() {
    let plan = plan(&FORMED_WITHOUT_FIVE.replace("    5\n", "    5 keys=3 slots=7-7\n"));
    assert_held(&plan, "data_without_cluster");
}

/// Five pods answer as another cluster than the first.
#[test]
fn lone_shard_that_lost_its_nodes_conf_does_not_take_itself_for_the_cluster() {
    let text = "
        0 slots=0-16383 keys=3
        1 epoch=1 of=9 knows=9 sees=9:owner";
    let one_shard = Settings { shape: Some(Shape { shards: 1, replicas: 1 }), ..settings(0) };
    assert_held(&Plan::new(&scene(text), &one_shard), "data_without_cluster");
    // The other comes later: it goes on looking.
    let plan = Plan::new(&scene("0 slots=0-16383 keys=3"), &one_shard);
    assert!(!plan.settled, "{plan:#?}");
}

#[test]
fn cluster_of_the_fewer_is_not_joined() {
    let others: String = (20..25).map(|n| format!("\n{n} epoch=2 slots=0-16383")).collect();
    assert_held(&plan(&format!("{FORMED_WITHOUT_FIVE}{others}")), "no_majority");
}

#[test]
fn addresses_that_nobody_answers_at_are_no_majority() {
    let mut view = scene(FORMED_WITHOUT_FIVE);
    for number in 20..30 {
        let answer = Err(Failure::Silent(String::new()));
        view.peers.push(Peer { at: at(number), named: true, alias: false, answer });
    }
    assert_eq!(plan_of(&view).steps.len(), 5);
}

#[test]
fn cluster_of_which_only_a_part_is_found_is_not_joined() {
    let part = "
        5
        0 epoch=1 slots=0-16383 knows=1,2,3,4";
    assert_held(&plan(part), "part_of_cluster");
    // Those that are down cannot be found, and do not count.
    let down = format!("{part},6 sees=1:fail,2:noaddr,3:fail,4:fail,6:fail");
    assert_held(&plan(&down), "other_shape");
}

#[test]
fn cluster_of_which_only_the_fewer_are_found_is_not_joined() {
    // Pod 1 has the address that a pod of ours had.
    let text = "
        5
        1 epoch=1 slots=0-16383 knows=71,72,73";
    assert_held(&plan(text), "part_of_cluster");
    let down = text.replace("73", "73 sees=71:fail,72:fail,73:fail");
    assert_held(&plan(&down), "other_shape");
}

/// Three nodes, all there, where ours are six.
#[test]
fn cluster_of_another_shape_is_not_joined() {
    let other = "
        5
        0 epoch=1 slots=0-8191 knows=1,2
        1 epoch=2 slots=8192-16383 knows=0,2
        2 epoch=1 of=0 knows=0,1";
    assert_held(&plan(other), "other_shape");
}

#[test]
fn cluster_without_a_free_seat_is_not_joined() {
    let text = FORMED_WITHOUT_FIVE.replace(",9 sees=9:fail", ",9");
    assert_held(&plan(&format!("{text}\n9 epoch=3 of=2 knows=0,1,2,3,4")), "no_seat");
}

#[test]
fn new_member_follows_the_master_of_its_own_shard() {
    let met = FORMED_WITHOUT_FIVE.replace("    5\n", "    5 knows=0,1,2,3,4,9 sees=9:fail\n");
    let steps = plan(&met).steps;
    assert!(steps.contains(&Step::Replicate { master: id(2), why: Replicate::Join }), "{steps:?}");
}

#[test]
fn new_member_follows_the_master_that_lacks_a_replica_where_its_own_has_one() {
    let met = FORMED_WITHOUT_FIVE
        .replace("    5\n", "    5 knows=0,1,2,3,4,9 sees=9:fail\n")
        .replace("4 epoch=2 of=1", "4 epoch=3 of=2");
    let steps = plan(&met).steps;
    assert!(steps.contains(&Step::Replicate { master: id(1), why: Replicate::Join }), "{steps:?}");
}

#[test]
fn new_member_waits_while_the_master_of_its_shard_is_down() {
    let met =
        FORMED_WITHOUT_FIVE.replace("    5\n", "    5 knows=0,1,2,3,4,9 sees=9:fail,2:fail\n");
    let plan = plan(&met);
    assert!(plan.held.iter().any(|hold| hold.reason.kind() == "master_down"), "{plan:#?}");
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::Replicate { .. })));
}

#[test]
fn pod_beyond_the_shape_and_pod_without_a_number_are_held() {
    let view = scene("6 epoch=7");
    assert_held(&Plan::new(&view, &settings(6)), "beyond_shape");
    let nameless = Settings { ordinal: None, ..settings(0) };
    assert_held(&Plan::new(&view, &nameless), "no_ordinal");
}

#[test]
fn one_shard_of_one_pod_is_a_cluster() {
    let settings = Settings { shape: Some(Shape { shards: 1, replicas: 0 }), ..settings(0) };
    let plan = Plan::new(&scene("0 epoch=1"), &settings);
    assert_eq!(plan.steps, [Step::AddSlots(range("0-16383"))]);
    let plan = Plan::new(&scene("0 epoch=1 slots=0-16383"), &settings);
    assert!(plan.settled, "{plan:#?}");
}

/// Pod 4 lost its volume after the others had met it, and before any slot was taken.
#[test]
fn ghost_of_a_pod_that_came_back_fresh_does_not_stop_forming() {
    let text = "
        0 epoch=1 knows=1,2,3,5,9 sees=9:fail
        1 epoch=2 knows=0,2,3,5,9 sees=9:fail
        2 epoch=3 knows=0,1,3,5,9 sees=9:fail
        3 epoch=4 knows=0,1,2,5,9 sees=9:fail
        4 epoch=5
        5 epoch=6 knows=0,1,2,3,9 sees=9:fail";
    assert!(plan(text).steps.contains(&Step::Forget(id(9))));
}

/// Pod 3 lost its volume and is back, after master 1 was lost: it has not heard of the slots of 1.
const LEARNING: &str = "
    3 knows=0,2,4,5
    0 epoch=1 slots=0-5460 knows=1,2,3,4,5 sees=1:fail
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,5 sees=1:fail
    4 epoch=2 of=1 knows=0,1,2,3,5 sees=1:fail
    5 epoch=3 of=2 knows=0,1,2,3,4 sees=1:fail";

/// The scene with the slots of master 1, which is gone, in every other table.
fn learning(text: &str) -> View {
    let mut view = scene(text);
    for report in view.peers.iter_mut().filter_map(|peer| peer.answer.as_mut().ok()) {
        let gone = |node: &mut Node| node.slots = vec![range("5461-10922")];
        report.table = report.table.with_line(id(1), gone);
    }
    view
}

#[test]
fn fresh_pod_joins_its_own_shard_while_another_has_no_living_owner() {
    let plan = plan_of(&learning(LEARNING));
    assert_eq!(plan.steps, [Step::Replicate { master: id(0), why: Replicate::Join }]);
    // Its own has all its replicas: it waits to see which one lacks one.
    let full = LEARNING.replace("5 epoch=3 of=2", "5 epoch=3 of=0");
    assert_eq!(plan_of(&learning(&full)).steps, []);
}

#[test]
fn fresh_pod_whose_own_shard_has_no_living_owner_says_so() {
    let of_1 = LEARNING
        .replace("3 knows=0,2,4,5", "4 knows=0,2,3,5")
        .replace("4 epoch=2 of=1 knows=0,1,2,3,5", "3 epoch=1 of=0 knows=0,1,2,4,5");
    let plan = plan_of(&learning(&of_1));
    assert_held(&plan, "master_down");
}

#[test]
fn fresh_pod_learns_as_long_as_it_may_still_hear_of_an_owner() {
    let waits = |view: &View| {
        let plan = plan_of(view);
        plan.steps.is_empty() && matches!(plan.membership, Membership::Pending(_))
    };
    let seen = LEARNING.replace("of=2 knows=0,1,2,3,4 sees=1:fail", "of=2 knows=0,1,2,3,4");
    assert!(waits(&learning(&seen)));
    let mut unsure = learning(LEARNING);
    unsure.discovery = Discovery::Failed("timed out".to_owned());
    assert!(waits(&unsure));
    let mut silent = learning(LEARNING);
    silent.peers[2].answer = Err(Failure::Silent("timed out".to_owned()));
    assert!(waits(&silent));
}
