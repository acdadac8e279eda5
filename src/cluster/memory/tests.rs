use super::*;
use crate::cluster::model::{Announced, Discovery, Own, Peer, Replication, Report, Table};
use crate::cluster::peers::table;
use crate::cluster::replies::Stream;
use crate::health::Role;

const MASTER: &str = "0000000000000000000000000000000000000001";
const REPLICA: &str = "0000000000000000000000000000000000000002";

fn read(own: &str, master: &str) -> Table {
    let line = |id: &str, ip: &str, flags: &str, of: &str, slots: &str| {
        format!("{id} {ip}:6379@16379 {flags} {of} 0 0 1 connected{slots}\n")
    };
    let mark = |who: &str| if who == own { "myself," } else { "" };
    let text = line(MASTER, "10.0.0.1", &format!("{}{master}", mark(MASTER)), "-", " 0-16383")
        + &line(REPLICA, "10.0.0.2", &format!("{}slave", mark(REPLICA)), MASTER, "");
    table(&text).expect("a table")
}

/// What a replica sees: its link, where it copies from, which stream, and whether its master is
/// there.
pub(in crate::cluster) fn view(link_up: bool, host: &str, stream: &str, is_there: bool) -> View {
    let flags = if is_there { "master" } else { "master,noaddr" };
    let master = Peer {
        at: "10.0.0.1:6379".parse().expect("an address"),
        named: true,
        alias: false,
        answer: Ok(Report {
            table: read(MASTER, "master"),
            keys: 1,
            stream: Stream { id: "ours".to_owned(), offset: 2, link_up: true },
            follows: None,
        }),
    };
    View {
        own: Own {
            table: read(REPLICA, flags),
            keys: 1,
            serves: true,
            state_ok: true,
            current_epoch: 1,
            replication: Replication {
                role: Role::Replica { link_up, synced_once: true },
                master_host: Some(host.to_owned()),
                follows: format!("{host}:6379").parse().ok(),
                stream: Stream { id: stream.to_owned(), offset: 2, link_up },
                earlier: None,
                down_for: None,
            },
        },
        discovery: Discovery::Done,
        peers: if is_there { vec![master] } else { Vec::new() },
        announced: Announced::Nothing,
        past: Past::default(),
        refused: None,
    }
}

pub(in crate::cluster) fn linked() -> View {
    view(true, "10.0.0.1", "ours", true)
}

pub(in crate::cluster) fn alone() -> View {
    view(false, "10.0.0.1", "ours", false)
}

fn look(memory: &mut Memory, mut view: View, now: Instant) -> Past {
    memory.look(&mut view, now);
    view.past
}

#[test]
fn time_counts_from_the_first_look_that_misses_the_master() {
    let (mut memory, start) = (Memory::default(), Instant::now());
    let at = |second| start + Duration::from_secs(second);
    assert_eq!(look(&mut memory, linked(), at(0)).missing, None);
    assert_eq!(look(&mut memory, alone(), at(1)).missing, Some(Duration::ZERO));
    assert_eq!(look(&mut memory, alone(), at(2)).missing, Some(Duration::from_secs(1)));
    assert_eq!(look(&mut memory, linked(), at(3)).missing, None);
    assert_eq!(look(&mut memory, alone(), at(4)).missing, Some(Duration::ZERO));
}

#[test]
fn time_in_which_nobody_looked_does_not_count() {
    let (mut memory, start) = (Memory::default(), Instant::now());
    look(&mut memory, alone(), start);
    let frozen = look(&mut memory, alone(), start + Duration::from_secs(3600));
    assert_eq!(frozen.missing, Some(LONGEST_GAP));
    memory.saw_nothing();
    let after = look(&mut memory, alone(), start + Duration::from_secs(3601));
    assert_eq!(after.missing, Some(Duration::ZERO));
}

