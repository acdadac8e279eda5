//! Pods that announce another address than their own.

use super::*;

/// The port of the bus, as no table has it.
const BUS_PORT: u16 = 17000;

const TO_ALL: Announced = Announced::ToAll { bus_port: BUS_PORT };

/// What node 1 announces in these scenes.
fn natted(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), port)
}

/// Pod 0, and its replica 1, which it knows as this; 1 says of itself that it is at 192.0.2.1.
fn announces(sees: &str) -> View {
    let mut view = scene(&format!(
        "0 epoch=1 slots=0-16383 knows=1 sees=1:{sees}\n1 epoch=1 of=0 knows=0 sees=1:natted"
    ));
    view.announced = TO_ALL;
    view
}

/// The same, where 1 was asked there, too, and answered.
fn answers_there(mut view: View, port: u16) -> View {
    view.peers.push(Peer { at: natted(port), alias: true, ..view.peers[0].clone() });
    view
}

fn healed(view: &View) -> Plan {
    let settings = Settings { shape: None, ip: Some(ip(0)), ..settings(0) };
    Plan::new(view, &settings)
}

/// The step that meets 1 at its own address and ports.
fn meet_at_its_own(why: Meet) -> Step {
    let at = at(1);
    Step::Meet { id: id(1), asked_at: at, at, bus_port: BUS_PORT, why }
}

#[test]
fn member_that_has_moved_is_met_at_its_own_address_where_the_bus_is_its_own() {
    let plan = healed(&answers_there(announces("moved"), 6379));
    assert_eq!((plan.steps, plan.held), (vec![meet_at_its_own(Meet::Moved)], vec![]));
}

#[test]
fn pod_is_met_for_the_first_time_at_its_own_address() {
    let fresh = "0 epoch=1\n1 epoch=2 sees=1:natted\n2 epoch=3\n3 epoch=4\n4 epoch=5\n5 epoch=6";
    let mut view = scene(fresh);
    view.announced = TO_ALL;
    let steps = plan_of(&answers_there(view, 6379)).steps;
    let met =
        steps.into_iter().find(|step| matches!(step, Step::Meet { id: met, .. } if *met == id(1)));
    assert_eq!(met, Some(meet_at_its_own(Meet::Join)));
}

#[test]
fn ports_that_clients_are_told_are_not_met() {
    let mut view = announces("moved");
    view.announced = Announced::ToClients;
    let Ok(report) = &mut view.peers[0].answer else { panic!("it answers") };
    report.table = report.table.with_line(id(1), |me| me.address.port = 30001);
    assert_eq!(healed(&view).steps, [meet(1, Meet::Moved)]);
}

#[test]
fn broken_link_to_where_a_pod_answers_is_left_to_the_server() {
    let mut view = answers_there(announces("natted"), 6379);
    view.own.table = view.own.table.with_line(id(1), |line| line.connected = false);
    assert_eq!(healed(&view).steps, []);
    view.peers.pop();
    assert_eq!(healed(&view).steps, [meet_at_its_own(Meet::Moved)]);
}

#[test]
fn address_that_leads_nowhere_is_held_unless_there_is_a_link_to_it() {
    let held = |view: &View| -> Vec<&str> {
        healed(view).held.iter().map(|hold| hold.reason.kind()).collect()
    };
    assert_eq!(held(&announces("moved")), ["announced_unreachable"]);
    assert_eq!(held(&announces("natted")), Vec::<&str>::new());
    assert_eq!(held(&answers_there(announces("moved"), 6379)), Vec::<&str>::new());
    // Its bus does not.
    let mut lost = answers_there(announces("natted"), 6379);
    lost.own.table = lost.own.table.with_line(id(1), |line| line.connected = false);
    lost.past.unlinked = Duration::from_millis(4900);
    assert_eq!(held(&lost), Vec::<&str>::new());
    lost.past.unlinked = Duration::from_secs(5);
    assert_eq!(held(&lost), ["announced_unreachable"]);
    // It is known by an old address, as a server that nobody has set this for.
    let mut plain = announces("moved");
    plain.announced = Announced::Nothing;
    assert_eq!(held(&plain), Vec::<&str>::new());
}

#[test]
fn alias_counts_for_nobody_and_says_who_is_there() {
    let view = answers_there(announces("natted"), 6379);
    assert_eq!((view.pods().len(), view.reports().count()), (2, 1));
    assert!(view.answers_at(natted(6379), id(1)) && view.answers_at(at(1), id(1)));
}

#[test]
fn replica_whose_master_has_moved_to_another_announced_address_follows_it() {
    let text =
        "1 epoch=1 of=0 knows=0 sees=0:natted\n0 epoch=1 slots=0-16383 knows=1 sees=0:natted";
    let mut view = scene(text);
    let follows = |view: &View| {
        let steps = healed(view).steps;
        steps.contains(&Step::Replicate { master: id(0), why: Replicate::Moved })
    };
    // Its link is up, to where its master was.
    assert!(!follows(&view));
    view = answers_there(view, 6379);
    assert!(follows(&view));
}
