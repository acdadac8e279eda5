//! The overlays, each applied to containers.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::manifests::{block, make_secret, of_a_reader, own};
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
fn clients_from_outside_are_sent_to_the_names_of_the_documents() {
    let (rendered, _) = of_the_page("Names: what works best", "k8s", &[]);
    each_version(&versions(), |version| {
        let Some(rendered) = &rendered else { return };
        let set = formed(Set::new(rendered.clone(), version, Network::new()));
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

/// The set that the page's patch below this heading makes of an overlay with these Secrets, and the ports of
/// the first pod's Service.
fn of_the_page(heading: &str, overlay: &str, secrets: &[&str]) -> (Option<Rendered>, Value) {
    let blocks = blocks_below(heading);
    let mut kustomization = blocks[0].clone();
    kustomization["resources"] = json!([format!("../rejoin/{overlay}")]);
    let ports = blocks[1]["spec"]["ports"].as_array().expect("the Service has ports");
    let ports = ports.iter().map(|port| port["nodePort"].clone()).collect();
    let yaml = of_a_reader(&kustomization.to_string());
    let mut rendered = yaml.map(|yaml| Rendered::read(heading, &yaml));
    for of in secrets {
        rendered =
            rendered.zip(make_secret(of)).map(|(rendered, yaml)| rendered.with_secret(&yaml));
    }
    (rendered, ports)
}

/// It forms on nodes, and does what every set can.
fn lives_on_nodes(
    rendered: Option<Rendered>,
    version: &str,
    announced: fn(IpAddr, usize) -> Known,
) {
    let Some(rendered) = rendered else { return };
    let mut set = Set::new(rendered, version, Network::new());
    set.announced = Some(announced);
    lives(formed(set));
}

#[test]
fn clients_from_outside_are_sent_to_ports_of_nodes_and_servers_too() {
    let heading = "Ports of nodes, told to everybody";
    let (rendered, ports) = of_the_page(heading, "k8s/overlays/locked-down", &["tls", "auth"]);
    assert_eq!(ports, json!([30000, 30100]));
    each_version(&versions(), |version| {
        let announced = |node, ordinal| Known::At(place(node, ordinal));
        lives_on_nodes(rendered.clone(), version, announced);
    });
}

#[test]
fn clients_from_outside_are_sent_to_ports_of_nodes() {
    let (rendered, ports) = of_the_page("Ports of nodes, told to clients only", "k8s", &[]);
    assert_eq!(ports, json!([30000]));
    match versions().iter().find(|version| *version == "valkey-9.1") {
        None => left_out("ports of nodes that only clients are told of: no Valkey 9.1"),
        Some(version) => {
            let announced = |node, ordinal| Known::ToClients(place(node, ordinal));
            lives_on_nodes(rendered, version, announced);
        }
    }
}

/// Where the page has clients of a pod sent.
fn place(node: IpAddr, ordinal: usize) -> SocketAddr {
    (node, 30000 + u16::try_from(ordinal).expect("few pods")).into()
}
