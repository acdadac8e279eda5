//! Healing, forgetting, and leaving alone.

use super::*;

/// A formed cluster, seen by pod 0.
const WHOLE: &str = "
    0 epoch=1 slots=0-5460 knows=1,2,3,4,5
    1 epoch=2 slots=5461-10922 knows=0,2,3,4,5
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,5
    3 epoch=1 of=0 knows=0,1,2,4,5
    4 epoch=2 of=1 knows=0,1,2,3,5
    5 epoch=3 of=2 knows=0,1,2,3,4";

fn line(text: &str, number: u8, more: &str) -> String {
    let start = format!("{number} ");
    let edit = |line: &str| match line.trim().starts_with(&start) {
        true => format!("{line} {more}"),
        false => line.to_owned(),
    };
    text.lines().map(edit).collect::<Vec<_>>().join("\n")
}

/// `text` with node 9 known to everybody, and failed.
fn with_ghost(text: &str) -> String {
    (0..6).fold(text.replace("knows=", "knows=9,"), |text, n| line(&text, n, "sees=9:fail"))
}

#[test]
fn healthy_cluster_is_left_alone() {
    let plan = plan(WHOLE);
    assert!(plan.settled, "{plan:#?}");
    assert_eq!(plan.membership, Membership::Member);
}

#[test]
fn member_that_has_moved_is_met_at_its_present_address() {
    assert_eq!(plan(&line(WHOLE, 0, "sees=4:moved")).steps, [meet(4, Meet::Moved)]);
    assert_eq!(plan(&line(WHOLE, 0, "sees=4:noaddr")).steps, [meet(4, Meet::Moved)]);
}

/// Pod 3 has handed over to 4 while 0 was its replica.
const CHAINED: &str = "
    0 epoch=7 of=3 knows=1,2,3,4,5
    1 epoch=2 slots=5461-10922 knows=0,2,3,4,5
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,5
    3 epoch=7 of=4 knows=0,1,2,4,5
    4 epoch=7 slots=0-5460 knows=0,1,2,3,5
    5 epoch=3 of=2 knows=0,1,2,3,4";

#[test]
fn replica_of_a_replica_follows_the_master_of_both() {
    let above = Step::Replicate { master: id(4), why: Replicate::Above };
    assert_eq!(plan(CHAINED).steps, std::slice::from_ref(&above));
    // Not by hearsay.
    let mut view = scene(CHAINED);
    view.peers.retain(|peer| peer.answer.as_ref().is_ok_and(|report| report.table.id() != id(4)));
    assert!(!plan_of(&view).steps.iter().any(|step| matches!(step, Step::Replicate { .. })));
    // The one between has gone since.
    let follows = |view: &View| plan_of(view).steps.contains(&above);
    let mut view = scene(CHAINED);
    view.peers.retain(|peer| peer.answer.as_ref().is_ok_and(|report| report.table.id() != id(3)));
    assert!(follows(&view));
    for peer in &mut view.peers {
        let report = peer.answer.as_mut().expect("it answers");
        report.table = report.table.with_line(id(3), |line| line.master = None);
    }
    assert!(!follows(&view));
    let mut view = scene(CHAINED);
    view.own.keys = 5;
    assert_eq!(plan_of(&view).steps, []);
    let held = plan_of(&view).held;
    assert!(held.iter().any(|hold| hold.reason == Reason::EmptyMaster(5)), "{held:#?}");
}

#[test]
fn member_that_looks_for_us_elsewhere_is_met() {
    assert_eq!(plan(&line(WHOLE, 4, "sees=0:moved")).steps, [meet(4, Meet::Moved)]);
    assert_eq!(plan(&line(WHOLE, 4, "sees=0:noaddr")).steps, [meet(4, Meet::Moved)]);
    assert_eq!(
        plan(&WHOLE.replace("4 epoch=2 of=1 knows=0,", "4 epoch=2 of=1 knows=")).steps,
        [meet(4, Meet::Moved)]
    );
}