#[test]
fn data_is_the_masters_if_it_was_seen_to_be_copied_and_is_still_the_same() {
    let now = Instant::now();
    let after = |before: Option<View>, then: View| {
        let mut memory = Memory::default();
        if let Some(before) = before {
            look(&mut memory, before, now);
        }
        look(&mut memory, then, now).is_copy
    };
    assert!(after(Some(linked()), alone()));
    assert!(!after(None, alone()));
    assert!(!after(Some(linked()), view(false, "10.0.0.1", "another's", false)));
    // Its link leads elsewhere, or nobody knows to whom.
    assert!(!after(Some(view(true, "10.0.0.9", "ours", true)), alone()));
    assert!(!after(Some(view(true, "10.0.0.1", "ours", false)), alone()));
    assert!(!after(Some(view(false, "10.0.0.1", "ours", true)), alone()));
}

const SIBLING: &str = "0000000000000000000000000000000000000003";

/// The table of the replica, where the sibling is another one of its master, or has `its` slots and
/// is what it follows.
fn of_three(its: Option<&str>) -> Table {
    let line = |id: &str, flags: &str, of: &str, slots: &str| {
        format!("{id} 10.0.0.{}:6379@16379 {flags} {of} 0 0 1 connected {slots}\n", &id[39..])
    };
    let text = match its {
        None => {
            line(MASTER, "master", "-", "0-16383")
                + &line(REPLICA, "myself,slave", MASTER, "")
                + &line(SIBLING, "slave", MASTER, "")
        }
        Some(its) => {
            line(MASTER, "slave", SIBLING, "")
                + &line(REPLICA, "myself,slave", SIBLING, "")
                + &line(SIBLING, "master", "-", its)
        }
    };
    table(text.replace(" \n", "\n").as_str()).expect("a table")
}

/// A sibling of the replica, known at its copy or not, has taken over, and is not linked.
fn succeeded(known: bool, stream: &str, earlier: Option<&str>, slots: &str) -> Past {
    let (mut memory, now) = (Memory::default(), Instant::now());
    let mut before = linked();
    if known {
        before.own.table = of_three(None);
    }
    assert!(look(&mut memory, before, now).is_copy);
    let mut after = view(false, "10.0.0.3", stream, false);
    after.own.table = of_three(Some(slots));
    after.own.replication.earlier = earlier.map(ToOwned::to_owned);
    look(&mut memory, after, now)
}

#[test]
fn copy_of_the_master_that_the_own_one_took_over_from_is_told_from_a_strangers() {
    let dated = |past: Past| (past.is_copy, past.is_dated);
    let all = "0-16383";
    assert_eq!(dated(succeeded(true, "ours", None, all)), (false, true));
    assert_eq!(dated(succeeded(true, "its own", Some("ours"), all)), (false, true));
    // Another history, as that of a full copy of anybody.
    assert_eq!(dated(succeeded(true, "its own", None, all)), (false, false));
    assert_eq!(dated(succeeded(true, "its own", Some("another's"), all)), (false, false));
    // It was no replica of that master, or has not what that had.
    assert_eq!(dated(succeeded(false, "ours", None, all)), (false, false));
    assert_eq!(dated(succeeded(true, "ours", None, "0-8000")), (false, false));
    assert!(!look(&mut Memory::default(), linked(), Instant::now()).is_dated);
}

#[test]
fn what_was_copied_is_forgotten_by_a_master() {
    let (mut memory, now) = (Memory::default(), Instant::now());
    let mut before = linked();
    before.own.table = of_three(None);
    look(&mut memory, before, now);
    let mut elected = alone();
    elected.own.table = read(MASTER, "master");
    look(&mut memory, elected, now);
    let mut after = view(false, "10.0.0.3", "own", false);
    after.own.table = of_three(Some("0-16383"));
    after.own.replication.earlier = Some("ours".to_owned());
    assert!(!look(&mut memory, after, now).is_dated);
}

#[test]
fn order_is_remembered() {
    let (mut memory, now) = (Memory::default(), Instant::now());
    assert_eq!(look(&mut memory, alone(), now).ordered, None);
    memory.ordered(now);
    let later = look(&mut memory, alone(), now + Duration::from_secs(7));
    assert_eq!(later.ordered, Some(Duration::from_secs(7)));
}
