//! Properties of the parser and the rewriting, over made-up, mangled and arbitrary files.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rejoin::nodes_conf::{NOWHERE, Node, assess, parse, parse_line, parse_reply, with_own_ip};

use super::{fixture, names};

/// Any address.
fn ip() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
    prop_oneof![v4, v6]
}

/// The address of a node, in parts that follow each other.
#[derive(Clone, Debug)]
struct Place {
    ip: String,
    port: u16,
    bus_port: Option<u16>,
    tail: String,
}

impl Place {
    fn bus_port(&self) -> u16 {
        self.bus_port.unwrap_or(self.port + 10000)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ip, self.port)?;
        match self.bus_port {
            Some(port) => write!(f, "@{port}{}", self.tail),
            None => Ok(()),
        }
    }
}

/// An address of any version, often `here` or with ports that others have too.
fn place(here: IpAddr) -> impl Strategy<Value = Place> {
    let ip = prop_oneof![
        ip().prop_map(|ip| ip.to_string()),
        Just(here.to_string()),
        Just(String::new()),
        "[a-z][a-z0-9.-]{0,30}[a-z]",
    ];
    let port = prop_oneof![7000u16..7002, 1u16..55535];
    let bus_port = prop_oneof![17000u16..17002, 1u16..=65535];
    let tail = prop_oneof![
        Just(String::new()),
        ",[a-z.]{0,20}",
        ",[a-z.]{0,20}(,[a-z-]{1,9}=[!#-&(-+.-~-]{0,20}){1,4}",
    ];
    (ip, port, proptest::option::of(bus_port), tail).prop_map(|(ip, port, bus_port, tail)| Place {
        ip,
        port,
        bus_port,
        tail,
    })
}

/// A line's id, its address, its flags without `myself`, and what follows.
type Line = (String, Place, String, String);

fn line(here: IpAddr) -> impl Strategy<Value = Line> {
    let role = prop_oneof![Just("master -".to_owned()), "slave [0-9a-f]{40}", "master,fail\\? -"];
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    let slots = "( [0-9]{1,4}| [0-9]{1,3}-[1-9][0-9]{3}| \\[[0-9]{1,4}-[<>]-[0-9a-f]{40}\\]){0,5}";
    let rest = (numbers, any::<bool>(), slots).prop_map(|((ping, pong, epoch), up, slots)| {
        let link = if up { "connected" } else { "disconnected" };
        format!("{ping} {pong} {epoch} {link}{slots}")
    });
    ("[0-9a-f]{40}", place(here), role, rest)
}

/// The lines of a file, which of them is the own one, and how the file ends.
#[derive(Clone, Debug)]
struct File {
    lines: Vec<Line>,
    own: usize,
    end: &'static str,
}

impl File {
    /// As it is where the pod is at `ip`: the own node there, and nobody else with its bus port.
    fn at(mut self, ip: IpAddr) -> File {
        let bus_port = self.lines[self.own].1.bus_port();
        for (nth, (_, place, ..)) in self.lines.iter_mut().enumerate() {
            let is_there = place.ip.parse() == Ok(ip);
            if nth == self.own && !is_there {
                place.ip = ip.to_string();
            } else if nth != self.own && is_there && place.bus_port() == bus_port {
                place.ip = NOWHERE.to_string();
            }
        }
        self
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (id, place, role, rest)) in self.lines.iter().enumerate() {
            let myself = if nth == self.own { "myself," } else { "" };
            writeln!(f, "{id} {place} {myself}{role} {rest}")?;
        }
        write!(f, "vars currentEpoch 7 lastVoteEpoch 3{}", self.end)
    }
}

/// A file, and the address that the pod has now.
fn file() -> impl Strategy<Value = (File, IpAddr)> {
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n\n"), Just("\n\0\0\0"), Just("")];
    let lines = ip().prop_flat_map(|ip| (proptest::collection::vec(line(ip), 1..12), Just(ip)));
    (lines, any::<prop::sample::Index>(), end).prop_map(|((lines, ip), own, end)| {
        let own = own.index(lines.len());
        (File { lines, own, end }, ip)
    })
}

/// A captured file with some bytes changed, cut out or doubled.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let edits =
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4);
    (prop::sample::select(names(".conf")), edits).prop_map(|(name, edits)| {
        let mut bytes = fixture(&name);
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

/// What holds for all bytes.
fn holds_for(bytes: &[u8], ip: IpAddr) {
    let _ = (assess(bytes), parse_reply(bytes), parse_line(bytes));
    let Ok(new) = with_own_ip(bytes, ip) else {
        return assert!(parse(bytes).is_err(), "a file that is understood is rewritten");
    };
    let conf = parse(&new).expect("our own output is understood");
    assert_eq!(conf.myself().address.ip.parse(), Ok(ip));
    assert!(matches!(with_own_ip(&new, ip), Ok(Cow::Borrowed(_))));
    let (own, own_ip) = (conf.myself(), Ok(ip));
    let there = |node: &&Node| node.address.ip.parse() == own_ip && node.id != own.id;
    let same = |node: &&Node| node.address.bus_port == own.address.bus_port;
    let usurpers = conf.nodes.iter().filter(there).filter(same).count();
    assert!(usurpers == 0 || ip == NOWHERE, "{usurpers} others are where the own node is");
}

proptest! {
    #[test]
    fn rewrite_touches_the_own_ip_only_and_others_that_have_it((file, ip) in file()) {
        let text = file.to_string();
        let new = with_own_ip(text.as_bytes(), ip)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        let expected = file.at(ip).to_string();
        prop_assert_eq!(new.as_ref(), expected.as_bytes());
        holds_for(text.as_bytes(), ip);
    }

    #[test]
    fn mangled_file_is_refused_or_rewritten_once(bytes in mangled(), ip in ip()) {
        holds_for(&bytes, ip);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ip in ip(),
    ) {
        holds_for(&bytes, ip);
    }

    #[test]
    fn arbitrary_words_never_panic(
        text in "([0-9a-f]{40}|:1@2|:1,,|a=|myself|master|-|0|1-|\\[|connected|vars| |\n){0,40}",
        ip in ip(),
    ) {
        holds_for(text.as_bytes(), ip);
    }
}
