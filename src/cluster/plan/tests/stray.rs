//! A replica that copies, or has copied, somebody else.

use std::time::Instant;

use super::*;
use crate::cluster::memory::Memory;
use crate::cluster::observe::replication_of;
use crate::config::server::ServerConfig;

/// Pod 3, and its master 0 where pod 1 was; pod 1 is where 0 was.
const SWAPPED: &str = "
    3 epoch=1 of=0 knows=0,1,2,4,5
    0 epoch=1 slots=0-5460 knows=1,2,3,4,5
    1 epoch=2 slots=5461-10922 knows=0,2,3,4,5
    2 epoch=3 slots=10923-16383 knows=0,1,3,4,5
    4 epoch=2 of=1 knows=0,1,2,3,5
    5 epoch=3 of=2 knows=0,1,2,3,4";

const BACK: Step = Step::LetStand;

fn swapped() -> View {
    let mut view = scene(SWAPPED);
    (view.peers[0].at, view.peers[1].at) = (at(1), at(0));
    view.own.replication.stream.id = "of a stranger".to_owned();
    view
}

fn kept_back() -> Step {
    Step::KeepBack { master: id(0) }
}

fn flagged(mut view: View) -> View {
    let own = &mut view.own.table;
    *own = own.with_line(own.id(), |me| me.flags.nofailover = true);
    view
}

/// What these views call for, one after the other, of what is told here.
fn told(memory: &mut Memory, mut view: View) -> Option<Step> {
    memory.look(&mut view, Instant::now());
    view.past.kept_back = true;
    let plan = Plan::new(&view, &Settings { shape: None, ..settings(3) });
    let ours = |step: &&Step| matches!(step, Step::KeepBack { .. } | Step::LetStand);
    plan.steps.iter().find(ours).cloned()
}

#[test]
fn replica_whose_masters_address_another_has_is_not_to_be_elected() {
    let mut view = swapped();
    let moved = SWAPPED.replace("of=0 knows=0,1,2,4,5", "of=0 knows=0,1,2,4,5 sees=0:moved");
    view.own.table = scene(&moved).own.table;
    Memory::default().look(&mut view, Instant::now());
    let plan = Plan::new(&view, &Settings { shape: None, ..settings(3) });
    // Before anybody is met: an election may be half a second away.
    assert_eq!(plan.steps[0], kept_back());
    assert!(plan.steps.len() > 1, "{plan:#?}");
    // It need not be linked yet.
    let mut unlinked = swapped();
    unlinked.own.replication.role = Role::Replica { link_up: false, synced_once: false };
    assert_eq!(told(&mut Memory::default(), unlinked), Some(kept_back()));
    assert_eq!(told(&mut Memory::default(), flagged(swapped())), None);
}

#[test]
fn replica_whose_master_is_only_gone_may_be_elected() {
    let mut gone = scene(SWAPPED);
    gone.peers.remove(0);
    assert_eq!(told(&mut Memory::default(), gone), None);
    // Another server on the same address, at another port.
    let mut beside = swapped();
    beside.peers[1].at.set_port(6380);
    assert_eq!(told(&mut Memory::default(), beside), None);
    // It is asked under both of its addresses.
    let mut both = scene(SWAPPED);
    both.peers[1] = Peer { at: at(0), ..both.peers[0].clone() };
    assert_eq!(told(&mut Memory::default(), both), None);
    let refused = || Err(Failure::Said(Answer::Refused("NOAUTH".to_owned())));
    let mut unknown = swapped();
    unknown.peers[1].answer = refused();
    assert_eq!(told(&mut Memory::default(), unknown), None);
}

#[test]
fn stranger_is_seen_whichever_of_its_masters_ports_a_replica_copies_from() {
    let mut server = ServerConfig::defaults("/".as_ref());
    (server.port, server.tls_port) = (6379, 7443);
    for tls in [false, true] {
        server.tls.cluster = tls;
        let ports = server.ports();
        for port in [6379, 7443] {
            let info = format!("role:slave\nmaster_host:10.0.0.0\nmaster_port:{port}\n");
            let mut view = swapped();
            view.peers.iter_mut().for_each(|peer| peer.at.set_port(ports.asked));
            view.own.replication = replication_of(&info, ports);
            assert_eq!(told(&mut Memory::default(), view), Some(kept_back()), "{ports:?} {port}");
        }
    }
}

