//! Who this pod is: its name, ordinal and address.

use std::net::IpAddr;

use super::settings::{ConfigError, Given};

/// The name of a StatefulSet's pod: `redis-cluster-4` is base `redis-cluster`, ordinal 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// The whole name.
    pub name: String,
    /// The name of the StatefulSet: all before the last `-` where a number follows it, else the
    /// whole name.
    pub base: String,
    /// The trailing number. `None`: the name has none, so the pod can take no part in forming.
    pub ordinal: Option<u32>,
}

impl PodName {
    /// Takes a pod's name apart. Of a domain name, only the first label counts
    /// (`setHostnameAsFQDN`).
    pub fn new(name: &str) -> PodName {
        let name = name.trim().split('.').next().unwrap_or_default();
        let parts = name.rsplit_once('-').and_then(|(base, number)| {
            let ordinal: u32 = number.parse().ok()?;
            // No `+1` and no `01`: Kubernetes writes neither.
            (!base.is_empty() && ordinal.to_string() == number).then_some((base, ordinal))
        });
        PodName {
            name: name.to_owned(),
            base: parts.map_or(name, |(base, _)| base).to_owned(),
            ordinal: parts.map(|(_, ordinal)| ordinal),
        }
    }
}

/// Reads `POD_IP`.
///
/// # Errors
/// Where it is no literal address of one host; each common mistake has its own hint.
pub fn parse_ip(given: Given) -> Result<IpAddr, ConfigError> {
    const REMEDY: &str = "set it from the field status.podIP in the pod's manifest";
    let value = given.value.trim();
    let wrong = if value.is_empty() {
        "empty"
    } else if value.contains('$') {
        "a reference that nobody replaced"
    } else if value.contains(',') {
        "more than one address"
    } else if value.contains('%') {
        "an address with a zone"
    } else if value.starts_with('[') {
        "an address in brackets"
    } else {
        match value.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => "the address of no host in particular",
            Ok(ip) if ip.is_multicast() => "a multicast address",
            Ok(ip) => return Ok(ip.to_canonical()),
            Err(_) => "no IPv4 or IPv6 address",
        }
    };
    Err(given.refuse(wrong, REMEDY))
}

/// The DNS name of the Service that governs this pod, absolute (with a dot at its end), from the
/// line that the kubelet writes for it into `/etc/hosts`:
/// `IP  name.service.namespace.svc.domain  name` (`kubelet_pods.go`, for pods with a subdomain).
/// Of several lines the one with the pod's own address wins; loopback addresses never count.
pub fn service(hosts: &str, pod: &str, ip: Option<IpAddr>) -> Option<String> {
    let lines = hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let service = words.find_map(|name| name.strip_prefix(pod)?.strip_prefix('.'))?;
        let found = !address.is_loopback() && !service.is_empty();
        found.then(|| (address, format!("{}.", service.trim_end_matches('.'))))
    });
    let lines: Vec<_> = lines.collect();
    let own = lines.iter().find(|(address, _)| Some(*address) == ip);
    own.or(lines.first()).map(|(_, service)| service.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinal_is_the_trailing_number() {
        for (name, base, ordinal) in [
            ("redis-cluster-4", "redis-cluster", Some(4)),
            ("redis-0.redis.default.svc", "redis", Some(0)),
            (" a-10\n", "a", Some(10)),
            ("redis", "redis", None),
            ("redis-", "redis-", None),
            ("redis-x1", "redis-x1", None),
            ("redis-01", "redis-01", None),
            ("redis-+1", "redis-+1", None),
            ("redis-99999999999", "redis-99999999999", None),
            ("-1", "-1", None),
            ("", "", None),
        ] {
            let pod = PodName::new(name);
            assert_eq!((&*pod.base, pod.ordinal), (base, ordinal), "{name:?}");
        }
    }

    fn ip(value: &str) -> Result<IpAddr, String> {
        parse_ip(Given { by: "POD_IP".into(), value: value.into() }).map_err(|e| e.to_string())
    }

    #[test]
    fn addresses_of_both_families_are_taken() {
        for (value, address) in [
            ("10.0.0.1", "10.0.0.1"),
            (" 10.0.0.1\n", "10.0.0.1"),
            ("fd00::1", "fd00::1"),
            ("FD00:0:0::0001", "fd00::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("127.0.0.2", "127.0.0.2"),
        ] {
            assert_eq!(ip(value).map(|ip| ip.to_string()).as_deref(), Ok(address));
        }
    }

    #[test]
    fn each_wrong_address_says_what_is_wrong_with_it() {
        for (value, wrong) in [
            ("", "empty"),
            ("${POD_IP}", "a reference that nobody replaced"),
            ("$(POD_IP)", "a reference that nobody replaced"),
            ("10.0.0.1,fd00::1", "more than one address"),
            ("fe80::1%eth0", "an address with a zone"),
            ("[fd00::1]", "an address in brackets"),
            ("redis-0.redis", "no IPv4 or IPv6 address"),
            ("10.0.0.1:6379", "no IPv4 or IPv6 address"),
            ("10.0.0.256", "no IPv4 or IPv6 address"),
            ("0.0.0.0", "the address of no host in particular"),
            ("::", "the address of no host in particular"),
            ("224.0.0.1", "a multicast address"),
        ] {
            let remedy = "set it from the field status.podIP in the pod's manifest";
            assert_eq!(ip(value), Err(format!("POD_IP is {value:?}: {wrong}; {remedy}")));
        }
    }

    const HOSTS: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost\nfe00::0\tip6-localnet\n\
        10.244.1.7\tredis-0.redis.default.svc.cluster.local\tredis-0\n\
        10.9.9.9 redis-01.other.local # HostAliases\n";

    #[test]
    fn service_comes_from_the_line_of_the_pod() {
        let service = |hosts, pod| service(hosts, pod, None);
        assert_eq!(service(HOSTS, "redis-0").as_deref(), Some("redis.default.svc.cluster.local."));
        assert_eq!(service(HOSTS, "redis-1"), None);
        assert_eq!(service("10.0.0.1 redis-0\n", "redis-0"), None);
        assert_eq!(service("127.0.1.1 box.lan box\n", "box"), None);
        assert_eq!(service("nonsense\n10.0.0.1 a.\n", "a"), None);
        assert_eq!(service("", "a"), None);
    }

    #[test]
    fn line_of_the_own_address_wins() {
        let hosts = "10.0.0.1 a-0.old.ns.svc a-0\n10.0.0.2 a-0.new.ns.svc a-0\n";
        let with = |ip: &str| service(hosts, "a-0", ip.parse().ok());
        assert_eq!(with("10.0.0.2").as_deref(), Some("new.ns.svc."));
        assert_eq!(with("10.0.0.3").as_deref(), Some("old.ns.svc."));
    }
}
