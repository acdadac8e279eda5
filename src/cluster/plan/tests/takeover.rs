//! Taking over from a master that is nowhere.

use super::*;

/// Pod 3, at whose master 0's address somebody else answers now.
const GONE: &str = "
    3 epoch=1 of=0 knows=0,1,2,4,5 sees=0:noaddr
    1 epoch=2 slots=5461-10922 knows=0,2,3,4,5 sees=0:noaddr
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,5 sees=0:noaddr
    4 epoch=2 of=1 knows=0,1,2,3,5 sees=0:noaddr
    5 epoch=3 of=2 knows=0,1,2,3,4 sees=0:noaddr
    77";

/// The node timeout of the tests, and a second.
const WAIT: Duration = Duration::from_secs(16);

fn with_slots_of_0(table: &Table) -> Table {
    table.with_line(id(0), |node| node.slots = vec![range("0-5460")])
}

/// The scene after the wait, with the slots of 0 in each table, and all that the order needs.
fn gone(text: &str) -> View {
    let mut view = scene(text);
    view.own.table = with_slots_of_0(&view.own.table);
    for report in view.peers.iter_mut().filter_map(|peer| peer.answer.as_mut().ok()) {
        report.table = with_slots_of_0(&report.table);
    }
    view.own.replication.role = Role::Replica { link_up: false, synced_once: true };
    (view.own.replication.stream.link_up, view.own.replication.down_for) = (false, Some(WAIT));
    view.past = Past { missing: Some(WAIT), ordered: None, is_copy: true, ..Past::default() };
    view
}

fn settings_of_3() -> Settings {
    Settings { shape: None, ..settings(3) }
}

fn takes_over(view: &View) -> bool {
    let with_shape = Plan::new(view, &settings(3));
    let plan = Plan::new(view, &settings_of_3());
    let is_order = |step: &Step| matches!(step, Step::TakeOver { .. });
    assert_eq!(with_shape.steps.iter().any(is_order), plan.steps.iter().any(is_order));
    plan.steps.iter().any(is_order)
}

/// What the replica lacks, by its hold.
fn lack(view: &View) -> Option<Lack> {
    assert!(!takes_over(view));
    let plan = Plan::new(view, &settings_of_3());
    plan.held.into_iter().find_map(|hold| match hold.reason {
        Reason::MasterGone(lack) => Some(lack),
        _ => None,
    })
}

#[test]
fn replica_takes_over_from_a_master_that_has_no_address_and_is_nowhere() {
    let view = gone(GONE);
    assert!(takes_over(&view));
    let order = Step::TakeOver { master: id(0), stream: "of the master".to_owned() };
    assert!(order.needs_confirming());
    assert_eq!(Plan::new(&view, &settings_of_3()).steps, [order]);
}

#[test]
fn nothing_is_ordered_or_said_before_the_wait_is_over() {
    for missing in [None, Some(Duration::ZERO), Some(WAIT - Duration::from_millis(1))] {
        let mut view = gone(GONE);
        view.past.missing = missing;
        assert_eq!(lack(&view), None);
    }
}

#[test]
fn master_may_be_somewhere_while_anybody_is_out_of_reach() {
    let missing = |change: &dyn Fn(&mut View)| {
        let mut view = gone(GONE);
        change(&mut view);
        assert!(!takes_over(&view));
        missing_master(&view)
    };
    assert_eq!(missing(&|view| view.past.is_copy = false), Some(id(0)));
    assert_eq!(missing(&|view| view.discovery = Discovery::Off), None);
    assert_eq!(missing(&|view| view.discovery = Discovery::Failed("timed out".to_owned())), None);
    let silent = || Err(Failure::Silent("timed out".to_owned()));
    // A pod that the Service names; a member that counts as up; a server that starts.
    assert_eq!(missing(&|view| view.peers[4].answer = silent()), None);
    assert_eq!(missing(&|view| _ = view.peers.remove(3)), None);
    let loading = || Err(Failure::Said(Answer::Loading));
    assert_eq!(
        missing(&|view| (view.peers[4].named, view.peers[4].answer) = (false, loading())),
        None
    );
    // An address of a list that nobody has, or somebody with another password.
    let refused = || Err(Failure::Said(Answer::Refused("NOAUTH".to_owned())));
    for answer in [silent(), refused()] {
        let mut view = gone(GONE);
        (view.peers[4].named, view.peers[4].answer) = (false, answer);
        assert!(takes_over(&view));
    }
}

#[test]
fn master_that_anybody_reaches_is_not_deposed() {
    let seen = GONE.replace("of=2 knows=0,1,2,3,4 sees=0:noaddr", "of=2 knows=0,1,2,3,4");
    assert_eq!(lack(&gone(&seen)), None);
    let there = GONE.replace("77", "0 epoch=1 slots=0-5460 knows=1,2,3,4,5");
    assert_eq!(lack(&gone(&there)), None);
}

