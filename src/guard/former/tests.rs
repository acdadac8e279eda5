//! Pod `a` had 10.0.0.1 and slots 0-99, with replica `b`; masters `d` and `e`. It is ours that is
//! about to start at 10.0.0.1, with nothing.

use super::*;
use crate::cluster::replies::Stream;
use crate::guard::plan::{How, Promotion};
use crate::nodes_conf::parse_reply;

fn id(letter: char) -> NodeId {
    letter.to_string().repeat(40).parse().unwrap()
}

fn at(letter: char) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, letter as u8 - b'a' + 1], 7000))
}

fn place() -> Place {
    Place { ip: at('a').ip(), ports: [7000, 0, 0, 0], everywhere: [0; 2] }
}

const CLUSTER: [&str; 4] = ["a master 3 0-99", "b slave 3", "d master 1 100-199", "e master 2 200"];

/// What `letter` says of these nodes, each at its own address but for `moved`, whom it has lost.
fn says(letter: char, keys: u64, nodes: &[&str], lost: &str) -> Peer {
    let text: String = nodes
        .iter()
        .map(|node| {
            let words: Vec<&str> = node.split(' ').collect();
            let other = words[0].chars().next().unwrap();
            let own = if other == letter { "myself," } else { "" };
            let (address, flag) = match lost.contains(other) {
                true => (":0@0".to_owned(), ",noaddr"),
                false => (format!("{}@17000", at(other)), ""),
            };
            let master = if words[1] == "slave" { id('a').to_string() } else { "-".to_owned() };
            let slots = words.get(3).unwrap_or(&"");
            let (role, epoch, id) = (words[1], words[2], id(other));
            format!("{id} {address} {own}{role}{flag} {master} 0 0 {epoch} connected {slots}\n")
        })
        .collect();
    let table = Table::new(parse_reply(&text).unwrap()).unwrap();
    let follows = table.me().flags.replica.then(|| at('a'));
    let stream = Stream { id: String::new(), offset: 5, link_up: true };
    let report = Report { table, keys, stream, follows };
    Peer { at: at(letter), named: true, alias: false, answer: Ok(report) }
}

fn fails(letter: char, failure: Failure) -> Peer {
    Peer { at: at(letter), named: true, alias: false, answer: Err(failure) }
}

fn seen(peers: Vec<Peer>) -> Seen {
    let found = peers.iter().map(|peer| peer.at).chain([at('a')]).collect();
    Seen { discovery: Discovery::Done, found, peers }
}

fn ours(lost: &str) -> Vec<Peer> {
    ['b', 'd', 'e'].map(|letter| says(letter, 1, &CLUSTER, lost)).to_vec()
}

/// After `waited` seconds; the node timeout is 15 s.
#[track_caller]
fn plans(seen: &Seen, waited: u64, expected: Step) {
    let waited = Duration::from_secs(waited);
    let moment = Moment { waited, ordered: None, node_timeout: Duration::from_secs(15) };
    assert_eq!(step(&place(), seen, moment), expected);
}

fn promote() -> Step {
    let (id, master, at) = (id('b'), id('a'), at('b'));
    Step::Promote(Promotion { id, master, at, how: How::Force })
}

#[test]
fn first_boot_starts_at_once() {
    let fresh = |letter| says(letter, 0, &[&format!("{letter} master 0")], "");
    plans(&seen(vec![]), 0, Step::Start(Start::Nobody));
    plans(&seen(vec![fails('b', Failure::Closed), fresh('d')]), 0, Step::Start(Start::Nobody));
}

#[test]
fn replica_of_the_master_that_was_here_is_promoted() {
    plans(&seen(ours("")), 0, promote());
}

#[test]
fn replica_that_still_looks_here_is_promoted_though_every_table_has_lost_the_address() {
    plans(&seen(ours("a")), 0, promote());
}

#[test]
fn nothing_is_waited_for_where_the_slots_have_another_owner() {
    let after = ["b master 9 0-99", "a master 3", "d master 1 100-199", "e master 2 200"];
    plans(&seen(vec![says('d', 1, &after, "")]), 0, Step::Start(Start::Nobody));
    let mixed =
        vec![says('b', 1, &after, ""), says('d', 1, &CLUSTER, ""), says('e', 1, &after, "")];
    plans(&seen(mixed), 0, Step::Start(Start::Replaced(id('b'))));
}

