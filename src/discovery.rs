//! Where the other pods are: the Service's name in DNS, or the list of `REJOIN_PEERS`.
//!
//! Our own resolver, since a static binary has none that works in every image. Names are completed
//! as in `resolv.conf(5)` (`search`, `ndots`), but a failure on the way is never taken for an
//! answer: where one candidate fails and the next does not exist, nothing is known.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::system_conf::read_system_conf;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::peers::{Host, Peers};

/// How long an answer is used again. Pods come and go by the second, not faster.
const FRESH: Duration = Duration::from_millis(500);

/// Longest wait for one query; there is one more try.
const QUERY_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a search is waited for before the round goes on without it.
const MOMENT: Duration = Duration::from_millis(300);

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Every address that was named, in order.
    pub addresses: BTreeSet<SocketAddr>,
    /// Why the search is not complete; `None`: it is.
    pub failed: Option<String>,
}

/// Searches beside whoever asks, who waits a moment only: a resolver that is slow or silent must
/// not keep a keeper from looking at its own server.
pub struct Search {
    finder: Arc<Mutex<Finder>>,
    running: Option<JoinHandle<Found>>,
    last: Option<Found>,
    is_service: bool,
}

impl Search {
    /// Searches with `finder`.
    pub fn new(finder: Finder) -> Search {
        let is_service = matches!(finder.peers, Peers::Service(_));
        Search { finder: Arc::new(Mutex::new(finder)), running: None, last: None, is_service }
    }

    /// Whether addresses come from the name of a Service, and so belong to pods that exist.
    pub fn is_service(&self) -> bool {
        self.is_service
    }

    /// What there is after a moment: the answer, or the last one, marked as failed.
    pub async fn find(&mut self) -> Found {
        let finder = Arc::clone(&self.finder);
        let running = self
            .running
            .get_or_insert_with(|| tokio::spawn(async move { finder.lock().await.find().await }));
        let found = timeout(MOMENT, running).await;
        if found.is_ok() {
            self.running = None;
        }
        match found {
            Ok(Ok(found)) => {
                self.last = Some(found.clone());
                found
            }
            Ok(Err(error)) => self.stale(format!("the search ended: {error}")),
            Err(_) => self.stale("no answer yet".to_owned()),
        }
    }

    /// As [`Finder::name_of`]; `None` too while a search is under way.
    pub async fn name_of(&self, pod: &str, ip: IpAddr) -> Option<String> {
        self.finder.try_lock().ok()?.name_of(pod, ip).await
    }

    fn stale(&self, why: String) -> Found {
        let addresses = self.last.as_ref().map(|last| last.addresses.clone()).unwrap_or_default();
        Found { addresses, failed: Some(why) }
    }
}

/// Finds the other pods. Asks DNS only when asked to.
pub struct Finder {
    peers: Peers,
    port: u16,
    family: Option<IpAddr>,
    /// The completed name that had addresses last, for it is asked first.
    last_name: Option<String>,
    last: Option<(Instant, Found)>,
}

impl Finder {
    /// `port` is used where none is given; only addresses of the family of `own` are of use, where
    /// that is known.
    pub fn new(peers: Peers, port: u16, own: Option<IpAddr>) -> Finder {
        Finder { peers, port, family: own, last_name: None, last: None }
    }

    /// All addresses at present; an answer younger than half a second is used again.
    pub async fn find(&mut self) -> Found {
        if let Some((at, found)) = &self.last
            && at.elapsed() < FRESH
            && found.failed.is_none()
        {
            return found.clone();
        }
        let mut found = Found { addresses: BTreeSet::new(), failed: None };
        match self.peers.clone() {
            Peers::Service(name) => self.add(&name, self.port, &mut found).await,
            Peers::List(list) => {
                for peer in list {
                    let port = peer.port.unwrap_or(self.port);
                    match &peer.host {
                        Host::Ip(ip) => _ = found.addresses.insert((*ip, port).into()),
                        Host::Name(name) => self.add(name, port, &mut found).await,
                    }
                }
            }
        }
        self.last = Some((Instant::now(), found.clone()));
        found
    }

