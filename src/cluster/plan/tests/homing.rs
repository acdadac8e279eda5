//! Who takes the slots of its own seat back, and when.

use super::*;

/// After a rolling restart: pod 0 is the replica of 3.
const SWAPPED: &str = "
    0 epoch=7 of=3 knows=1,2,3,4,5
    1 epoch=2 slots=5461-10922 knows=0,2,3,4,5
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,5
    3 epoch=7 slots=0-5460 knows=0,1,2,4,5
    4 epoch=2 of=1 knows=0,1,2,3,5
    5 epoch=3 of=2 knows=0,1,2,3,4";

/// The same view, after nothing has happened for so long.
fn calm_for(seconds: u64, view: View) -> View {
    let calm = Duration::from_secs(seconds);
    View { past: Past { calm, is_copy: true, ..Past::default() }, ..view }
}

/// The plan of pod 0 after so many seconds in which nothing has happened.
fn after(calm_s: u64, view: View) -> Plan {
    let settings = Settings { prefer_home: true, ..settings(0) };
    Plan::new(&calm_for(calm_s, view), &settings)
}

/// The same, where what a peer says of itself differs in this.
fn with_own_line(peer: usize, change: impl Fn(&mut Node)) -> View {
    let mut view = scene(SWAPPED);
    let report = view.peers[peer].answer.as_mut().expect("it answers");
    report.table = report.table.with_line(report.table.id(), change);
    view
}

#[test]
fn first_master_takes_its_slots_back_when_all_is_calm() {
    assert_eq!(after(30, scene(SWAPPED)).steps, [Step::TakeHome { master: id(3) }]);
    let early = after(29, scene(SWAPPED));
    assert!(early.steps.is_empty() && early.settled);
}

#[test]
fn nobody_goes_home_unless_told_to() {
    let view = calm_for(1000, scene(SWAPPED));
    assert!(Plan::new(&view, &settings(0)).settled);
}

#[test]
fn whoever_has_a_higher_ordinal_waits_for_longer() {
    let settings = |ordinal| Settings { prefer_home: true, ..settings(ordinal) };
    for (ordinal, seconds) in [(0, 30), (1, 35), (2, 40)] {
        assert!(home::is_calm(Duration::from_secs(seconds), &settings(ordinal)));
        assert!(!home::is_calm(Duration::from_secs(seconds - 1), &settings(ordinal)));
    }
}

#[test]
fn master_at_home_and_replica_of_another_shard_stay() {
    let at_home = SWAPPED.replace("0 epoch=7 of=3", "0 epoch=7 slots=0-5460");
    let at_home = at_home.replace("3 epoch=7 slots=0-5460", "3 epoch=7 of=0");
    assert!(after(1000, scene(&at_home)).steps.is_empty());
    let later = Settings { prefer_home: true, ..settings(3) };
    let replica = SWAPPED.replace("0 epoch=7 of=3", "3 epoch=7 of=0");
    let view = calm_for(1000, scene(&replica));
    assert_eq!(home::successor_at_home(&view.own.table, &later), None);
}

#[test]
fn nobody_goes_home_while_anything_is_wrong_anywhere() {
    let mut missing = scene(SWAPPED);
    missing.peers.pop();
    let mut silent = scene(SWAPPED);
    silent.peers[4].answer = Err(Failure::Silent("timed out".to_owned()));
    let failing = scene(&SWAPPED.replace("1,2,3,5", "1,2,3,5 sees=5:fail"));
    let leaving = with_own_line(0, |me| me.flags.nofailover = true);
    let giving = with_own_line(2, |me| me.migrating.push((7, id(1))));
    let taking = with_own_line(0, |me| me.importing.push((7, id(3))));
    let mut unlinked = scene(SWAPPED);
    unlinked.own.replication.role = Role::Replica { link_up: false, synced_once: true };
    for view in [missing, silent, failing, leaving, giving, taking, unlinked] {
        let plan = after(1000, view);
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::TakeHome { .. })), "{plan:?}");
    }
}

#[test]
fn who_may_have_another_ones_data_does_not_go_home() {
    let mut view = calm_for(1000, scene(SWAPPED));
    view.past.is_copy = false;
    let settings = Settings { prefer_home: true, ..settings(0) };
    assert!(Plan::new(&view, &settings).steps.is_empty());
}

#[test]
fn going_home_is_looked_at_twice() {
    let plan = after(30, scene(SWAPPED));
    assert!(plan.steps.iter().all(Step::needs_confirming));
}
