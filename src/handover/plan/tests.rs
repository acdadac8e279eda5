//! A master `a` with replicas `b` and `c`, and the masters `d` and `e` of the other shards.

use super::*;
use crate::nodes_conf::parse_reply;

const LONG: Duration = Duration::from_secs(10);

fn id(letter: char) -> NodeId {
    letter.to_string().repeat(40).parse().unwrap()
}

fn at(letter: char) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, letter as u8 - b'a'], 7000))
}

/// What `letter` says of the cluster; those in `cut_off` are not linked to it.
fn table(letter: char, cut_off: &str) -> Table {
    let line = |(node, role, slots): (char, &str, &str)| {
        let myself = if node == letter { "myself," } else { "" };
        let link = if cut_off.contains(node) { "disconnected" } else { "connected" };
        let master = if role == "slave" { id('a').to_string() } else { "-".to_owned() };
        format!("{} {}@17000 {myself}{role} {master} 0 0 3 {link} {slots}\n", id(node), at(node))
    };
    let nodes = [
        ('a', "master", "0-99"),
        ('b', "slave", ""),
        ('c', "slave", ""),
        ('d', "master", "100-199"),
        ('e', "master", "200-299"),
    ];
    Table::new(parse_reply(nodes.map(line).concat()).unwrap()).unwrap()
}

fn stream(offset: u64) -> Stream {
    Stream { id: "one".to_owned(), offset, link_up: true }
}

/// What the replica says, having so much of the stream.
fn said(letter: char, offset: u64) -> Said {
    let (stream, source) = (stream(offset), stream(5000));
    Said { at: at(letter), table: table(letter, ""), stream, source }
}

fn reply(letter: char, answer: Result<Said, Failure>) -> Reply {
    Reply { id: id(letter), answer }
}

fn good(letter: char, offset: u64) -> Reply {
    reply(letter, Ok(said(letter, offset)))
}

/// One that differs from a good one in this.
fn odd(letter: char, change: impl FnOnce(&mut Said)) -> Reply {
    let mut said = said(letter, 5000);
    change(&mut said);
    reply(letter, Ok(said))
}

fn refused() -> Failure {
    Failure::Silent("connection refused".to_owned())
}

/// The step of the master `a`, whose stream is at 5000, with time enough.
fn step(replicas: Vec<Reply>) -> Step {
    step_at(replicas, &LATER)
}

const LATER: Moment = Moment {
    left: LONG,
    tried: &[],
    in_flight: false,
    begins: false,
    turns: false,
    own_turn: false,
    young: false,
    relinking: false,
};

fn step_at(replicas: Vec<Reply>, moment: &Moment<'_>) -> Step {
    Step::new(&View { table: table('a', ""), replicas }, moment)
}

fn order(letter: char, lag_bytes: u64) -> Step {
    Step::Order(Successor { id: id(letter), at: at(letter), lag_bytes })
}

fn none_fit(letter: char, why: Unfit) -> Step {
    Step::Go(Go::NoneFit(vec![(id(letter), why)]))
}

#[test]
fn replica_that_has_most_of_the_stream_takes_over() {
    assert_eq!(step(vec![good('b', 4990), good('c', 4999)]), order('c', 1));
    assert_eq!(step(vec![good('b', 4999), good('c', 4990)]), order('b', 1));
    assert_eq!(step(vec![good('c', 5000), good('b', 5000)]), order('b', 0));
}

#[test]
fn replica_that_is_ahead_by_now_is_not_behind() {
    assert_eq!(step(vec![good('b', 5100)]), order('b', 0));
}

#[test]
fn one_that_can_is_told_whatever_is_wrong_with_the_other() {
    let loading = reply('b', Err(Failure::Said(Answer::Loading)));
    let dead = reply('b', Err(refused()));
    let behind = odd('b', |said| said.stream.offset = 0);
    for other in [loading, dead, behind] {
        assert_eq!(step(vec![other, good('c', 4000)]), order('c', 1000));
    }
}

#[test]
fn nothing_is_handed_over_without_slots_or_replicas() {
    let of = |letter, replicas| View { table: table(letter, ""), replicas };
    assert_eq!(Step::new(&of('b', vec![]), &LATER), Step::Go(Go::NothingToHandOver));
    assert_eq!(Step::new(&of('a', vec![]), &LATER), Step::Go(Go::NoReplica));
}

