//! A shard's master `a` with replicas `b` and `c`, masters `d` and `e` of the other shards, and a
//! stranger `f`, as tables of who says what.

use super::*;
use crate::cluster::replies::Stream;
use crate::nodes_conf::{SlotRange, parse_reply};

fn id(letter: char) -> NodeId {
    letter.to_string().repeat(40).parse().unwrap()
}

fn at(letter: char) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, letter as u8 - b'a'], 7000))
}

/// `a` has slots 0-99 with epoch 3, and knows replica `b` and the masters `d` and `e`.
fn claim() -> Claim {
    Claim {
        id: id('a'),
        first: SlotRange { first: 0, last: 99 },
        epoch: 3,
        replicas: BTreeSet::from([id('b')]),
        members: BTreeSet::from(['b', 'd', 'e'].map(id)),
        addresses: BTreeSet::new(),
    }
}

/// A line of `CLUSTER NODES` from words such as `a master 3 0-99`, `b slave:a 3`, `d master! 1`:
/// `!` is a node whose link is down, `?` one that fails.
fn line(myself: char, text: &str) -> String {
    let mut words = text.split(' ');
    let letter = words.next().unwrap().chars().next().unwrap();
    let role = words.next().unwrap();
    let link = if role.contains('!') { "disconnected" } else { "connected" };
    let fails = if role.contains('?') { ",fail?" } else { "" };
    let role = role.trim_end_matches(['!', '?']);
    let (role, master) = role.split_once(':').unwrap_or((role, ""));
    let master = master.chars().next().map_or("-".to_owned(), |master| id(master).to_string());
    let own = if letter == myself { "myself," } else { "" };
    let epoch = words.next().unwrap();
    let slots = words.next().unwrap_or_default();
    let (id, at) = (id(letter), at(letter));
    format!("{id} {at}@17000 {own}{role}{fails} {master} 0 0 {epoch} {link} {slots}\n")
}

/// What `letter` says: keys, offset, and its table.
fn says(letter: char, keys: u64, offset: u64, lines: &[&str]) -> Peer {
    let text: String = lines.iter().map(|text| line(letter, text)).collect();
    let table = Table::new(parse_reply(&text).unwrap()).unwrap();
    let stream = Stream { id: String::new(), offset, link_up: true };
    let report = Report { table, keys, stream, follows: None };
    Peer { at: at(letter), named: true, alias: false, answer: Ok(report) }
}

fn fails(letter: char, failure: Failure) -> Peer {
    Peer { at: at(letter), named: true, alias: false, answer: Err(failure) }
}

fn silent(letter: char) -> Peer {
    fails(letter, Failure::Silent("connection refused".to_owned()))
}

fn busy(answer: Answer) -> Peer {
    fails('b', Failure::Said(answer))
}

const WELL: [&str; 4] = ["a master! 3 0-99", "b slave:a 3", "d master 1 100-199", "e master 2 200"];
const ALONE: [&str; 4] =
    ["a master! 3 0-99", "b slave:a 3", "d master! 1 100-199", "e master? 2 200"];
const REPLACED: [&str; 4] =
    ["a master! 3", "b master 4 0-99", "d master 1 100-199", "e master 2 200"];

/// After `waited` seconds; the node timeout is 15 s.
#[track_caller]
fn plans(replies: &[Peer], waited: u64, expected: Step) {
    plans_after(replies, waited, None, expected);
}

/// The same with a last order to `b`, so many seconds ago.
#[track_caller]
fn plans_after(replies: &[Peer], waited: u64, order: Option<(How, u64)>, expected: Step) {
    let moment = Moment {
        waited: Duration::from_secs(waited),
        ordered: order.map(|(how, ago)| Order { to: id('b'), how, ago: Duration::from_secs(ago) }),
        node_timeout: Duration::from_secs(15),
    };
    assert_eq!(Step::new(&claim(), replies, moment), expected);
}

/// The answers of the other masters, with this table, and of others.
fn with_masters(lines: &[&str], replies: &[Peer]) -> Vec<Peer> {
    let masters = ['d', 'e'].map(|letter| says(letter, 9, 9, lines));
    [&masters, replies].concat()
}

