//! Plans by example. A scene is a few lines, the own pod first:
//!
//! ```text
//! NUMBER [epoch=N] [slots=A-B] [keys=N] [of=MASTER] [knows=N,N...] [sees=N:flag,N:flag...]
//! ```
//!
//! `epoch=1` is the number that ordinal 0 takes, `epoch=2` that of ordinal 1, and so on; `epoch=0`
//! is above them all.
//!
//! Pod `N` has the id `nnn...` and the address 10.0.0.N. Each table shows the others as they are,
//! but for what `sees` says; of itself, too. A number that is known but has no line is a node that is gone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::cluster::model::{Announced, Own, Past, Peer, Replication, Report, Table, seat_range};
use crate::cluster::replies::Stream;
use crate::health::{Answer, Role};
use crate::nodes_conf::{Address, Flags, NOWHERE, Node};
use crate::redis::Failure;

mod announced;
mod forming;
mod homing;
mod keeping;
mod lost;
mod stray;
mod takeover;

const SHAPE: Shape = Shape { shards: 3, replicas: 1 };

#[derive(Clone, Debug, Default)]
struct Spec {
    number: u8,
    epoch: u64,
    slots: Vec<SlotRange>,
    keys: u64,
    of: Option<u8>,
    knows: Vec<u8>,
    sees: BTreeMap<u8, String>,
}

fn id(number: u8) -> NodeId {
    format!("{number:02x}").repeat(20).parse().expect("an id")
}

fn ip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn at(number: u8) -> SocketAddr {
    SocketAddr::new(ip(number), 6379)
}

fn range(text: &str) -> SlotRange {
    let (first, last) = text.split_once('-').expect("A-B");
    SlotRange { first: first.parse().expect("A"), last: last.parse().expect("B") }
}

impl Spec {
    fn read(line: &str) -> Spec {
        let mut words = line.split_whitespace();
        let number = words.next().expect("a number").parse().expect("a number");
        let mut spec = Spec { number, ..Spec::default() };
        for word in words {
            let (key, value) = word.split_once('=').expect("key=value");
            let numbers = || value.split(',').map(|n| n.parse().expect("a number")).collect();
            match key {
                "epoch" => {
                    let first: u32 = value.parse().expect("1 for the number of ordinal 0");
                    let above = form::number_of(0) + 1;
                    spec.epoch = first.checked_sub(1).map_or(above, form::number_of);
                }
                "slots" => spec.slots = value.split(',').map(range).collect(),
                "keys" => spec.keys = value.parse().expect("a count"),
                "of" => spec.of = Some(value.parse().expect("a number")),
                "knows" => spec.knows = numbers(),
                "sees" => {
                    for one in value.split(',') {
                        let (number, flag) = one.split_once(':').expect("N:flag");
                        spec.sees.insert(number.parse().expect("a number"), flag.to_owned());
                    }
                }
                _ => panic!("unknown key {key}"),
            }
        }
        spec
    }

    fn line(&self, flag: Option<&str>) -> Node {
        let mut node = Node {
            id: id(self.number),
            address: Address {
                ip: ip(self.number).to_string(),
                port: 6379,
                bus_port: 16379,
                ..Address::default()
            },
            flags: Flags {
                master: self.of.is_none(),
                replica: self.of.is_some(),
                ..Flags::default()
            },
            master: self.of.map(id),
            ping_sent_ms: 0,
            pong_received_ms: 0,
            config_epoch: self.epoch,
            connected: true,
            slots: self.slots.clone(),
            migrating: Vec::new(),
            importing: Vec::new(),
        };
        match flag {
            None => {}
            Some("fail") => (node.flags.fail, node.connected) = (true, false),
            Some("down") => node.connected = false,
            Some("noaddr") => {
                (node.flags.noaddr, node.connected) = (true, false);
                node.address.ip.clear();
            }
            Some("moved") => {
                node.connected = false;
                node.address.ip = "10.0.9.9".to_owned();
            }
            Some("nowhere") => {
                node.connected = false;
                node.address.ip = NOWHERE.to_string();
            }
            Some("natted") => node.address.ip = "192.0.2.1".to_owned(),
            Some("unassigned") => node.slots.clear(),
            Some("slots") => node.slots = vec![range("0-5460")],
            Some("lost") => {
                (node.flags.fail, node.connected) = (true, false);
                node.slots = vec![range("0-5460")];
            }
            Some("owner") => {
                (node.flags.fail, node.connected) = (true, false);
                node.slots = vec![range("0-16383")];
            }
            Some(flag) => panic!("unknown flag {flag}"),
        }
        node
    }
}

