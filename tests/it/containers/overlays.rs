//! The overlays, each applied to containers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::manifests::{block, of_a_reader, own};
use crate::support::engine::{Network, versions};
use crate::support::left_out::left_out;
use crate::support::pod::Known;

use super::load::{assert_keys, write_keys};
use super::locked::lives;
use super::{Rendered, Set, come_back, each_version, formed};

const KEYS: usize = 100;

/// An overlay in every version, on networks made like this.
fn each(overlay: &str, network: fn() -> Network, check: impl Fn(Set) + Sync) {
    let Some(rendered) = Rendered::of(overlay) else { return };
    each_version(&versions(), |version| check(Set::new(rendered.clone(), version, network())));
}

/// Forms, is deleted and made again as a whole, and has every key.
fn keeps_its_keys_on_new_addresses(set: Set) -> Set {
    let mut set = formed(set);
    write_keys(&set, KEYS);
    come_back(&mut set, KEYS);
    set
}

#[test]
fn stock_image_gets_the_binary_from_an_init_container_or_an_image_volume() {
    let (page, heading) = ("docs/kubernetes.md", "### The official image unchanged");
    let Some(yaml) = of_a_reader(&block(page, heading, "yaml")) else { return };
    let by_volume = Rendered::read(heading, &yaml);
    // Nothing of ours is in the image that runs.
    let is_stock = |set: &Set| {
        let image = set.pods[&0].container.inspect(".Config.Image");
        assert!(image.starts_with("rejoin-test-base:"), "{image}");
    };
    each("k8s/overlays/stock-image", Network::new, |set| {
        let mut set = formed(set);
        is_stock(&set);
        write_keys(&set, KEYS);
        set.rendered = by_volume.clone();
        come_back(&mut set, KEYS);
        is_stock(&set);
    });
}

#[test]
fn cache_keeps_its_keys_when_a_container_or_a_pod_goes() {
    each("k8s/overlays/cache", Network::new, |set| {
        let mut set = formed(set);
        write_keys(&set, KEYS);
        // A container that dies keeps its nodes.conf: its replica has the keys, and is promoted.
        for ordinal in 0..3 {
            set.crash(ordinal, &["kill"]);
            set.restart(ordinal);
            set.wait_whole();
            assert_keys(&set, KEYS);
        }
        // A pod that is replaced has nothing at all.
        for ordinal in [5, 0] {
            set.replace(ordinal);
            set.wait_whole();
            assert_keys(&set, KEYS);
        }
    });
}

#[test]
fn ipv6_cluster_forms_and_comes_back_on_new_addresses() {
    each("k8s/overlays/ipv6", Network::with_v6, |set| {
        keeps_its_keys_on_new_addresses(set);
    });
}

#[test]
fn clients_from_outside_are_sent_to_the_names_of_the_documents_command() {
    let page = std::fs::read_to_string(own("docs/external-access.md")).expect("it is there");
    let (_, block) = page.split_once("```yaml\n").expect("it has a block");
    let (block, _) = block.split_once("```").expect("the block ends");
    let block: BTreeMap<String, Vec<String>> = serde_saphyr::from_str(block).expect("YAML");
    each("k8s", Network::new, |mut set| {
        set.rendered.container_mut().command.clone_from(&block["command"]);
        let set = formed(set);
        // One of two keys is not here, whoever is asked.
        let pod = &set.pods[&0];
        let moved = ["a", "b", "c"].map(|key| pod.ask(&["EXISTS", key])).into_iter();
        let moved: Vec<String> = moved.filter_map(Result::err).collect();
        assert!(!moved.is_empty(), "{}: no key is elsewhere", set.version);
        for moved in moved {
            assert!(moved.contains(".redis.example.com:6379"), "{}: {moved}", set.version);
        }
    });
}

/// The blocks of YAML below a heading of the page about clients from outside.
fn blocks_below(heading: &str) -> Vec<Value> {
    let page = std::fs::read_to_string(own("docs/external-access.md")).expect("it is there");
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).expect("it has the heading");
    let below = below.split("\n## ").next().unwrap_or_default();
    let blocks = below.split("```yaml\n").skip(1);
    let yaml = blocks.map(|block| block.split("```").next().unwrap_or_default());
    yaml.map(|yaml| serde_saphyr::from_str(yaml).expect("YAML")).collect()
}

/// The set that a page's patch makes of the base, on nodes whose ports are those of the page's Service.
fn behind_node_ports(heading: &str, announced: fn(IpAddr, usize) -> Known, newest: bool) {
    let blocks = blocks_below(heading);
    let mut kustomization = blocks[0].clone();
    kustomization["resources"] = json!(["../rejoin/k8s"]);
    let Some(yaml) = of_a_reader(&kustomization.to_string()) else { return };
    let rendered = Rendered::read(heading, &yaml);
    let ports = blocks[1]["spec"]["ports"].as_array().expect("the Service has ports");
    let node_ports: Vec<&Value> = ports.iter().map(|port| &port["nodePort"]).collect();
    let expected = if newest { vec![30000] } else { vec![30000, 30100] };
    assert_eq!(json!(node_ports), json!(expected));
    let versions: Vec<String> =
        versions().into_iter().filter(|version| !newest || version == "valkey-9.1").collect();
    if versions.is_empty() {
        left_out("ports of nodes that only clients are told of: no Valkey 9.1");
    }
    each_version(&versions, |version| {
        let mut set = Set::new(rendered.clone(), version, Network::new());
        set.announced = Some(announced);
        lives(formed(set));
    });
}

#[test]
fn clients_from_outside_are_sent_to_ports_of_nodes_and_servers_too() {
    let announced = |node, ordinal| Known::At(place(node, ordinal));
    behind_node_ports("Ports of nodes, told to everybody", announced, false);
}

#[test]
fn clients_from_outside_are_sent_to_ports_of_nodes() {
    let announced = |node, ordinal| Known::ToClients(place(node, ordinal));
    behind_node_ports("Ports of nodes, told to clients only", announced, true);
}

/// Where the page has clients of a pod sent.
fn place(node: IpAddr, ordinal: usize) -> SocketAddr {
    (node, 30000 + u16::try_from(ordinal).expect("few pods")).into()
}