fn promote(letter: char, how: How) -> Step {
    Step::Promote(Promotion { id: id(letter), master: id('a'), at: at(letter), how })
}

#[test]
fn replica_with_keys_is_promoted_at_once() {
    plans(&with_masters(&WELL, &[says('b', 1, 5, &WELL)]), 0, promote('b', How::Force));
    plans(&with_masters(&WELL, &[says('b', 1, 0, &WELL)]), 99, promote('b', How::Force));
}

#[test]
fn replica_with_most_of_the_stream_is_promoted() {
    let lines = [&WELL[..], &["c slave:a 3"]].concat();
    let b = |offset| says('b', 9, offset, &lines);
    let c = |keys, offset| says('c', keys, offset, &lines);
    let two = |b, c| with_masters(&lines, &[b, c]);
    plans(&two(b(5), c(1, 6)), 0, promote('c', How::Force));
    plans(&two(b(6), c(1, 6)), 0, promote('b', How::Force));
    plans(&two(b(5), c(0, 6)), 0, promote('b', How::Force));
}

#[test]
fn replica_that_the_file_does_not_know_counts_if_it_says_that_it_is_ours() {
    let c = says('c', 1, 5, &["a master! 3 0-99", "c slave:a 3", "d master 1 1", "e master 2 2"]);
    plans(&with_masters(&WELL, &[c]), 0, promote('c', How::Force));
}

#[test]
fn order_is_not_repeated_while_an_election_may_run() {
    let elected = with_masters(&WELL, &[says('b', 1, 5, &WELL)]);
    let alone = [says('b', 1, 5, &ALONE)];
    for (replies, how) in [(&elected[..], How::Force), (&alone[..], How::Takeover)] {
        for ago in [0, 29] {
            plans_after(replies, 40, Some((how, ago)), Step::Wait(Wait::Election(id('b'))));
        }
        plans_after(replies, 40, Some((how, 30)), promote('b', how));
    }
    let lines = [&ALONE[..], &["c slave:a 3"]].concat();
    let other = [says('b', 1, 5, &lines), says('c', 1, 9, &lines)];
    plans_after(&other, 40, Some((How::Force, 29)), Step::Wait(Wait::Election(id('c'))));
}

#[test]
fn election_in_vain_ends_with_a_takeover() {
    let alone = [says('b', 1, 5, &ALONE)];
    plans_after(&alone, 40, Some((How::Force, 1)), Step::Wait(Wait::Election(id('b'))));
    plans_after(&alone, 40, Some((How::Force, 2)), promote('b', How::Takeover));
}

#[test]
fn without_most_masters_the_replica_takes_over_after_a_while() {
    let b = [says('b', 1, 5, &ALONE)];
    plans(&b, 1, Step::Wait(Wait::Voters(id('b'))));
    plans(&b, 2, promote('b', How::Takeover));
}

#[test]
fn master_that_either_of_us_reaches_may_vote_but_is_not_counted_on_at_once() {
    let reached = with_masters(&ALONE, &[says('b', 1, 5, &ALONE)]);
    for replies in [&reached[..], &[says('b', 1, 5, &WELL)]] {
        plans(replies, 1, Step::Wait(Wait::Voters(id('b'))));
        plans(replies, 2, promote('b', How::Force));
    }
    plans(&reached[1..], 9, promote('b', How::Takeover));
}

#[test]
fn where_another_replica_is_silent_a_takeover_waits_for_the_end_of_its_election() {
    let lines = [&ALONE[..], &["c slave:a 3"]].concat();
    let b = [says('b', 1, 5, &lines)];
    plans(&b, 29, Step::Wait(Wait::Voters(id('b'))));
    plans(&b, 30, promote('b', How::Takeover));
}

#[test]
fn too_few_masters_for_any_election_are_not_waited_for() {
    let one = ["a master! 3 0-16383", "b slave:a 3"];
    let two = ["a master! 3 0-99", "b slave:a 3", "d master 1 100-16383"];
    plans(&[says('b', 1, 5, &one)], 0, promote('b', How::Takeover));
    plans(&[says('b', 1, 5, &two)], 0, promote('b', How::Takeover));
}