#[test]
fn replica_that_was_perhaps_told_to_take_over_looks_again_while_there_is_time() {
    let view = View { table: table('b', ""), replicas: vec![] };
    let first = Moment { own_turn: true, ..LATER };
    assert_eq!(Step::new(&view, &first), Step::Wait(Unfit::OwnTurn));
    let late = Moment { left: TIME_MIN / 2, ..first };
    assert_eq!(Step::new(&view, &late), Step::Go(Go::NothingToHandOver));
    assert_eq!(step_at(vec![good('b', 5000)], &first), order('b', 0));
}

/// What `node` says, or what it has as the master of another node.
fn with_master(table: &Table, node: char, master: Option<char>) -> Table {
    table.with_line(id(node), |line| {
        line.master = master.map(id);
        line.flags.replica = master.is_some();
    })
}

/// One that has the flag `nofailover`.
fn flagged(letter: char) -> Reply {
    odd(letter, |said| {
        said.table = said.table.with_line(id(letter), |me| me.flags.nofailover = true);
    })
}

#[test]
fn replica_of_a_master_that_is_one_since_a_moment_is_not_elected_yet() {
    let young = Moment { young: true, turns: true, ..LATER };
    assert_eq!(step_at(vec![good('b', 5000)], &young), Step::Wait(Unfit::Turning));
    let hurried = Moment { left: HURRY, ..young };
    assert_eq!(step_at(vec![good('b', 5000)], &hurried), order('b', 0));
    let later = Moment { turns: false, ..young };
    assert_eq!(step_at(vec![good('b', 5000)], &later), order('b', 0));
}

#[test]
fn replicas_of_a_master_without_slots_may_be_ours_soon() {
    let of = |table: &Table| candidates(table).map(|node| node.id).collect::<Vec<_>>();
    assert_eq!(of(&table('a', "")), [id('b'), id('c')]);
    assert_eq!(of(&table('d', "")), []);
    // `b` was a replica of `a` until it took over a moment ago.
    let before = with_master(&table('b', ""), 'b', None);
    let slots = &before.find(id('a')).unwrap().slots;
    let now = before.with_line(id('a'), |a| a.slots.clear());
    assert_eq!(of(&now.with_line(id('b'), |b| b.slots.clone_from(slots))), [id('c')]);
}

#[test]
fn replica_that_has_perhaps_not_heard_yet_has_a_moment() {
    let other = || odd('b', |said| said.table = with_master(&said.table, 'b', Some('d')));
    let begins = Moment { turns: true, ..LATER };
    assert_eq!(step_at(vec![other()], &begins), Step::Wait(Unfit::Turning));
    assert_eq!(step_at(vec![other(), good('c', 5000)], &begins), order('c', 0));
    assert_eq!(step(vec![other()]), none_fit('b', Unfit::NotOurs));
    let own = with_master(&table('a', ""), 'b', Some('d'));
    let view = View { table: own, replicas: vec![good('b', 5000)] };
    assert_eq!(Step::new(&view, &begins), Step::Wait(Unfit::Turning), "we have not heard");
}

#[test]
fn replica_without_a_link_to_us_is_not_told_for_it_would_refuse() {
    let unlinked = || odd('b', |said| said.table = table('b', "a"));
    let begins = Moment { begins: true, ..LATER };
    assert_eq!(step_at(vec![unlinked()], &begins), Step::Wait(Unfit::Relinking));
    assert_eq!(step(vec![unlinked()]), none_fit('b', Unfit::Unlinked));
}

#[test]
fn replica_is_behind_what_we_had_when_it_answered() {
    let early = odd('b', |said| (said.stream, said.source) = (stream(1000), stream(1010)));
    assert_eq!(step(vec![early, good('c', 4980)]), order('b', 10));
}

#[test]
fn what_passes_soon_is_waited_for() {
    let far = LAG_MAX + 1;
    let behind = View {
        table: table('a', ""),
        replicas: vec![odd('b', |said| (said.stream, said.source) = (stream(0), stream(far)))],
    };
    assert_eq!(Step::new(&behind, &LATER), Step::Wait(Unfit::Behind(far)));
    // Writers that never pause do not let it catch up.
    assert_eq!(Step::new(&behind, &Moment { left: HURRY, ..LATER }), order('b', far));
    for (reply, why) in [
        (reply('b', Err(Failure::Said(Answer::Loading))), Unfit::Loading),
        (odd('b', |said| said.stream.link_up = false), Unfit::Syncing),
        (odd('b', |said| said.stream.id = "two".to_owned()), Unfit::OtherStream),
    ] {
        assert_eq!(step(vec![reply.clone()]), Step::Wait(why.clone()));
        let late = Moment { left: TIME_MIN / 2, ..LATER };
        assert_eq!(step_at(vec![reply], &late), none_fit('b', why));
    }
}

