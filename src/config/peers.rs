//! Where the other pods are looked for.

use std::net::{IpAddr, Ipv6Addr};

use super::settings::{ConfigError, Given, Settings, Variable};

/// Where the other pods are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// The DNS name of the headless Service: each A and AAAA record is a pod. A dot at its end
    /// says that it is absolute; otherwise the search domains apply.
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

impl Peers {
    /// Reads `REJOIN_PEERS`, else `REJOIN_SERVICE`, else takes the Service that was found.
    ///
    /// # Errors
    /// Where a value is no list of addresses, or no name.
    pub fn read(
        settings: &Settings<'_>,
        found: Option<String>,
    ) -> Result<Option<Peers>, ConfigError> {
        if let Some(given) = settings.get(Variable::Peers)? {
            return list(given).map(|list| Some(Peers::List(list)));
        }
        match settings.get(Variable::Service)? {
            Some(given) if given.value.trim().parse::<IpAddr>().is_ok() => {
                Err(given.refuse("an address", "set the name of the headless Service, or --peers"))
            }
            Some(given) if !is_name(given.value.trim()) => {
                Err(given.refuse("no DNS name", "set the name of the headless Service"))
            }
            Some(given) => Ok(Some(Peers::Service(given.value.trim().to_owned()))),
            None => Ok(found.map(Peers::Service)),
        }
    }
}

fn list(given: Given) -> Result<Vec<Peer>, ConfigError> {
    let words = given.value.split(',').map(str::trim).filter(|word| !word.is_empty());
    match words.map(Peer::parse).collect::<Option<Vec<_>>>() {
        Some(peers) if !peers.is_empty() => Ok(peers),
        _ => Err(given.refuse(
            "not a list of host[:port]",
            "separate addresses by commas and put IPv6 with a port in brackets",
        )),
    }
}

impl Peer {
    /// Reads `10.0.0.1`, `10.0.0.1:7000`, `fd00::1`, `[fd00::1]:7000`, `name`, `name:7000`.
    pub fn parse(text: &str) -> Option<Peer> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Peer { host: Host::Ip(ip.to_canonical()), port: None });
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (ip, port) = rest.split_once(']')?;
            let ip = IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?).to_canonical();
            let port = match port {
                "" => None,
                _ => Some(parse_port(port.strip_prefix(':')?)?),
            };
            return Some(Peer { host: Host::Ip(ip), port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (text, None),
        };
        let host = match host.parse::<IpAddr>() {
            Ok(ip) => Host::Ip(ip),
            Err(_) if is_name(host) => Host::Name(host.to_owned()),
            Err(_) => return None,
        };
        Some(Peer { host, port })
    }
}

/// A port from 1 to 65535, in digits alone.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0)
}

/// Whether this can be a DNS name: labels of letters, digits, `-` and `_`, the last one not all
/// digits, since that is a mistyped address.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;

    use super::*;

    fn read(env: &[(&str, &str)], found: Option<&str>) -> Result<Option<Peers>, String> {
        let env: HashMap<_, _> = env.iter().copied().collect();
        let settings = Settings::new(BTreeMap::new(), &env);
        Peers::read(&settings, found.map(str::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn peers_are_read_in_every_form() {
        let ip = |ip: &str| Host::Ip(ip.parse().expect("an address"));
        let name = |name: &str| Host::Name(name.to_owned());
        for (text, host, port) in [
            ("10.0.0.1", ip("10.0.0.1"), None),
            ("10.0.0.1:7000", ip("10.0.0.1"), Some(7000)),
            ("fd00::1", ip("fd00::1"), None),
            ("[fd00::1]", ip("fd00::1"), None),
            ("[fd00::1]:7000", ip("fd00::1"), Some(7000)),
            ("redis-0.redis", name("redis-0.redis"), None),
            ("redis_0:7000", name("redis_0"), Some(7000)),
            ("redis.ns.svc.", name("redis.ns.svc."), None),
        ] {
            assert_eq!(Peer::parse(text), Some(Peer { host, port }), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_peer() {
        for text in [
            "",
            ":7000",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "10.0.0.256",
            "10.0.0",
            "a b",
            "a..b",
            "[10.0.0.1]:1",
            "[fd00::1",
            "[fd00::1]7000",
            "fd00::1%eth0",
            "http://a",
            "a:1:2",
        ] {
            assert_eq!(Peer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn list_wins_over_service_and_service_over_what_was_found() {
        let both = [("REJOIN_PEERS", "a, b:1,"), ("REJOIN_SERVICE", "s")];
        let Ok(Some(Peers::List(list))) = read(&both, None) else { panic!("no list") };
        assert_eq!(list.len(), 2);
        assert_eq!(read(&both[1..], Some("found.")), Ok(Some(Peers::Service("s".into()))));
        assert_eq!(read(&[], Some("found.")), Ok(Some(Peers::Service("found.".into()))));
        assert_eq!(read(&[], None), Ok(None));
    }

    #[test]
    fn wrong_lists_and_names_are_refused_by_name() {
        for (name, value) in [
            ("REJOIN_PEERS", ","),
            ("REJOIN_PEERS", "a;b"),
            ("REJOIN_SERVICE", "10.0.0.1"),
            ("REJOIN_SERVICE", "redis:6379"),
            ("REJOIN_SERVICE", "${SERVICE}"),
        ] {
            let error = read(&[(name, value)], None).expect_err("refused");
            assert!(error.starts_with(&format!("{name} is {value:?}: ")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let _ = Peer::parse(&text);
        }
    }
}
