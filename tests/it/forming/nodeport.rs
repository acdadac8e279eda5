//! Pods that are known by ports of their nodes, which lead to their own: to everybody, or to clients
//! only. They find each other by their own addresses all the same.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use crate::support::fleet::{Fleet, Recipe};
use crate::support::forward::Forward;
use crate::support::keys::{assert_keys, write_keys};
use crate::support::left_out::left_out;
use crate::support::lock::Lock;
use crate::support::pod::{Known, PORT, Pod, Program};
use crate::support::server::{Server, any_server, servers};
use crate::support::wait::wait_ok;

use super::{
    LIMIT, forget_spares, held, in_every_version, lose_volume, recipe, wait_all_ready, wait_held,
    wait_nothing_held,
};

const BUS_PORT: u16 = PORT + 10000;

/// Whom the pods tell of their nodes' ports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    Everybody,
    Clients,
}

/// The ports of nodes that lead to each pod.
struct Ports(Vec<Vec<Forward>>);

impl Ports {
    /// Puts each pod on a node, half of them on either, and opens the node's ports for it. `turn`: how
    /// far the nodes are turned, so that another turn has every pod on another node.
    fn open(fleet: &mut Fleet, whom: Whom, turn: usize) -> Self {
        let half = fleet.pods.len() / 2;
        let mut open = Vec::new();
        for pod in &mut fleet.pods {
            let nth = (pod.ordinal / half + turn) % 2;
            match whom {
                Whom::Everybody => announce(pod, fleet.nodes[nth]),
                // Where the port cannot be chosen, no two pods share a node.
                Whom::Clients => announce_to_clients(pod, fleet.nodes[6 * nth + pod.ordinal]),
            }
        }
        for pod in &fleet.pods {
            open.push(forwards(pod, &fleet.nodes));
        }
        Self(open)
    }

    /// Has the ports of a pod lead to where it is now.
    fn follow(&mut self, pod: &Pod, nodes: &[IpAddr]) {
        self.0[pod.ordinal].clear();
        self.0[pod.ordinal] = forwards(pod, nodes);
    }
}

/// The port of a node for a pod, and that for its bus.
fn node_ports(pod: &Pod) -> [u16; 2] {
    let ordinal = u16::try_from(pod.ordinal).expect("few pods");
    [30000 + ordinal, 31000 + ordinal]
}

/// Has a pod announce the ports of this node from its next start on.
fn announce(pod: &mut Pod, node: IpAddr) {
    let [port, bus_port] = node_ports(pod);
    let client_port = if pod.access.tls { "tls-port" } else { "port" };
    let options = [
        ("ip", node.to_string()),
        (client_port, port.to_string()),
        ("bus-port", bus_port.to_string()),
    ];
    let words = |(what, value)| [format!("--cluster-announce-{what}"), value];
    pod.args = options.into_iter().flat_map(words).collect();
    pod.known = Known::At((node, port).into());
}

/// The same for clients only.
fn announce_to_clients(pod: &mut Pod, node: IpAddr) {
    pod.args = vec!["--cluster-announce-client-ipv4".to_owned(), node.to_string()];
    let mut port = PORT;
    if pod.server.is_at_least((9, 1)) {
        port = node_ports(pod)[0];
        pod.args.extend(["--cluster-announce-client-port".to_owned(), port.to_string()]);
    }
    pod.known = Known::ToClients((node, port).into());
}

/// Where a client is sent for a pod.
fn place(pod: &Pod) -> SocketAddr {
    pod.known.instead_of(pod.address())
}

/// Opens the ports that lead to a pod: what everybody is told of on each node, as Kubernetes does, and what
/// clients are told of on its own.
fn forwards(pod: &Pod, nodes: &[IpAddr]) -> Vec<Forward> {
    let to = |from: IpAddr, port: u16, own: u16| {
        Forward::start((from, port).into(), (pod.ip, own).into())
    };
    match pod.known {
        Known::AsItIs => Vec::new(),
        Known::ToClients(at) => vec![to(at.ip(), at.port(), PORT)],
        Known::At(_) => {
            let [port, bus_port] = node_ports(pod);
            nodes[..2]
                .iter()
                .flat_map(|ip| [to(*ip, port, PORT), to(*ip, bus_port, BUS_PORT)])
                .collect()
        }
    }
}