#[test]
fn link_that_works_is_left_alone_at_the_address_that_is_announced() {
    let announced = |pod, by| {
        line(&line(WHOLE, pod, &format!("sees={by}:natted")), by, &format!("sees={by}:natted"))
    };
    assert_eq!(plan(&announced(0, 4)).steps, []);
    assert_eq!(plan(&announced(4, 0)).steps, []);
}

#[test]
fn link_to_an_address_that_nobody_announces_is_met_though_it_shows_as_connected() {
    // So it does as long as a connection is tried, which where packets are lost is for long.
    assert_eq!(plan(&line(WHOLE, 0, "sees=4:natted")).steps, [meet(4, Meet::Moved)]);
    assert_eq!(plan(&line(WHOLE, 4, "sees=0:natted")).steps, [meet(4, Meet::Moved)]);
}

#[test]
fn broken_link_to_the_right_address_is_left_to_the_server() {
    let plan = plan(&line(WHOLE, 0, "sees=4:down"));
    assert_eq!(plan.steps, []);
    assert!(!plan.settled);
}

#[test]
fn unknown_node_is_never_met_by_a_member() {
    let stranger = format!("{WHOLE}\n66 epoch=9 slots=0-16383");
    assert_eq!(plan(&stranger).steps, []);
    let healing_only = Settings { shape: None, ..settings(0) };
    assert_eq!(Plan::new(&scene(&stranger), &healing_only).steps, []);
}

#[test]
fn healing_needs_no_shape() {
    let healing_only = Settings { shape: None, ..settings(0) };
    let plan = Plan::new(&scene(&line(WHOLE, 0, "sees=4:moved")), &healing_only);
    assert_eq!(plan.steps, [meet(4, Meet::Moved)]);
    assert_eq!(plan.membership, Membership::Member);
}

#[test]
fn without_a_shape_a_fresh_pod_does_nothing() {
    let healing_only = Settings { shape: None, ..settings(0) };
    let plan = Plan::new(&scene("0\n1 epoch=2"), &healing_only);
    assert_eq!((plan.steps.len(), plan.membership), (0, Membership::NotWanted));
}

#[test]
fn id_at_two_addresses_is_held_and_not_met() {
    let mut view = scene(&line(WHOLE, 0, "sees=4:moved"));
    let mut copy = view.peers[3].clone();
    copy.at = at(44);
    view.peers.push(copy);
    let plan = plan_of(&view);
    assert_eq!(plan.held.len(), 1, "{plan:#?}");
    assert_eq!(plan.held[0].reason.kind(), "same_id");
    assert_eq!(plan.steps, []);
}

#[test]
fn replica_looks_for_its_master_where_it_is_now() {
    let text = "
        3 epoch=1 of=0 knows=0
        0 epoch=1 slots=0-5460 knows=3";
    let mut view = scene(text);
    let down = Role::Replica { link_up: false, synced_once: true };
    view.own.replication.role = down;
    view.own.replication.master_host = Some("10.0.9.9".to_owned());
    let plan = Plan::new(&view, &Settings { shape: None, ..settings(3) });
    assert_eq!(plan.steps, [Step::Replicate { master: id(0), why: Replicate::Moved }]);
}

#[test]
fn ghost_is_forgotten_when_all_pods_answer() {
    let plan = plan(&with_ghost(WHOLE));
    assert_eq!(plan.steps, [Step::Forget(id(9))]);
}

#[test]
fn replica_with_keys_is_not_led_to_a_master_that_came_back_empty() {
    let text = "
        3 epoch=1 of=0 knows=0 keys=7
        0 epoch=1 slots=0-5460 knows=3";
    let mut view = scene(text);
    let down = Role::Replica { link_up: false, synced_once: false };
    view.own.replication.role = down;
    view.own.replication.master_host = Some("10.0.9.9".to_owned());
    let settings = Settings { shape: None, ..settings(3) };
    let plan = Plan::new(&view, &settings);
    assert_eq!((plan.steps.len(), plan.held.len()), (0, 1));
    assert_eq!(plan.held[0].reason.kind(), "empty_master");
}

