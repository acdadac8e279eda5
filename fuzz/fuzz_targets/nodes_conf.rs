//! `cargo fuzz run nodes_conf fuzz/corpus/nodes_conf tests/fixtures/nodes_conf`: arbitrary bytes
//! never panic, and what is understood is rewritten in the own ip only.
#![no_main]

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use rejoin::nodes_conf::{assess, parse, parse_line, parse_reply, with_own_ip};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

fuzz_target!(|bytes: &[u8]| {
    let _ = (assess(bytes), parse_reply(bytes), parse_line(bytes));
    let Ok(new) = with_own_ip(bytes, IP) else {
        assert!(parse(bytes).is_err(), "a file that is understood is rewritten");
        return;
    };
    let (Ok(old), Ok(rewritten)) = (parse(bytes), parse(&new)) else {
        panic!("what was rewritten is understood, before and after");
    };
    let mut expected = old.nodes;
    let own = expected.iter_mut().find(|node| node.flags.myself);
    if let (Some(own), Cow::Owned(_)) = (own, &new) {
        own.address.ip = IP.to_string();
    }
    for (old, new) in expected.iter_mut().zip(&rewritten.nodes) {
        // It may have been put into the shard of its master.
        if old.master.is_some() {
            old.address.aux.clone_from(&new.address.aux);
        }
    }
    assert_eq!(rewritten.nodes, expected);
    assert!(matches!(with_own_ip(&new, IP), Ok(Cow::Borrowed(_))));
});