fn on_nodes(recipe: &Recipe, whom: Whom) -> (Fleet, Ports) {
    let mut fleet = Fleet::new(recipe);
    forget_spares(&mut fleet);
    let ports = Ports::open(&mut fleet, whom, 0);
    (fleet, ports)
}

/// One healthy cluster, all of it ready, and nothing held, of which clients know the nodes' ports.
#[track_caller]
fn wait_well(fleet: &Fleet) {
    fleet.wait_whole(LIMIT);
    wait_all_ready(fleet);
    fleet.pods.iter().for_each(wait_nothing_held);
    let mut places: Vec<SocketAddr> = fleet.pods.iter().map(place).collect();
    places.sort();
    // What clients are told comes with a ping.
    for pod in &fleet.pods {
        wait_ok(LIMIT, &format!("{} to send clients to the nodes", pod.name()), || {
            let nodes = pod.view()?.nodes;
            let mut shown: Vec<SocketAddr> =
                nodes.values().map(|node| node.address.parse().expect("an address")).collect();
            shown.sort();
            if shown == places { Ok(()) } else { Err(format!("{shown:?}")) }
        });
    }
}

fn a_master(fleet: &Fleet) -> usize {
    let master = fleet.pods.iter().position(|pod| pod.view().unwrap().me().is("master"));
    master.expect("a cluster has masters")
}

/// Stops a master, which hands over, and gives it another address of its own for its next start.
#[track_caller]
fn hand_over(fleet: &mut Fleet) -> usize {
    let master = a_master(fleet);
    fleet.pods[master].stop();
    let log = fleet.pods[master].log();
    assert!(log.contains(" has taken over: "), "{}: {log}", fleet.pods[master].server.name);
    fleet.swap_address(master);
    forget_spares(fleet);
    master
}

fn forms_heals_and_hands_over(recipe: &Recipe, whom: Whom) {
    let (mut fleet, ports) = on_nodes(recipe, whom);
    fleet.start_all();
    wait_well(&fleet);
    write_keys(&fleet);

    // All of them come back on other nodes with other addresses of their own.
    fleet.pods.iter_mut().for_each(|pod| _ = pod.kill());
    drop(ports);
    (0..6).for_each(|ordinal| fleet.swap_address(ordinal));
    forget_spares(&mut fleet);
    let mut ports = Ports::open(&mut fleet, whom, 1);
    fleet.start_all();
    wait_well(&fleet);
    assert_keys(&fleet);

    // A master leaves, and is back at the same port of its node, which leads elsewhere by then.
    let master = hand_over(&mut fleet);
    ports.follow(&fleet.pods[master], &fleet.nodes);
    fleet.start_all();
    wait_well(&fleet);
    assert_keys(&fleet);

    // It is a replica now, and loses its volume.
    fleet.pods[master].kill();
    lose_volume(&fleet.pods[master]);
    fleet.start_all();
    wait_well(&fleet);
    assert_keys(&fleet);
}

/// The only master loses its volume and is back, on another node, before anybody has missed it.
fn lost_master_is_replaced(recipe: &Recipe, whom: Whom) {
    let (mut fleet, mut ports) = on_nodes(recipe, whom);
    fleet.start_all();
    wait_well(&fleet);
    write_keys(&fleet);
    let (lost, nodes) = (a_master(&fleet), fleet.nodes.clone());
    let pod = &mut fleet.pods[lost];
    pod.kill();
    lose_volume(pod);
    match whom {
        Whom::Everybody => announce(pod, nodes[usize::from(place(pod).ip() == nodes[0])]),
        Whom::Clients => announce_to_clients(pod, nodes[11]),
    }
    ports.follow(pod, &nodes);
    pod.start();
    wait_well(&fleet);
    assert!(fleet.pods[lost].view().unwrap().me().is("slave"), "{}", recipe.server.name);
    assert_keys(&fleet);
}

/// Where clients are sent need not be reached from inside.
fn needs_no_ports(recipe: &Recipe) {
    let (mut fleet, ports) = on_nodes(recipe, Whom::Clients);
    drop(ports);
    fleet.start_all();
    wait_well(&fleet);
    hand_over(&mut fleet);
    fleet.start_all();
    wait_well(&fleet);
}

#[test]
fn cluster_behind_ports_of_nodes_forms_heals_and_hands_over() {
    in_every_version(|server| forms_heals_and_hands_over(&recipe(server, 3), Whom::Everybody));
}

