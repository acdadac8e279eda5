//! Where the other pods are looked for.

use std::net::IpAddr;

/// Where the other pods are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// The DNS name of the headless Service: each A and AAAA record is a pod.
    Service(String),
    /// `REJOIN_PEERS`: these addresses, and no name of a Service.
    List(Vec<Peer>),
}

/// One address of `REJOIN_PEERS`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// An address, or a name to look up.
    pub host: Host,
    /// The client port. `None`: the port that the own server uses.
    pub port: Option<u16>,
}

/// A literal address or a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address; no look-up.
    Ip(IpAddr),
    /// A name that DNS resolves, perhaps to several pods.
    Name(String),
}