#[test]
fn replica_that_copies_from_whoever_has_its_masters_old_address_is_led_back() {
    let text = "
        3 epoch=1 of=0 knows=0
        0 epoch=1 slots=0-5460 knows=3";
    let mut view = scene(text);
    view.own.replication.master_host = Some("10.0.9.9".to_owned());
    let settings = Settings { shape: None, ..settings(3) };
    let back = Step::Replicate { master: id(0), why: Replicate::Moved };
    assert_eq!(Plan::new(&view, &settings).steps, [back]);
    // It is not known to have left the old address.
    view.peers.clear();
    assert_eq!(Plan::new(&view, &settings).steps, []);
}

#[test]
fn stranger_does_not_stand_in_for_a_member_that_is_out_of_reach() {
    let text = line(&with_ghost(WHOLE), 0, "").replace("sees=9:fail", "sees=9:fail,5:fail");
    let mut view = scene(&format!("{text}\n66 epoch=9 slots=0-16383"));
    view.peers.retain(|peer| peer.at != at(5));
    assert_eq!(view.pods().len(), 6);
    let forgets = |step: &Step| matches!(step, Step::Forget(_));
    assert!(!plan_of(&view).steps.iter().any(forgets));
}

/// To the others it is `noaddr` since we are there, so it is never marked as failed.
#[test]
fn ghost_whose_address_is_ours_now_is_forgotten() {
    let text = with_ghost(WHOLE).replace("9:fail", "9:noaddr").replacen("9:noaddr", "9:nowhere", 1);
    assert_eq!(plan(&text).steps, [Step::Forget(id(9))]);
}

#[test]
fn ghost_is_kept_while_a_pod_is_missing() {
    let mut view = scene(&with_ghost(WHOLE));
    view.peers.pop();
    assert_eq!(plan_of(&view).steps, []);
}

#[test]
fn ghost_is_kept_while_anybody_reaches_it_or_follows_it() {
    let reached = line(&with_ghost(WHOLE), 1, "")
        .replace("10922 knows=9,0,2,3,4,5 sees=9:fail", "10922 knows=9,0,2,3,4,5");
    assert!(reached.matches("sees=9:fail").count() == 5);
    assert_eq!(plan(&reached).steps, []);
    let followed = with_ghost(WHOLE).replace("of=2", "of=9");
    assert!(!plan(&followed).steps.contains(&Step::Forget(id(9))));
}

#[test]
fn failed_owner_of_slots_is_never_forgotten() {
    let mut view = scene(&with_ghost(WHOLE));
    view.own.table = view.own.table.with_line(id(9), |node| node.slots = vec![range("5-5")]);
    assert!(!plan_of(&view).steps.iter().any(|step| matches!(step, Step::Forget(_))));
}

#[test]
fn cluster_that_was_ok_is_not_settled_while_its_state_is_fail() {
    let mut view = scene(WHOLE);
    view.own.state_ok = false;
    assert!(!plan_of(&view).settled);
}

/// Pod 0 came back first after all had gone.
fn alone() -> View {
    let mut view = scene(WHOLE);
    view.peers.clear();
    view.own.state_ok = false;
    view
}

#[test]
fn member_that_came_back_first_waits_for_pods_that_are_not_created_yet() {
    let mut view = alone();
    let lone = Standing::Lone("1 of the 3 masters answer".to_owned());
    assert_eq!(standing(&view), lone);
    // Its own word proves nothing for the first node timeout.
    view.own.state_ok = true;
    assert_eq!(standing(&view), lone);
}

#[test]
fn replica_waits_for_its_master_even_if_most_masters_are_there() {
    let text = line(WHOLE, 0, "").replace("0 epoch=1 slots=0-5460", "0 epoch=3 of=2");
    let mut view = scene(&text.replace("3 epoch=1 of=0", "3 epoch=1 slots=0-5460"));
    view.own.state_ok = false;
    view.peers.remove(1);
    assert!(matches!(standing(&view), Standing::Lone(what) if what.contains("its master")));
    // A rolling update goes on only once the master is known to be there.
    view.own.state_ok = true;
    assert!(matches!(standing(&view), Standing::Doubted(what) if what.contains("its master")));
}