#[test]
fn cluster_behind_ports_of_nodes_does_so_by_tls() {
    let recipe = Recipe { lock: Lock::Locked, ..recipe(&any_server(), 3) };
    if !recipe.server.has_tls() {
        return left_out("ports of nodes by TLS: the server is built without it");
    }
    forms_heals_and_hands_over(&recipe, Whom::Everybody);
}

#[test]
fn cluster_that_tells_only_clients_of_ports_of_nodes_forms_heals_and_hands_over() {
    let knows = |server: &Server| server.kind() == "valkey" && server.is_at_least((8, 1));
    let known: Vec<_> = servers().into_iter().filter(knows).collect();
    if known.is_empty() {
        left_out("addresses for clients only: no Valkey 8.1 or later");
    }
    for server in known {
        // The options for ports by TLS are others.
        forms_heals_and_hands_over(&recipe(&server, 3).open(), Whom::Clients);
        lost_master_is_replaced(&recipe(&server, 1).open(), Whom::Clients);
        needs_no_ports(&recipe(&server, 1).open());
    }
}

#[test]
fn master_behind_a_port_that_lost_its_volume_has_its_replica_take_over() {
    in_every_version(|server| lost_master_is_replaced(&recipe(server, 1), Whom::Everybody));
}

#[test]
fn port_that_leads_nowhere_is_held_until_it_is_opened() {
    let (mut fleet, ports) = on_nodes(&recipe(&any_server(), 1), Whom::Everybody);
    drop(ports);
    fleet.start_all();
    for (pod, other) in fleet.pods.iter().zip(fleet.pods.iter().rev()) {
        wait_held(pod, "announced_unreachable");
        let place = place(other).to_string();
        wait_ok(LIMIT, "the place in the log", || {
            if pod.log().contains(&place) { Ok(()) } else { Err(pod.log()) }
        });
    }
    let _ports = Ports::open(&mut fleet, Whom::Everybody, 0);
    wait_well(&fleet);
}

#[test]
fn port_of_a_bus_that_leads_nowhere_is_held_until_it_is_opened() {
    let (mut fleet, mut ports) = on_nodes(&recipe(&any_server(), 1), Whom::Everybody);
    for pod in &fleet.pods {
        let [_, bus_port] = node_ports(pod);
        ports.0[pod.ordinal].retain(|port| port.from.port() != bus_port);
    }
    fleet.start_all();
    // Both ends do not always know: one may have a link, over which it heard of no address yet.
    wait_ok(LIMIT, "either to hold it", || {
        let kinds = [held(&fleet.pods[0])?, held(&fleet.pods[1])?].concat();
        if kinds.contains(&"announced_unreachable".to_owned()) {
            Ok(())
        } else {
            Err(format!("{kinds:?}"))
        }
    });
    for pod in &fleet.pods {
        ports.follow(pod, &fleet.nodes);
    }
    wait_well(&fleet);
}

#[test]
fn two_servers_with_one_id_are_held_although_each_has_a_port() {
    let (mut fleet, _ports) = on_nodes(&recipe(&any_server(), 1), Whom::Everybody);
    fleet.start_all();
    wait_well(&fleet);
    // A copy of a volume whose pod is found as well, behind a port of its own.
    let mut copy = Pod::new(Program::Bare, &any_server(), fleet.dir(), 77, fleet.spare[1]);
    copy.conf = fleet.pods[1].conf.clone();
    copy.access = fleet.pods[1].access.clone();
    announce(&mut copy, fleet.nodes[0]);
    let _ports_of_copy = forwards(&copy, &fleet.nodes);
    let nodes_conf = |pod: &Pod| pod.data().join("nodes.conf");
    fs::copy(nodes_conf(&fleet.pods[1]), nodes_conf(&copy)).expect("it is ours");
    copy.start();
    copy.wait_answers(LIMIT);
    assert_eq!(copy.text(&["CLUSTER", "MYID"]), fleet.pods[1].text(&["CLUSTER", "MYID"]));
    let pod = &mut fleet.pods[0];
    pod.kill();
    let peers = format!("{},{}:{PORT}", pod.env["REJOIN_PEERS"], copy.ip);
    pod.env.insert("REJOIN_PEERS".to_owned(), peers);
    pod.start();
    wait_held(pod, "same_id");
}