/// The specs by number, and the table of one of them.
fn table(specs: &BTreeMap<u8, Spec>, of: &Spec) -> Table {
    let mut me = of.line(of.sees.get(&of.number).map(String::as_str));
    me.flags.myself = true;
    let mut nodes = vec![me];
    for known in &of.knows {
        let gone = Spec { number: *known, ..Spec::default() };
        let flag = of.sees.get(known).map(String::as_str);
        nodes.push(specs.get(known).unwrap_or(&gone).line(flag));
    }
    Table::new(nodes).expect("one own line")
}

fn scene(text: &str) -> View {
    let specs: Vec<Spec> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Spec::read).collect();
    let by_number: BTreeMap<u8, Spec> =
        specs.iter().map(|spec| (spec.number, spec.clone())).collect();
    let own = &specs[0];
    let role = match own.of {
        Some(_) => Role::Replica { link_up: true, synced_once: true },
        None => Role::Master,
    };
    let peers = specs[1..]
        .iter()
        .map(|spec| Peer {
            at: at(spec.number),
            named: true,
            alias: false,
            answer: Ok(Report {
                table: table(&by_number, spec),
                keys: spec.keys,
                follows: None,
                stream: Stream { id: "of the master".to_owned(), offset: 0, link_up: true },
            }),
        })
        .collect();
    View {
        own: Own {
            table: table(&by_number, own),
            keys: own.keys,
            serves: true,
            state_ok: true,
            current_epoch: 6,
            replication: Replication {
                role,
                master_host: own.of.map(|master| ip(master).to_string()),
                follows: own.of.map(at),
                stream: Stream { id: "of the master".to_owned(), offset: 100, link_up: true },
                earlier: None,
                down_for: None,
            },
        },
        discovery: Discovery::Done,
        peers,
        announced: Announced::Nothing,
        past: Past::default(),
        refused: None,
    }
}

fn settings(ordinal: u32) -> Settings {
    Settings {
        ordinal: Some(ordinal),
        shape: Some(SHAPE),
        on_lost_shard: OnLostShard::Hold,
        ip: None,
        node_timeout: Duration::from_secs(15),
        prefer_home: false,
    }
}

/// The plan of the first pod of a scene, whose ordinal is its number.
fn plan(text: &str) -> Plan {
    let view = scene(text);
    plan_of(&view)
}

fn plan_of(view: &View) -> Plan {
    let number = (0..=u8::MAX).find(|n| id(*n) == view.own.table.id()).expect("a number");
    let settings = Settings { ip: Some(ip(number)), ..settings(u32::from(number)) };
    Plan::new(view, &settings)
}

#[track_caller]
fn assert_held(plan: &Plan, kind: &str) {
    assert!(plan.held.iter().any(|hold| hold.reason.kind() == kind), "not held: {plan:#?}");
    let harmless = |step: &Step| matches!(step, Step::SetEpoch(_));
    assert!(plan.steps.iter().all(harmless), "steps: {plan:#?}");
    assert!(matches!(plan.membership, Membership::Pending(_)), "{:?}", plan.membership);
}

fn join(number: u8) -> Step {
    meet(number, Meet::Join)
}

fn meet(number: u8, why: Meet) -> Step {
    let at = at(number);
    Step::Meet { id: id(number), asked_at: at, at, bus_port: 16379, why }
}
