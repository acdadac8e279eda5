//! `REJOIN_HTTP`: where the probes are served and asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::peers::parse_port;
use super::settings::{ConfigError, Settings, Variable};

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
    /// Reads `REJOIN_HTTP`: `8080`, `:8080`, `*:8080`, `127.0.0.1`, `127.0.0.1:8080`,
    /// `[::1]:8080`, `localhost:8080`. All that an exec probe needs of the settings.
    ///
    /// # Errors
    /// Where it is none of these, or the port is 0.
    pub fn read(settings: &Settings<'_>) -> Result<HttpAddr, ConfigError> {
        let Some(given) = settings.get(Variable::Http)? else { return Ok(HttpAddr::default()) };
        match HttpAddr::parse(given.value.trim()) {
            Some(address) => Ok(address),
            None if ["off", "no", "none"].contains(&&*given.value.trim().to_lowercase()) => {
                Err(given.refuse("the probes need it", "127.0.0.1:8080 keeps it inside the pod"))
            }
            None => Err(given.refuse(
                "not [ADDRESS]:PORT with a port from 1 to 65535",
                "set something like :8080 or 127.0.0.1:8080",
            )),
        }
    }

    fn parse(text: &str) -> Option<HttpAddr> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(HttpAddr::At((ip, PORT).into()));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() != 0).then_some(HttpAddr::At(address));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port = parse_port(port)?;
        match host {
            "" | "*" => Some(HttpAddr::Any(port)),
            "localhost" => Some(HttpAddr::At((Ipv4Addr::LOCALHOST, port).into())),
            _ => None,
        }
    }

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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    fn read(value: &str) -> Result<HttpAddr, String> {
        let env = HashMap::from([("REJOIN_HTTP", value)]);
        let settings = Settings::new(BTreeMap::new(), &env);
        HttpAddr::read(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn address_is_read_in_every_form() {
        let at = |address: &str| HttpAddr::At(address.parse().expect("an address and port"));
        for (value, address) in [
            ("", HttpAddr::Any(8080)),
            ("9090", HttpAddr::Any(9090)),
            (":9090", HttpAddr::Any(9090)),
            ("*:9090", HttpAddr::Any(9090)),
            ("127.0.0.1:9090", at("127.0.0.1:9090")),
            ("127.0.0.1", at("127.0.0.1:8080")),
            ("[::]:9090", at("[::]:9090")),
            ("::1", at("[::1]:8080")),
            ("localhost:1", at("127.0.0.1:1")),
        ] {
            assert_eq!(read(value), Ok(address), "{value}");
        }
    }

    #[test]
    fn wrong_address_is_refused_with_a_remedy() {
        for value in ["0", ":0", "127.0.0.1:0", "65536", "pod:8080", "http://:8080", "-1", "a"] {
            let error = read(value).expect_err("refused");
            assert!(error.starts_with(&format!("REJOIN_HTTP is {value:?}: not ")), "{error}");
        }
        let off = "REJOIN_HTTP is \"off\": the probes need it; \
                   127.0.0.1:8080 keeps it inside the pod";
        assert_eq!(read("off"), Err(off.to_owned()));
    }

    #[test]
    fn probes_ask_loopback_where_every_address_is_served() {
        let text = |addresses: Vec<SocketAddr>| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let any = HttpAddr::default();
        assert_eq!(text(any.bind()), ["[::]:8080", "0.0.0.0:8080"]);
        assert_eq!(text(any.dial()), ["127.0.0.1:8080", "[::1]:8080"]);
        let dial = |value| read(value).map(|address| text(address.dial()));
        assert_eq!(dial("0.0.0.0:1"), Ok(vec!["127.0.0.1:1".into()]));
        assert_eq!(dial("[::]:1"), Ok(vec!["[::1]:1".into(), "127.0.0.1:1".into()]));
        assert_eq!(dial("10.0.0.1:1"), Ok(vec!["10.0.0.1:1".into()]));
    }
}
