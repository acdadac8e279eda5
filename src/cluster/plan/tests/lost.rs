//! A shard that no pod has a copy of.

use super::*;

/// Pods 0 and 3 came back without their volumes and have met the others. Node 9 had slots 0-5460,
/// and node 8 was its replica.
const LOST: &str = "
    1 epoch=2 slots=5461-10922 knows=0,2,3,4,5,9 sees=9:lost
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,5,9 sees=9:lost
    4 epoch=2 of=1 knows=0,1,2,3,5,9 sees=9:lost
    5 epoch=3 of=2 knows=0,1,2,3,4,9 sees=9:lost
    0 knows=1,2,3,4,5,9 sees=9:fail
    3 knows=0,1,2,4,5,9 sees=9:fail";

/// The same from another pod.
fn seen_by(number: u8, text: &str) -> View {
    let start = format!("{number} ");
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    lines.sort_by_key(|line| !line.starts_with(&start));
    scene(&lines.join("\n"))
}

fn plan_in(number: u8, view: &View, on_lost_shard: OnLostShard) -> Plan {
    let settings = Settings { on_lost_shard, ..settings(number.into()) };
    Plan::new(view, &settings)
}

fn recreates(number: u8, text: &str) -> Plan {
    plan_in(number, &seen_by(number, text), OnLostShard::Recreate)
}

fn kinds(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(Step::kind).collect()
}

/// Everybody has forgotten node 9.
fn given_up() -> String {
    LOST.replace(",9 sees=9:lost", "").replace(",9 sees=9:fail", "")
}

#[test]
fn lost_shard_is_held_by_all_and_the_others_stay_members() {
    for number in 0..6 {
        let plan = plan_in(number, &seen_by(number, LOST), OnLostShard::Hold);
        let held: Vec<_> = plan.held.iter().map(|hold| hold.reason.kind()).collect();
        assert_eq!(held, ["shard_lost"], "{plan:#?}");
        assert!(plan.held[0].to_string().contains("slots 0-5460"), "{}", plan.held[0]);
        assert_eq!(plan.steps, []);
        let member = ![0, 3].contains(&number);
        assert_eq!(plan.membership == Membership::Member, member, "{plan:#?}");
    }
}

#[test]
fn its_owner_is_given_up_by_whoever_knows_its_slots() {
    for number in [1, 2, 4, 5] {
        let plan = recreates(number, LOST);
        assert_eq!((kinds(&plan), plan.held.len()), (vec!["give_up"], 0), "{plan:#?}");
        assert!(plan.steps[0].needs_confirming());
        assert_eq!(plan.membership, Membership::Member);
    }
    for number in [0, 3] {
        assert_eq!(kinds(&recreates(number, LOST)), [""; 0]);
    }
}

#[test]
fn nothing_is_given_up_while_a_copy_may_exist() {
    let mut away = seen_by(1, LOST);
    away.peers.retain(|peer| peer.at != at(3));
    let mut nameless = seen_by(1, LOST);
    nameless.discovery = Discovery::Failed("SERVFAIL".to_owned());
    let mut silent = seen_by(1, LOST);
    let answer = Err(Failure::Silent("timed out".to_owned()));
    silent.peers.push(Peer { at: at(99), named: true, alias: false, answer });
    let replica = LOST.replace("3 knows=0,1,2,4,5,9 sees=9:fail", "3 of=9 knows=0,1,2,4,5,9");
    let with_keys = LOST.replace("    3 knows", "    3 keys=1 knows");
    let reached = LOST.replace("5,9 sees=9:lost", "5,9 sees=9:slots");
    let not_met = LOST
        .replace("1 epoch=2 slots=5461-10922 knows=0,2,3", "1 epoch=2 slots=5461-10922 knows=0,2");
    for view in [
        away,
        nameless,
        silent,
        seen_by(1, &replica),
        seen_by(1, &with_keys),
        seen_by(1, &reached),
        seen_by(1, &not_met),
    ] {
        let plan = plan_in(1, &view, OnLostShard::Recreate);
        assert!(!kinds(&plan).contains(&"give_up"), "{plan:#?}");
    }
}

#[test]
fn shard_with_slots_on_the_move_is_held_for_the_other_end_may_have_keys() {
    let mut view = seen_by(1, LOST);
    let own = &mut view.own.table;
    *own = own.with_line(own.id(), |me| me.importing.push((5, id(9))));
    let plan = plan_in(1, &view, OnLostShard::Recreate);
    assert_eq!((plan.steps.len(), plan.held.len()), (0, 1), "{plan:#?}");
}

#[test]
fn shard_is_held_while_a_replica_without_its_master_may_have_keys_of_it() {
    let orphan = LOST.replace("5 epoch=3 of=2", "5 epoch=3 of=7 keys=1");
    let plan = recreates(1, &orphan);
    assert_eq!((plan.steps.len(), plan.held.len()), (0, 1), "{plan:#?}");
}

#[test]
fn slots_without_an_owner_are_taken_by_one_fresh_pod_with_an_epoch_of_its_own() {
    assert_eq!(kinds(&recreates(0, &given_up())), ["bump_epoch"]);
    let bumped = given_up().replace("    0 knows", "    0 epoch=0 knows");
    let take = [Step::AddSlots(range("0-5460"))];
    assert_eq!(recreates(0, &bumped).steps, take);
    for number in [1, 2, 3, 4, 5] {
        let plan = recreates(number, &bumped);
        assert_eq!(kinds(&plan), [""; 0], "{plan:#?}");
        assert_eq!(plan.membership == Membership::Member, number != 3, "{plan:#?}");
    }
}

#[test]
fn slots_are_not_taken_while_anybody_knows_their_owner() {
    let one_knows = LOST.replace(",9 sees=9:fail", "").replacen(",9 sees=9:lost", "", 3);
    assert_eq!(kinds(&recreates(0, &one_knows)), [""; 0]);
}

#[test]
fn two_lost_shards_go_to_two_pods_each_to_its_own_seat_where_it_can_be() {
    let both = given_up().replace("1 epoch=2 slots=5461-10922", "1").replace("4 epoch=2 of=1", "4");
    let first = both.replace("    0 knows", "    0 epoch=0 knows");
    assert_eq!(recreates(0, &first).steps, [Step::AddSlots(range("0-5460"))]);
    let taken = both.replace("    0 knows", "    0 epoch=0 slots=0-5460 knows");
    let second =
        taken.replace("    1 knows", "    1 epoch=0 knows").replace("0 epoch=0", "0 epoch=1");
    assert_eq!(recreates(1, &second).steps, [Step::AddSlots(range("5461-10922"))]);
}

#[test]
fn other_fresh_pod_becomes_a_replica_of_the_one_that_took_the_slots() {
    let taken = given_up().replace("    0 knows", "    0 epoch=0 slots=0-5460 knows");
    let join = Step::Replicate { master: id(0), why: Replicate::Join };
    assert_eq!(recreates(3, &taken).steps, [join]);
}

#[test]
fn cluster_that_is_being_formed_is_not_taken_for_one_that_lost_a_shard() {
    let forming = given_up().replace("    0 knows", "    0 epoch=1 knows");
    let plan = recreates(0, &forming);
    assert_eq!(plan.steps, [Step::AddSlots(range("0-5460"))]);
    assert_eq!(
        kinds(&recreates(3, &forming.replace("    3 knows", "    3 epoch=4 knows"))),
        [""; 0]
    );
}
