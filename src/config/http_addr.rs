//! `REJOIN_HTTP`: where the probes are served and asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port of the probes, unless `REJOIN_HTTP` says otherwise.
pub const PORT: u16 = 8080;

/// Where the probes are served.
///
/// There is no way to turn it off, since `rejoin ready` and its like ask it:
/// `127.0.0.1:8080` keeps it inside the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpAddr {
    /// This port of every address: `[::]`, or `0.0.0.0` where there is no IPv6.
    Any(u16),
    /// This address only.
    At(SocketAddr),
}

impl Default for HttpAddr {
    fn default() -> Self {
        HttpAddr::Any(PORT)
    }
}

impl HttpAddr {
    /// What to bind: the first where that is possible. The second is for a host without IPv6
    /// (`EAFNOSUPPORT`, `EADDRNOTAVAIL`) and for nothing else: an address in use is an error.
    pub fn bind(self) -> Vec<SocketAddr> {
        match self {
            HttpAddr::Any(port) => vec![
                (IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into(),
                (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into(),
            ],
            HttpAddr::At(address) => vec![address],
        }
    }

    /// Where a client in the same pod reaches it, in the order to try.
    pub fn dial(self) -> Vec<SocketAddr> {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        match self {
            HttpAddr::Any(port) => vec![(v4, port).into(), (v6, port).into()],
            HttpAddr::At(at) if !at.ip().is_unspecified() => vec![at],
            HttpAddr::At(at) if at.is_ipv4() => vec![(v4, at.port()).into()],
            HttpAddr::At(at) => vec![(v6, at.port()).into(), (v4, at.port()).into()],
        }
    }
}
