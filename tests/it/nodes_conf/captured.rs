//! Files and replies captured from real servers, whole and cut short.

use std::net::IpAddr;

use rejoin::nodes_conf::{Node, NodesConf, Verdict, assess, parse, parse_reply, with_own_ip};

use super::{fixture, names};

/// Parses a captured file.
#[track_caller]
fn captured(name: &str) -> NodesConf {
    parse(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// How many slots the nodes serve.
fn served(nodes: &[Node]) -> usize {
    let ranges = nodes.iter().flat_map(|node| &node.slots);
    ranges.map(|range| usize::from(range.last - range.first) + 1).sum()
}

fn count(nodes: &[Node], what: fn(&Node) -> bool) -> usize {
    nodes.iter().filter(|node| what(node)).count()
}

#[test]
fn every_captured_file_is_whole() {
    for name in names(".conf") {
        let file = fixture(&name);
        let verdict = assess(&file);
        assert!(matches!(verdict, Verdict::Whole(_)), "{name}: {verdict:?}");
    }
}

#[test]
fn formed_cluster_has_three_masters_three_replicas_and_all_slots() {
    for name in names("formed-master.conf").into_iter().chain(names("formed-replica.conf")) {
        let conf = captured(&name);
        let nodes = &conf.nodes;
        assert_eq!(nodes.len(), 6, "{name}");
        assert_eq!(count(nodes, |node| node.flags.master && node.master.is_none()), 3, "{name}");
        assert_eq!(count(nodes, |node| node.flags.replica && node.master.is_some()), 3, "{name}");
        assert_eq!(served(nodes), 16384, "{name}");
        assert_eq!(count(nodes, |node| node.connected), 6, "{name}");
        assert_eq!(conf.current_epoch, 6, "{name}");
        assert_eq!(conf.myself().flags.master, name.contains("master"), "{name}");
    }
}

#[test]
fn first_boot_has_one_node_without_an_ip() {
    for name in names("first-boot.conf") {
        let conf = captured(&name);
        assert_eq!((conf.nodes.len(), conf.current_epoch), (1, 0), "{name}");
        assert_eq!(conf.myself().address.ip, "", "{name}");
        assert!(conf.myself().flags.master && conf.myself().slots.is_empty(), "{name}");
    }
}

#[test]
fn open_slots_name_their_other_ends() {
    for name in names("open-slots.conf") {
        let conf = captured(&name);
        let myself = conf.myself();
        let owner = |slot: u16| {
            let owns = |node: &&Node| node.slots.iter().any(|r| r.first <= slot && slot <= r.last);
            conf.nodes.iter().find(owns).expect("all slots are served").id
        };
        assert_eq!(myself.importing, [(16000, owner(16000))], "{name}");
        assert_eq!((myself.migrating.len(), myself.migrating[0].0), (1, 93), "{name}");
        assert_eq!(myself.migrating[0].1, owner(5461), "{name}");
    }
}

#[test]
fn failed_and_addressless_nodes_are_seen_as_such() {
    for name in names("failing.conf") {
        let nodes = captured(&name).nodes;
        assert!(count(&nodes, |n| n.flags.replica && n.flags.fail && !n.connected) >= 1, "{name}");
        assert!(
            count(&nodes, |n| n.flags.master && (n.flags.fail || n.flags.pfail)) == 1,
            "{name}"
        );
    }
    for name in names("noaddr.conf") {
        let nodes = captured(&name).nodes;
        let lost: Vec<_> = nodes.iter().filter(|node| node.flags.noaddr).collect();
        assert_eq!(lost.len(), 1, "{name}");
        assert_eq!((lost[0].address.ip.as_str(), lost[0].address.port), ("", 0), "{name}");
    }
    for name in names("nofailover.conf") {
        assert!(captured(&name).myself().flags.nofailover, "{name}");
    }
}

#[test]
fn ipv6_addresses_keep_their_colons() {
    for name in names("-ipv6-formed-master.conf") {
        let conf = captured(&name);
        assert!(conf.nodes.iter().all(|node| node.address.ip == "::1"), "{name}");
        let address = &conf.myself().address;
        assert_eq!(address.bus_port, address.port + 10000, "{name}");
    }
}

#[test]
fn host_names_and_auxiliary_fields_are_read() {
    for name in names("hostnames.conf") {
        let conf = captured(&name);
        let address = &conf.myself().address;
        let hostname = address.hostname.as_deref();
        assert_eq!(hostname, Some("redis-0.redis.default.svc.cluster.local"), "{name}");
        assert_eq!(count(&conf.nodes, |node| node.address.hostname.is_none()), 1, "{name}");
        let has_shard_ids = conf.nodes.iter().all(|node| node.address.aux("shard-id").is_some());
        assert_eq!(has_shard_ids, !name.starts_with("redis-7.0"), "{name}");
    }
    let newest = captured("valkey-9.1-hostnames.conf");
    let address = &newest.myself().address;
    let found = ["client-ipv6", "client-ipv4", "availability-zone"].map(|name| address.aux(name));
    assert_eq!(found, [Some("2001:db8::0"), Some("192.0.2.0"), Some("zone-a")]);
}

#[test]
fn every_captured_reply_is_read() {
    for name in names(".reply") {
        let nodes = parse_reply(fixture(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(count(&nodes, |node| node.flags.myself), 1, "{name}");
        if name.contains("handshake") {
            assert!(count(&nodes, |node| node.flags.handshake) >= 1, "{name}");
        } else {
            assert_eq!(nodes.len(), 6, "{name}");
        }
    }
}

#[test]
fn only_the_own_ip_changes() {
    for name in names(".conf") {
        let file = fixture(&name);
        let old = captured(&name);
        for ip in ["10.255.255.254", "fd00:1::2", "1.2.3.4"].map(|ip| ip.parse::<IpAddr>()) {
            let ip = ip.expect("an address");
            let new = with_own_ip(&file, ip).expect("a whole file");
            let mut expected = old.nodes.clone();
            for node in expected.iter_mut().filter(|node| node.flags.myself) {
                node.address.ip = ip.to_string();
            }
            assert_eq!(parse(&new).expect("our own output").nodes, expected, "{name}");
            let grown = old.myself().address.ip.len() + new.len();
            assert_eq!(grown, file.len() + ip.to_string().len(), "{name}");
            let again = with_own_ip(&new, ip).expect("our own output");
            assert!(matches!(again, std::borrow::Cow::Borrowed(_)), "{name}");
        }
    }
}

/// As with a host's network: the servers share an address, and nobody loses it.
#[test]
fn nodes_with_the_same_ip_and_other_ports_keep_it() {
    for name in names("formed-master.conf") {
        let file = fixture(&name);
        let old = captured(&name);
        let ip = old.myself().address.ip.parse().expect("an address");
        let same = with_own_ip(&file, ip).expect("a whole file");
        assert!(matches!(same, std::borrow::Cow::Borrowed(_)), "{name}");
        assert!(old.nodes.iter().all(|node| node.address.ip.parse() == Ok(ip)), "{name}");
    }
}

#[test]
fn file_cut_short_is_never_whole() {
    for name in names(".conf") {
        let file = fixture(&name);
        let end = file.iter().rposition(|byte| *byte != b'\n').expect("content") + 2;
        for length in 0..=file.len() {
            let verdict = assess(&file[..length]);
            let is_whole = matches!(verdict, Verdict::Whole(_));
            assert_eq!(is_whole, length >= end, "{name} cut to {length}: {verdict:?}");
            assert_eq!(matches!(verdict, Verdict::ZeroLength), length == 0, "{name} to {length}");
            assert!(!matches!(verdict, Verdict::Strange(_)), "{name} to {length}: {verdict:?}");
        }
    }
}

#[test]
fn file_zeroed_from_any_byte_on_is_never_whole() {
    for name in names("formed-master.conf") {
        let file = fixture(&name);
        let end = file.iter().rposition(|byte| *byte != b'\n').expect("content") + 2;
        for length in 0..end {
            let mut zeroed = file.clone();
            zeroed[length..].fill(0);
            let verdict = assess(&zeroed);
            assert!(!matches!(verdict, Verdict::Whole(_)), "{name} from {length}: {verdict:?}");
        }
    }
}

#[test]
fn head_of_one_version_and_tail_of_another_is_never_whole() {
    let (old, new) =
        (fixture("redis-6.2-formed-master.conf"), fixture("redis-6.2-failed-over.conf"));
    for at in 1..old.len().min(new.len()) - 40 {
        // Equal so far, or a change of times only: then nothing was torn.
        let mixed = [&old[..at], &new[at..]].concat();
        if let Verdict::Whole(reading) = assess(&mixed) {
            let conf = reading.to_nodes_conf();
            let fine = [&old, &new].map(|file| parse(file).expect("a whole file"));
            let known =
                |node: &Node| fine.iter().any(|conf| conf.nodes.iter().any(|n| n.id == node.id));
            assert!(conf.nodes.iter().all(known), "mixed at {at}");
        }
    }
}

#[test]
fn flag_of_a_later_version_is_passed_over_in_a_reply_and_refused_in_a_file() {
    let line =
        format!("{} 10.0.0.1:7000@17000 myself,draining,master - 0 0 1 connected", "a".repeat(40));
    let nodes = parse_reply(&line).unwrap();
    assert!(nodes[0].flags.myself && nodes[0].flags.master);
    assert!(matches!(
        assess(format!("{line}\nvars currentEpoch 1 lastVoteEpoch 0\n").as_bytes()),
        Verdict::Strange(_)
    ));
}
