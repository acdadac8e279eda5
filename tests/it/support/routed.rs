//! A network for each pod, and a router between them, as on the nodes of a Kubernetes cluster:
//! what is sent to an address that no pod has is lost without a word, and so is what is cut.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use super::left_out::left_out;
use super::netns::{Netns, ip};

/// The router's own addresses, from which the test and its name server speak.
const OWN: [&str; 2] = ["10.78.255.53", "fd00:78::ff53"];
/// Everything that pods may have.
const ALL: [&str; 2] = ["10.78.0.0/16", "fd00:78::/64"];
/// The router, as each pod knows it.
const GATEWAY: [&str; 2] = ["169.254.1.1", "fe80::1"];

/// The router, which the thread that made it is inside of, and the networks of the pods. Dropping
/// it removes all of them; the pods must have ended before.
#[derive(Debug)]
pub struct Routed {
    // Dropped in this order.
    pods: Vec<Netns>,
    router: Netns,
    /// Pairs of addresses, of which the second hears nothing from the first.
    cut: BTreeSet<(IpAddr, IpAddr)>,
}

impl Routed {
    /// Networks for so many pods, none of which has an address; or says that `what` is left out.
    pub fn enter(what: &str, pods: usize) -> Option<Self> {
        let router = Netns::enter(what)?;
        let pods: Option<Vec<Netns>> = (0..pods).map(|_| Netns::make(what)).collect();
        let routed = Self { pods: pods?, router, cut: BTreeSet::new() };
        if let Err(reason) = routed.connect() {
            left_out(&format!("{what}: networks cannot be connected here: {reason}"));
            return None;
        }
        Some(routed)
    }

    fn connect(&self) -> Result<(), String> {
        for (ordinal, pod) in self.pods.iter().enumerate() {
            let port = port(ordinal);
            self.router(&format!("link add {port} type veth peer name eth0 netns {}", pod.name()))?;
            self.router(&format!("link set {port} up"))?;
            in_netns(pod, "link set eth0 up")?;
            for gateway in GATEWAY {
                let nodad = if gateway.contains(':') { "/64 nodad" } else { "/32" };
                self.router(&format!("address add {gateway}{nodad} dev {port}"))?;
            }
        }
        for (own, all) in OWN.iter().zip(ALL) {
            let nodad = if own.contains(':') { " nodad" } else { "" };
            self.router(&format!("address add {own}{nodad} dev lo"))?;
            self.router(&format!("route add blackhole {all}"))?;
        }
        // The thread is inside.
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let file = format!("/proc/sys/net/{switch}");
            fs::write(&file, "1").map_err(|error| format!("{file}: {error}"))?;
        }
        Ok(())
    }

    /// The name of the network of this pod.
    pub fn netns(&self, ordinal: usize) -> &Netns {
        &self.pods[ordinal]
    }

    /// The router's own address of the same family as this one.
    pub fn own(&self, like: IpAddr) -> IpAddr {
        OWN[usize::from(like.is_ipv6())].parse().expect("an address")
    }

    /// Gives a pod this address and no other: what is still sent to its former one is lost.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[track_caller]
    pub fn give(&self, ordinal: usize, address: IpAddr) {
        let family = usize::from(address.is_ipv6());
        let (pod, port, own) = (&self.pods[ordinal], port(ordinal), OWN[family]);
        let (gateway, length) = (GATEWAY[family], if family == 0 { "/32" } else { "/128 nodad" });
        self.take_away(ordinal);
        let given = in_netns(pod, &format!("address add {address}{length} dev eth0"))
            .and_then(|()| {
                in_netns(pod, &format!("route replace default via {gateway} dev eth0 onlink"))
            })
            .and_then(|()| self.router(&format!("route add {address} dev {port} src {own}")));
        given.expect("a pod can be given an address");
    }

    /// Takes every address from a pod, as when its node is gone: nothing that it or anybody says
    /// comes through any more.
    pub fn take_away(&self, ordinal: usize) {
        let port = port(ordinal);
        for family in ["-4", "-6"] {
            // What is not there is as it should be.
            let _ = self.router(&format!("{family} route flush dev {port} proto boot"));
            let _ = in_netns(
                &self.pods[ordinal],
                &format!("{family} address flush dev eth0 scope global"),
            );
        }
    }

    /// Loses from now on what one address sends to another.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[track_caller]
    pub fn cut(&mut self, from: IpAddr, to: IpAddr) {
        if self.cut.insert((from, to)) {
            self.rule("add", from, to);
        }
    }

    /// Loses nothing any more.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[track_caller]
    pub fn mend(&mut self) {
        for (from, to) in std::mem::take(&mut self.cut) {
            self.rule("del", from, to);
        }
    }

    #[track_caller]
    fn rule(&self, what: &str, from: IpAddr, to: IpAddr) {
        let family = if from.is_ipv4() { "-4" } else { "-6" };
        self.router(&format!("{family} rule {what} from {from} to {to} blackhole pref 10"))
            .expect("a rule can be set");
    }

    /// Runs `ip` in the router.
    fn router(&self, words: &str) -> Result<(), String> {
        in_netns(&self.router, words)
    }
}

/// The router's end of the wire to this pod.
fn port(ordinal: usize) -> String {
    format!("pod{ordinal}")
}

fn in_netns(netns: &Netns, words: &str) -> Result<(), String> {
    let words: Vec<&str> = ["-n", netns.name()].into_iter().chain(words.split(' ')).collect();
    ip(&words).map_err(|error| format!("ip {}: {error}", words.join(" ")))
}