    /// The full name of a pod in the Service, without the last dot, once it leads to `ip`. `None`
    /// while it does not; pods of a list have none.
    pub async fn name_of(&self, pod: &str, ip: IpAddr) -> Option<String> {
        let (Peers::Service(_), Some(service)) = (&self.peers, &self.last_name) else {
            return None;
        };
        let name = format!("{pod}.{service}");
        let (name, addresses) = self.addresses_of(vec![name]).await.ok()??;
        addresses.contains(&ip).then(|| name.trim_end_matches('.').to_owned())
    }

    async fn add(&mut self, name: &str, port: u16, found: &mut Found) {
        match self.look_up(name).await {
            Ok(addresses) => {
                found.addresses.extend(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)));
            }
            Err(why) => found.failed = Some(format!("{name}: {why}")),
        }
    }

    /// The addresses of a name; none where it does not exist.
    async fn look_up(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        let (config, options) = read_system_conf().map_err(|error| error.to_string())?;
        let mut names = candidates(name, &search_list(&config), options.ndots);
        if let Some(last) = &self.last_name
            && let Some(at) = names.iter().position(|name| name == last)
        {
            names[..=at].rotate_right(1);
        }
        let Some((name, addresses)) = self.addresses_of(names).await? else {
            return Ok(Vec::new());
        };
        self.last_name = Some(name);
        Ok(addresses)
    }

    /// The first of these absolute names that has addresses, and they.
    async fn addresses_of(
        &self,
        names: Vec<String>,
    ) -> Result<Option<(String, Vec<IpAddr>)>, String> {
        let (config, options) = read_system_conf().map_err(|error| error.to_string())?;
        let resolver = resolver(config, options, self.family)?;
        let mut failed = None;
        for name in names {
            match resolver.lookup_ip(name.as_str()).await {
                Ok(addresses) => {
                    let addresses: Vec<IpAddr> = addresses.iter().collect();
                    if !addresses.is_empty() {
                        return Ok(Some((name, addresses)));
                    }
                }
                Err(error) if says_there_is_none(&error) => {}
                Err(error) => failed = Some(error.to_string()),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

fn resolver(
    config: ResolverConfig,
    options: ResolverOpts,
    family: Option<IpAddr>,
) -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options);
    let options = builder.options_mut();
    options.ip_strategy = match family {
        Some(IpAddr::V4(_)) => LookupIpStrategy::Ipv4Only,
        Some(IpAddr::V6(_)) => LookupIpStrategy::Ipv6Only,
        None => LookupIpStrategy::Ipv4AndIpv6,
    };
    options.timeout = QUERY_TIMEOUT;
    options.attempts = 1;
    options.cache_size = 0;
    options.try_tcp_on_error = true;
    builder.build().map_err(|error| error.to_string())
}

/// Whether the error is an answer: the name does not exist, or has no address of this kind.
pub fn says_there_is_none(error: &NetError) -> bool {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError)
        }
        _ => false,
    }
}

fn search_list(config: &ResolverConfig) -> Vec<String> {
    let mut list: Vec<String> = config.search().iter().map(ToString::to_string).collect();
    if list.is_empty() {
        list.extend(config.domain().map(ToString::to_string));
    }
    list
}

/// The absolute names that `name` stands for, in the order in which they are asked.
pub fn candidates(name: &str, search: &[String], ndots: usize) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let absolute = format!("{name}.");
    let mut names: Vec<String> = search
        .iter()
        .map(|domain| domain.trim_end_matches('.'))
        .filter(|domain| !domain.is_empty())
        .map(|domain| format!("{name}.{domain}."))
        .collect();
    if name.matches('.').count() >= ndots {
        names.insert(0, absolute);
    } else {
        names.push(absolute);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn asks(name: &str, ndots: usize, expected: &[&str]) {
        let search = ["redis.svc.cluster.local".to_owned(), "cluster.local.".to_owned()];
        assert_eq!(candidates(name, &search, ndots), expected);
    }

    #[test]
    fn short_name_is_completed_first() {
        asks("db", 5, &["db.redis.svc.cluster.local.", "db.cluster.local.", "db."]);
    }

    #[test]
    fn name_of_many_dots_is_asked_as_it_is_first() {
        asks("a.b", 1, &["a.b.", "a.b.redis.svc.cluster.local.", "a.b.cluster.local."]);
    }

    #[test]
    fn absolute_name_is_not_completed() {
        asks("db.", 5, &["db."]);
    }
}
