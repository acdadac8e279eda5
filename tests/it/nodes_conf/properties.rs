//! Properties of the parser and the rewriting, over made-up, mangled and arbitrary files.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rejoin::nodes_conf::{assess, parse, parse_line, parse_reply, with_own_ip};

use super::{fixture, names};

/// Any address.
fn ip() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
    prop_oneof![v4, v6]
}

/// The text of an address of any version.
fn address() -> impl Strategy<Value = String> {
    let ip = prop_oneof![
        ip().prop_map(|ip| ip.to_string()),
        Just(String::new()),
        "[a-z][a-z0-9.-]{0,30}[a-z]",
    ];
    let tail = prop_oneof![
        Just(String::new()),
        "@[1-9][0-9]{0,3}",
        "@[1-9][0-9]{0,3},[a-z.]{0,20}",
        "@[1-9][0-9]{0,3},[a-z.]{0,20}(,[a-z-]{1,9}=[!#-&(-+.-~-]{0,20}){1,4}",
    ];
    (ip, 1u16..55535, tail).prop_map(|(ip, port, tail)| format!("{ip}:{port}{tail}"))
}

/// A line without `myself`, and whether its flags are to have it.
fn line() -> impl Strategy<Value = [String; 4]> {
    let role = prop_oneof![Just("master -".to_owned()), "slave [0-9a-f]{40}", "master,fail\\? -"];
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    let slots = "( [0-9]{1,4}| [0-9]{1,3}-[1-9][0-9]{3}| \\[[0-9]{1,4}-[<>]-[0-9a-f]{40}\\]){0,5}";
    let rest = (numbers, any::<bool>(), slots).prop_map(|((ping, pong, epoch), up, slots)| {
        let link = if up { "connected" } else { "disconnected" };
        format!("{ping} {pong} {epoch} {link}{slots}")
    });
    ("[0-9a-f]{40}", address(), role, rest)
        .prop_map(|(id, address, role, rest)| [id, address, role, rest])
}

/// A file: what is before the own node's address, the address, and what is after it.
fn file() -> impl Strategy<Value = (String, String, String)> {
    let lines = || proptest::collection::vec(line(), 0..6);
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n\n"), Just("\n\0\0\0"), Just("")];
    (lines(), line(), lines(), end).prop_map(|(above, own, below, end)| {
        let text =
            |[id, address, role, rest]: [String; 4]| format!("{id} {address} {role} {rest}\n");
        let [id, address, role, rest] = own;
        let above: String = above.into_iter().map(text).collect();
        let below: String = below.into_iter().map(text).collect();
        let after =
            format!(" myself,{role} {rest}\n{below}vars currentEpoch 7 lastVoteEpoch 3{end}");
        (format!("{above}{id} "), address, after)
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
}

proptest! {
    #[test]
    fn rewrite_touches_the_own_ip_only((before, address, after) in file(), ip in ip()) {
        let file = format!("{before}{address}{after}");
        let new = with_own_ip(file.as_bytes(), ip).map_err(|error| TestCaseError::fail(format!("{error}\n{file}")))?;
        let old_ip = &parse(file.as_bytes()).expect("just understood").myself().address.ip.clone();
        let expected = if old_ip.parse() == Ok(ip) {
            file.clone()
        } else {
            format!("{before}{ip}{}{after}", &address[old_ip.len()..])
        };
        prop_assert_eq!(new.as_ref(), expected.as_bytes());
        holds_for(file.as_bytes(), ip);
    }

    #[test]
    fn mangled_file_is_refused_or_rewritten_in_its_own_ip(bytes in mangled(), ip in ip()) {
        holds_for(&bytes, ip);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), ip in ip()) {
        holds_for(&bytes, ip);
    }

    #[test]
    fn arbitrary_words_never_panic(text in "([0-9a-f]{40}|:1@2|:1,,|a=|myself|master|-|0|1-|\\[|connected|vars| |\n){0,40}", ip in ip()) {
        holds_for(text.as_bytes(), ip);
    }
}