#[test]
fn server_starts_once_another_node_has_its_slots() {
    let start = || Step::Start(Start::Replaced(id('b')));
    plans_after(&[says('b', 1, 5, &REPLACED)], 0, Some((How::Force, 0)), start());
    plans(&[says('d', 1, 5, &REPLACED)], 0, start());
    // A replica that has not heard of it yet changes nothing.
    plans(&[says('c', 1, 9, &["c slave:a 3", WELL[0]]), says('b', 1, 5, &REPLACED)], 0, start());
    let followed = ["a slave:b 4", "b master 4 0-99", "d master 1 100-199"];
    plans(&[says('d', 1, 5, &followed)], 0, start());
    let forgotten = ["b master 4 0-99", "d master 1 100-199"];
    plans(&[says('d', 1, 5, &forgotten)], 0, start());
}

#[test]
fn part_of_the_slots_or_an_older_owner_or_a_stranger_is_no_reason_to_start() {
    let part = ["a master! 3 50-99", "b slave:a 3", "d master 4 0-49", "e master 2 200"];
    plans(&with_masters(&part, &[says('b', 1, 5, &part)]), 0, promote('b', How::Force));
    let old = ["a master! 3", "b slave:a 3", "d master 2 0-99", "e master 2 200"];
    plans(&with_masters(&old, &[says('b', 1, 5, &old)]), 0, promote('b', How::Force));
    let stranger = says('f', 1, 5, &["f master 9 0-16383"]);
    plans(&with_masters(&WELL, &[stranger, says('b', 1, 5, &WELL)]), 0, promote('b', How::Force));
}

#[test]
fn empty_replicas_that_all_answer_are_no_reason_to_wait() {
    plans(&[says('b', 0, 5, &WELL)], 0, Step::Start(Start::NoKeys));
    let lines = [&WELL[..], &["c slave:a 3"]].concat();
    let one = [says('b', 0, 5, &lines), silent('c')];
    plans(&one, 4, Step::Wait(Wait::Silent(vec![id('c')])));
    plans(&one, 5, Step::Start(Start::Silent(vec![id('c')])));
}

#[test]
fn silent_replicas_are_waited_for_a_bounded_time() {
    for replies in [vec![], vec![silent('b'), says('d', 1, 5, &WELL)]] {
        plans(&replies, 4, Step::Wait(Wait::Silent(vec![id('b')])));
        plans(&replies, 5, Step::Start(Start::Silent(vec![id('b')])));
    }
}

#[test]
fn master_without_replicas_starts_at_once() {
    let claim = Claim { replicas: BTreeSet::new(), ..claim() };
    let moment =
        Moment { waited: Duration::ZERO, ordered: None, node_timeout: Duration::from_secs(15) };
    let lines = ["a master! 3 0-99", "d master 1 100-199"];
    for replies in [vec![], vec![says('d', 1, 5, &lines), silent('e')]] {
        assert_eq!(Step::new(&claim, &replies, moment), Step::Start(Start::NoReplica));
    }
}

#[test]
fn server_that_lives_and_cannot_say_who_it_is_is_waited_for_without_a_bound() {
    let refused = Answer::Refused("NOAUTH Authentication required.".to_owned());
    let no_tls = Answer::NoTls("its certificate has expired".to_owned());
    for answer in
        [Answer::Loading, Answer::Busy, Answer::MasterDown, Answer::HungUp, refused, no_tls]
    {
        let wait = Wait::Unclear { at: at('b'), answer: answer.clone() };
        plans(&[busy(answer)], 3600, Step::Wait(wait));
    }
    // The replica is known to be elsewhere, so it is somebody else.
    let loads = fails('f', Failure::Said(Answer::Loading));
    plans(&[loads, says('b', 0, 5, &WELL)], 0, Step::Start(Start::NoKeys));
}

#[test]
fn replica_that_went_to_another_master_is_not_ours() {
    let gone = ["a master! 3 0-99", "b slave:d 1", "d master 1 100-199"];
    plans(&[says('b', 1, 5, &gone)], 0, Step::Start(Start::NoKeys));
}