#[test]
fn replica_with_its_masters_data_is_elected_whoever_is_there_now() {
    let mut memory = Memory::default();
    let down = |mut view: View| {
        view.own.replication.role = Role::Replica { link_up: false, synced_once: true };
        view.own.replication.stream.link_up = false;
        view
    };
    assert_eq!(told(&mut memory, scene(SWAPPED)), None);
    let mut still = down(swapped());
    still.own.replication.stream.id = "of the master".to_owned();
    assert_eq!(told(&mut memory, still.clone()), None);
    // A copy of the stranger has begun.
    still.own.replication.stream.offset = 1;
    assert_eq!(told(&mut memory, still), Some(kept_back()));
    assert_eq!(told(&mut memory, swapped()), Some(kept_back()));
}

/// Whether a change of the own server alone keeps it back, after a look that saw this.
fn turns(last: &View, change: impl Fn(&mut Own)) -> Option<NodeId> {
    let mut own = last.own.clone();
    change(&mut own);
    turned_strange(last, &own)
}

#[test]
fn replica_that_begins_to_copy_a_stranger_is_kept_back_before_the_next_look() {
    let mut memory = Memory::default();
    let mut before = scene(SWAPPED);
    memory.look(&mut before, Instant::now());
    let mut last = swapped();
    last.own.replication.role = Role::Replica { link_up: false, synced_once: true };
    last.own.replication.stream = before.own.replication.stream.clone();
    last.own.replication.stream.link_up = false;
    memory.look(&mut last, Instant::now());
    assert!(is_exposed(&last) && last.past.is_copy, "{:?}", last.past);
    assert_eq!(turns(&last, |_| {}), None);
    assert_eq!(turns(&last, |own| own.replication.stream.offset = 1), Some(id(0)));
    let other = |own: &mut Own| own.replication.stream.id = "of a stranger".to_owned();
    assert_eq!(turns(&last, other), Some(id(0)));
    // Nobody was seen where its master was.
    assert!(!is_exposed(&before));
    assert_eq!(turns(&before, other), None);
    // It is done already, or it is the master by now.
    let flagged = flagged(last.clone());
    assert_eq!(turns(&flagged, other), None);
    let elected = scene(&SWAPPED.replace("3 epoch=1 of=0", "3 epoch=9 slots=0-5460"));
    assert_eq!(turned_strange(&last, &elected.own), None);
}

#[test]
fn replica_that_has_strayed_is_not_to_be_elected_until_it_copies_its_master() {
    let mut memory = Memory::default();
    assert_eq!(told(&mut memory, swapped()), Some(kept_back()));
    // Its master is found, and not copied yet; or it is gone, and so is the stranger.
    let mut unlinked = scene(SWAPPED);
    unlinked.own.replication.role = Role::Replica { link_up: false, synced_once: true };
    let mut gone = unlinked.clone();
    gone.peers.drain(..2);
    for view in [unlinked, gone] {
        assert_eq!(told(&mut memory, view.clone()), Some(kept_back()));
        assert_eq!(told(&mut memory, flagged(view)), None);
    }
    assert_eq!(told(&mut memory, flagged(scene(SWAPPED))), Some(BACK));
    assert_eq!(told(&mut memory, scene(SWAPPED)), None);
}

#[test]
fn master_is_let_stand_again() {
    let master = SWAPPED.replace("3 epoch=1 of=0", "3 epoch=9 slots=0-5460");
    assert_eq!(told(&mut Memory::default(), flagged(scene(&master))), Some(BACK));
}

#[test]
fn flag_of_the_user_stays() {
    let mut view = flagged(scene(SWAPPED));
    Memory::default().look(&mut view, Instant::now());
    assert_eq!(plan_of(&view).steps, []);
}

#[test]
fn failed_master_whose_replica_may_hold_another_ones_data_is_said_to_be_gone() {
    let text = SWAPPED.replace("of=0 knows=0,1,2,4,5", "of=0 knows=0,1,2,4,5 sees=0:fail");
    let mut view = scene(&text);
    view.peers.remove(0);
    (view.past.missing, view.past.strayed) = (Some(Duration::from_secs(60)), true);
    for report in view.peers.iter_mut().filter_map(|peer| peer.answer.as_mut().ok()) {
        report.table = report.table.with_line(id(0), |node| node.flags.fail = true);
    }
    view.own.table = view.own.table.with_line(id(0), |node| node.slots.push(range("0-5460")));
    let held = plan_of(&view).held;
    assert!(held.iter().any(|hold| hold.reason == Reason::MasterGone(Lack::Data)), "{held:#?}");
}