#[test]
fn pod_that_exists_but_is_out_of_reach_is_not_waited_for() {
    let mut view = alone();
    let answer = Err(Failure::Silent("timed out".to_owned()));
    view.peers.push(Peer { at: at(1), named: true, alias: false, answer });
    let doubted = Standing::Doubted("1 of the 3 masters answer".to_owned());
    assert_eq!(standing(&view), doubted);
    view.peers[0].named = false;
    assert!(matches!(standing(&view), Standing::Lone(_)));
    view.discovery = Discovery::Failed("timed out".to_owned());
    assert_eq!(standing(&view), doubted);
    view.discovery = Discovery::Off;
    assert_eq!(standing(&view), Standing::Confirmed);
}

#[test]
fn member_among_most_masters_is_confirmed_unless_its_slots_have_a_later_owner() {
    let mut view = scene(WHOLE);
    assert_eq!(standing(&view), Standing::Confirmed);
    let answer = view.peers[0].answer.as_mut().expect("it answers");
    let mut nodes: Vec<Node> = answer.table.nodes().cloned().collect();
    let slots = std::mem::take(&mut node(&mut nodes, 0).slots);
    let successor = node(&mut nodes, 3);
    (successor.slots, successor.config_epoch) = (slots, u64::MAX);
    answer.table = Table::new(nodes.clone()).expect("a table");
    assert_eq!(standing(&view), Standing::Doubted(format!("{} has its slots now", id(3))));
    // An earlier owner has not heard of us yet.
    node(&mut nodes, 3).config_epoch = 0;
    view.peers[0].answer.as_mut().expect("it answers").table = Table::new(nodes).expect("a table");
    assert_eq!(standing(&view), Standing::Confirmed);
}

fn node(nodes: &mut [Node], number: u8) -> &mut Node {
    nodes.iter_mut().find(|node| node.id == id(number)).expect("it knows all")
}

/// Pod 4 was reset, went away, and is a member of the cluster of 61 and 62 now.
const GONE_OVER: &str = "
    0 epoch=1 slots=0-5460 knows=1,2,3,4,5 sees=4:moved
    1 epoch=2 slots=5461-10922 knows=0,2,3,4,5
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,5
    4 epoch=9 of=61 knows=61,62
    61 epoch=9 slots=0-16383 knows=4,62";

#[test]
fn member_that_went_over_to_another_cluster_is_not_met() {
    for shape in [Some(SHAPE), None] {
        let plan = Plan::new(&scene(GONE_OVER), &Settings { shape, ..settings(0) });
        assert!(!plan.steps.contains(&meet(4, Meet::Moved)), "{plan:#?}");
        assert!(plan.held.iter().any(|hold| hold.reason.kind() == "other_cluster"), "{plan:#?}");
    }
}

#[test]
fn pod_that_has_met_one_of_a_cluster_and_lost_it_again_meets_it_again() {
    let text = format!("6 knows=0 sees=0:noaddr\n{WHOLE}");
    assert!(plan(&text).steps.contains(&meet(0, Meet::Moved)), "{:#?}", plan(&text));
}

#[test]
fn member_that_was_reset_and_knows_nobody_is_met() {
    let text =
        line(&WHOLE.replace("4 epoch=2 of=1 knows=0,1,2,3,5", "4 epoch=2"), 0, "sees=4:moved");
    assert!(plan(&text).steps.contains(&meet(4, Meet::Moved)));
}

#[test]
fn nobody_is_forgotten_while_a_pod_that_exists_is_out_of_reach() {
    let mut view = scene(&with_ghost(WHOLE));
    let answer = Err(Failure::Silent("timed out".to_owned()));
    view.peers.push(Peer { at: at(99), named: true, alias: false, answer });
    assert_eq!(plan_of(&view).steps, []);
}
