//! How the server is reached from inside its own pod.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::ServerConfig;

/// A way to reach the server from inside its own pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dial {
    /// A plain TCP connection.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr),
    /// The UNIX socket of this path.
    Unix(PathBuf),
}

/// Which of its two ports a server is asked at. One for all pods: where one is known by two, it
/// would be two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The port that is used speaks TLS.
    pub tls: bool,
    /// The port that is used.
    pub asked: u16,
    other: u16,
}

impl Ports {
    /// An address as it is asked: at the one port, if what is known is the other one.
    pub fn place(&self, at: SocketAddr) -> SocketAddr {
        let is_other = at.port() == self.other && self.other != 0 && self.asked != 0;
        SocketAddr::new(at.ip(), if is_other { self.asked } else { at.port() })
    }
}

impl ServerConfig {
    /// TLS where there is no plain port, and where the bus speaks it: then peers may have no other
    /// any more, and Redis 7.0 has the TLS ports in `nodes.conf`. `CLUSTER NODES` has those of the
    /// connection that it is asked over (`clusterGenNodeDescription`).
    pub fn ports(&self) -> Ports {
        let tls = self.port == 0 || (self.tls.cluster && self.tls_port != 0);
        let (asked, other) =
            if tls { (self.tls_port, self.port) } else { (self.port, self.tls_port) };
        Ports { tls, asked, other }
    }

    /// The port of the bus: `cluster-port`, or 10000 more than that for clients, by TLS where the bus
    /// speaks it (`defaultClientPort` in `src/cluster.h`).
    pub fn bus_port(&self) -> u16 {
        let client = if self.tls.cluster { self.tls_port } else { self.port };
        if self.cluster_port == 0 { client.saturating_add(10_000) } else { self.cluster_port }
    }

    /// Every way to reach the server from its own pod, in the order to try: the port that
    /// [`ServerConfig::ports`] says, the other one, the UNIX socket; of each port loopback first,
    /// since protected mode takes no other address. Names in `bind` other than `localhost` are
    /// passed over. Empty: no way.
    pub fn dial(&self) -> Vec<Dial> {
        let addresses = self.own_addresses();
        let mut dials = Vec::new();
        if self.port != 0 {
            dials.extend(addresses.iter().map(|&ip| Dial::Tcp((ip, self.port).into())));
        }
        if self.tls_port != 0 {
            dials.extend(addresses.iter().map(|&ip| Dial::Tls((ip, self.tls_port).into())));
        }
        if self.ports().tls {
            dials.sort_by_key(|dial| !matches!(dial, Dial::Tls(_)));
        }
        dials.extend(self.unixsocket.clone().map(Dial::Unix));
        dials
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        let mut addresses: Vec<IpAddr> = Vec::new();
        for bind in &self.bind {
            let bind = bind.strip_prefix('-').unwrap_or(bind);
            let address = match bind {
                "*" => Some(v4),
                "::*" => Some(v6),
                _ if bind.eq_ignore_ascii_case("localhost") => Some(v4),
                _ => bind.parse().ok().map(|ip: IpAddr| match ip {
                    IpAddr::V4(ip) if ip.is_unspecified() => v4,
                    IpAddr::V6(ip) if ip.is_unspecified() => v6,
                    ip => ip,
                }),
            };
            addresses.extend(address.filter(|address| !addresses.contains(address)));
        }
        addresses.sort_by_key(|address| (!address.is_loopback(), !address.is_ipv4()));
        addresses
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn dials(bind: &[&str], expected: &[&str]) {
        let mut config = ServerConfig::defaults(Path::new("/data"));
        config.bind = bind.iter().map(|&bind| bind.to_owned()).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|address| Dial::Tcp(address.parse().expect("an address and port")))
            .collect();
        assert_eq!(config.dial(), expected);
    }

    #[test]
    fn loopback_is_dialled_where_it_is_bound() {
        dials(&["*", "-::*"], &["127.0.0.1:6379", "[::1]:6379"]);
        dials(&["10.0.0.1", "127.0.0.1"], &["127.0.0.1:6379", "10.0.0.1:6379"]);
        dials(&["0.0.0.0", "127.0.0.1"], &["127.0.0.1:6379"]);
        dials(&["::", "localhost"], &["127.0.0.1:6379", "[::1]:6379"]);
    }

    #[test]
    fn bound_address_is_dialled_where_loopback_is_not_bound() {
        dials(&["10.0.0.1", "-fd00::1"], &["10.0.0.1:6379", "[fd00::1]:6379"]);
        dials(&["pod.example"], &[]);
        dials(&[], &[]);
    }

    #[test]
    fn tls_and_socket_come_after_the_plain_port() {
        let mut config = ServerConfig::defaults(Path::new("/data"));
        config.bind = vec!["127.0.0.1".to_owned()];
        config.tls_port = 7443;
        config.unixsocket = Some("/run/s".into());
        let tls = Dial::Tls(([127, 0, 0, 1], 7443).into());
        let socket = Dial::Unix("/run/s".into());
        let plain = Dial::Tcp(([127, 0, 0, 1], 6379).into());
        assert_eq!(config.dial(), [plain.clone(), tls.clone(), socket.clone()]);
        config.tls.cluster = true;
        assert_eq!(config.dial(), [tls.clone(), plain, socket.clone()]);
        config.port = 0;
        assert_eq!(config.dial(), [tls, socket]);
    }

    #[test]
    fn server_with_two_ports_is_at_one_place() {
        let at = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let mut config = ServerConfig::defaults(Path::new("/data"));
        let place = |config: &ServerConfig, port| config.ports().place(at(port)).port();
        for (tls_port, cluster, port, places) in [
            (0, false, 6379, [6379, 7443, 0]),
            (7443, false, 6379, [6379, 6379, 0]),
            (7443, true, 6379, [7443, 7443, 0]),
            (7443, true, 0, [6379, 7443, 0]),
            // A bus that speaks TLS beside a plain port alone.
            (0, true, 6379, [6379, 7443, 0]),
        ] {
            (config.port, config.tls_port, config.tls.cluster) = (port, tls_port, cluster);
            assert_eq!([6379, 7443, 0].map(|port| place(&config, port)), places, "{config:?}");
        }
        assert!(config.ports().asked == 6379 && !config.ports().tls);
    }
}