#[test]
fn slots_that_another_has_taken_are_left_to_it() {
    let mut view = gone(GONE);
    let taken = Spec::read("4 epoch=9 slots=0-5460 knows=1,2,3,5");
    view.peers[2].answer = Ok(Report {
        table: table(&BTreeMap::new(), &taken),
        keys: 0,
        stream: Stream { id: String::new(), offset: 0, link_up: true },
        follows: None,
    });
    assert_eq!(lack(&view), None);
}

#[test]
fn failed_master_is_left_to_the_election_of_the_server() {
    assert_eq!(lack(&gone(&GONE.replace("sees=0:noaddr", "sees=0:fail"))), Some(Lack::Elected));
}

#[test]
fn own_flag_that_keeps_the_server_from_the_election_is_said() {
    let mut view = gone(&GONE.replace("sees=0:noaddr", "sees=0:fail"));
    let own = &mut view.own.table;
    *own = own.with_line(own.id(), |me| me.flags.nofailover = true);
    assert_eq!(lack(&view), Some(Lack::Flagged));
}

#[test]
fn too_few_masters_elect_nobody() {
    let down = GONE
        .replace("of=0 knows=0,1,2,4,5 sees=0:noaddr", "of=0 knows=0,1,2,4,5 sees=0:noaddr,1:fail");
    assert_eq!(lack(&gone(&down)), Some(Lack::Voters { voters: 1, needed: 2 }));
}

#[test]
fn replica_takes_over_only_with_what_is_its_masters() {
    let mut unknown = gone(GONE);
    unknown.past.is_copy = false;
    assert_eq!(lack(&unknown), Some(Lack::Data));
    let mut dated = gone(GONE);
    (dated.past.is_copy, dated.past.is_dated) = (false, true);
    assert_eq!(lack(&dated), Some(Lack::Dated));
    let mut cut_short = gone(GONE);
    cut_short.own.replication.stream.offset = 1;
    assert_eq!(lack(&cut_short), Some(Lack::Data));
    // Whoever answers where the master was is being copied.
    let mut linked = gone(GONE);
    linked.own.replication.role = Role::Replica { link_up: true, synced_once: true };
    assert_eq!(lack(&linked), Some(Lack::Data));
}

#[test]
fn replica_out_of_touch_for_ten_node_timeouts_is_too_old() {
    let mut view = gone(GONE);
    view.own.replication.down_for = Some(Duration::from_secs(150));
    assert!(takes_over(&view));
    for down_for in [None, Some(Duration::from_secs(151))] {
        view.own.replication.down_for = down_for;
        assert_eq!(lack(&view), Some(Lack::Age));
    }
}

#[test]
fn replica_with_most_of_the_masters_stream_goes_first() {
    let with = |stream: &str, offset: u64, number: u8| {
        let line = format!("{number} epoch=1 of=0 knows=0,1,2,3,4,5 sees=0:noaddr");
        let mut view = gone(&GONE.replace("77", &line));
        let report = view.peers[4].answer.as_mut().expect("it answered");
        (report.stream.id, report.stream.offset) = (stream.to_owned(), offset);
        view
    };
    assert!(takes_over(&with("of the master", 99, 6)));
    assert_eq!(lack(&with("of the master", 101, 6)), Some(Lack::Behind(id(6))));
    // As much: the lower id.
    assert!(takes_over(&with("of the master", 100, 6)));
    // What it has is another's, so it never takes over, and is not waited for.
    assert!(takes_over(&with("of a stranger", 101, 6)));
}

#[test]
fn order_is_not_repeated_while_the_server_may_not_ask_for_votes_again() {
    let mut view = gone(GONE);
    view.past.ordered = Some(Duration::from_secs(60));
    assert_eq!(lack(&view), Some(Lack::Votes));
    view.past.ordered = Some(Duration::from_secs(61));
    assert!(takes_over(&view));
}

#[test]
fn order_is_void_once_the_server_has_changed() {
    let own = || gone(GONE).own;
    assert!(still_takes_over(&own(), id(0), "of the master"));
    assert!(!still_takes_over(&own(), id(1), "of the master"));
    assert!(!still_takes_over(&own(), id(0), "of a stranger"));
    let back = GONE.replace("of=0 knows=0,1,2,4,5 sees=0:noaddr", "of=0 knows=0,1,2,4,5");
    assert!(!still_takes_over(&gone(&back).own, id(0), "of the master"));
    let mut linked = own();
    linked.replication.role = Role::Replica { link_up: true, synced_once: true };
    assert!(!still_takes_over(&linked, id(0), "of the master"));
}