#[test]
fn master_that_lives_elsewhere_is_not_replaced_and_its_replica_has_a_moment_to_leave() {
    let mut peers = ours("");
    peers.push(Peer { at: at('f'), ..says('a', 1, &CLUSTER, "") });
    plans(&seen(peers.clone()), 4, Step::Wait(Wait::Elsewhere(id('a'))));
    plans(&seen(peers.clone()), 5, Step::Start(Start::Elsewhere(id('a'))));
    peers.remove(0);
    plans(&seen(peers), 0, Step::Start(Start::Elsewhere(id('a'))));
}

#[test]
fn nothing_is_ordered_in_a_cluster_that_few_of_the_pods_found_belong_to() {
    let own = ["c master 1 0-99", "f master 2 100-200"];
    let mut peers: Vec<Peer> = ['c', 'f'].map(|letter| says(letter, 1, &own, "")).to_vec();
    peers.push(says('b', 1, &CLUSTER, ""));
    plans(&seen(peers.clone()), 29, Step::Wait(Wait::Stranger(id('a'))));
    plans(&seen(peers), 30, Step::Start(Start::Stranger(id('a'))));
    // One pod of theirs, while none of ours is there yet.
    let alone = seen(vec![says('b', 1, &CLUSTER, ""), fails('f', Failure::Closed)]);
    plans(&alone, 29, Step::Wait(Wait::Stranger(id('a'))));
}

#[test]
fn pods_that_were_only_told_of_count_for_no_majority() {
    let mut told = seen(ours(""));
    told.found.retain(|ip| *ip == at('b'));
    plans(&told, 29, Step::Wait(Wait::Stranger(id('a'))));
}

#[test]
fn pods_that_are_about_to_be_back_at_their_addresses_are_found() {
    let back =
        vec![says('b', 1, &CLUSTER, ""), fails('d', Failure::Closed), fails('e', Failure::Closed)];
    plans(&seen(back), 0, Step::Wait(Wait::Voters(id('b'))));
}

#[test]
fn silence_is_waited_for_a_moment_and_a_server_that_loads_until_it_says_who_it_is() {
    let silent = seen(vec![fails('b', Failure::Silent("no reply".to_owned()))]);
    plans(&silent, 1, Step::Wait(Wait::Quiet(at('b'))));
    plans(&silent, 2, Step::Start(Start::Nobody));
    let mut nameless = seen(vec![]);
    nameless.discovery = Discovery::Failed("SERVFAIL".to_owned());
    plans(&nameless, 1, Step::Wait(Wait::Search("SERVFAIL".to_owned())));
    plans(&nameless, 2, Step::Start(Start::Nobody));
    let loads = seen(vec![fails('b', Failure::Said(Answer::Loading))]);
    plans(&loads, 3600, Step::Wait(Wait::Unclear { at: at('b'), answer: Answer::Loading }));
}

#[test]
fn port_of_nodes_is_the_own_place_on_every_node_unless_others_have_it_too() {
    let mut server = ServerConfig::defaults("/".as_ref());
    server.announce.ip = Some("192.0.2.1".to_owned());
    server.announce.port = 30000;
    let place = Place::of(&server, at('a').ip()).expect("an address");
    let table = |other: u16| {
        let line = |letter: char, own: &str, place: &str| {
            format!("{} {place}@1 {own}master - 0 0 1 connected\n", id(letter))
        };
        let text = line('b', "myself,", "192.0.2.2:30001")
            + &line('a', "", "192.0.2.2:30000")
            + &line('d', "", &format!("192.0.2.3:{other}"));
        Table::new(parse_reply(text.as_bytes()).unwrap()).unwrap()
    };
    let is = |at: &str, other: u16| place.is(at.parse().ok(), &table(other));
    assert!(is("192.0.2.1:30000", 30002) && is("192.0.2.1:6379", 30002));
    assert!(is("192.0.2.2:30000", 30002) && !is("192.0.2.2:30001", 30002));
    assert!(!is("192.0.2.2:30000", 30000) && is("192.0.2.1:30000", 30000));
    assert!(!is("192.0.2.2:6379", 30002));
    // It announces its own address, with a port that all pods may have.
    server.announce.ip = Some(at('a').ip().to_string());
    let place = Place::of(&server, at('a').ip()).expect("an address");
    assert!(!place.is("192.0.2.2:30000".parse().ok(), &table(30002)));
}