#[test]
fn link_that_was_dropped_a_moment_ago_counts_once_it_is_seen_twice() {
    let at = |begins, relinking| Moment { begins, relinking, ..LATER };
    let dropped = || odd('b', |said| said.table = table('b', "ad"));
    assert_eq!(step_at(vec![dropped()], &at(true, false)), Step::Wait(Unfit::Relinking));
    assert_eq!(step_at(vec![good('b', 5000)], &at(true, true)), Step::Wait(Unfit::Relinked));
    assert_eq!(step_at(vec![good('b', 5000)], &at(true, false)), order('b', 0));
    let gone = none_fit('b', Unfit::NoMajority(1, 3));
    assert_eq!(step_at(vec![dropped()], &at(false, true)), gone);
}

#[test]
fn slots_on_their_way_are_waited_for_while_there_is_time() {
    let open = table('a', "").with_line(id('a'), |me| me.migrating.push((7, id('d'))));
    let view = View { table: open, replicas: vec![good('b', 5000)] };
    let at = |left| Step::new(&view, &Moment { left, ..LATER });
    assert_eq!(at(LONG), Step::Wait(Unfit::OpenSlots(1)));
    assert_eq!(at(HURRY), order('b', 0));
}

#[test]
fn replica_that_may_only_just_have_found_its_master_has_a_moment() {
    let at = |begins| Moment { begins, ..LATER };
    assert_eq!(step_at(vec![flagged('b')], &at(true)), Step::Wait(Unfit::Shielded));
    assert_eq!(step_at(vec![flagged('b')], &at(false)), none_fit('b', Unfit::Leaving));
    assert_eq!(step_at(vec![flagged('b'), good('c', 5000)], &at(true)), order('c', 0));
}

#[test]
fn what_does_not_pass_is_not_waited_for() {
    for (reply, why) in [
        (reply('b', Err(refused())), Unfit::NoAnswer(refused())),
        (odd('b', |said| said.table = table('c', "")), Unfit::Other(id('c'))),
        (reply('d', Ok(said('d', 5000))), Unfit::NotOurs),
        (flagged('b'), Unfit::Leaving),
        (odd('b', |said| said.table = table('b', "de")), Unfit::NoMajority(1, 3)),
    ] {
        let letter = if why == Unfit::NotOurs { 'd' } else { 'b' };
        assert_eq!(step(vec![reply]), none_fit(letter, why));
    }
}

#[test]
fn majority_is_most_of_the_masters_the_leaving_one_among_them() {
    assert_eq!(step(vec![odd('b', |said| said.table = table('b', "d"))]), order('b', 0));
}

#[test]
fn whoever_was_told_in_vain_is_not_told_again() {
    let tried = [(id('b'), "it refused".to_owned())];
    let moment = Moment { tried: &tried, ..LATER };
    assert_eq!(step_at(vec![good('b', 5000), good('c', 1)], &moment), order('c', 4999));
    let why = Unfit::Tried("it refused".to_owned());
    assert_eq!(step_at(vec![good('b', 5000)], &moment), none_fit('b', why));
}

#[test]
fn nobody_is_told_while_another_may_take_over_yet() {
    let moment = Moment { in_flight: true, ..LATER };
    assert_eq!(step_at(vec![good('b', 5000)], &moment), Step::Wait(Unfit::InFlight));
}

#[test]
fn nobody_is_told_when_there_is_no_time() {
    let moment = Moment { left: TIME_MIN / 2, ..LATER };
    assert_eq!(step_at(vec![good('b', 5000)], &moment), none_fit('b', Unfit::NoTime));
}

#[test]
fn own_server_that_has_answered_before_is_waited_for() {
    let busy = || Failure::Said(Answer::Busy);
    for failure in [refused(), busy()] {
        let wait = Step::Wait(Unfit::OwnServer(failure.clone()));
        assert_eq!(Step::unasked(failure.clone(), true), wait);
        assert_eq!(Step::unasked(failure.clone(), false), Step::Go(Go::Unasked(failure)));
    }
    let loading = Failure::Said(Answer::Loading);
    assert_eq!(Step::unasked(loading.clone(), true), Step::Go(Go::Unasked(loading)));
}
