//! `cluster-announce-hostname`: the pod's full name, once DNS knows it. For people, who see pods
//! instead of addresses, and for clients that prefer names. Nothing of ours depends on it.

use std::time::{Duration, Instant};

use tracing::info;

use crate::config::server::ServerConfig;

use super::observe::Observer;

/// The pause between two looks at DNS.
const PAUSE: Duration = Duration::from_secs(3);

/// When it is given up, from the first look on, when the pod is ready: it is in DNS within seconds
/// then, or it never will be.
const GIVEN_UP: Duration = Duration::from_secs(15);

/// Whether and when the name is still to be announced.
#[derive(Debug)]
pub struct Hostname {
    wanted: bool,
    /// The first and the last look at DNS.
    looked: Option<(Instant, Instant)>,
}

impl Hostname {
    /// Nothing is announced where cluster mode is off or the user announces a name.
    pub fn new(server: &ServerConfig) -> Hostname {
        let wanted = server.cluster_enabled && server.announce.hostname.is_none();
        Hostname { wanted, looked: None }
    }

    /// Announces the name if it is time to look and DNS has it. Servers before 7.0 know no such
    /// option, and a user of ours may not set any: it is left alone then.
    pub async fn announce(&mut self, observer: &mut Observer, pod: &str, now: Instant) {
        let (first, last) = self.looked.unwrap_or((now, now));
        let too_soon = self.looked.is_some() && now.duration_since(last) < PAUSE;
        if !self.wanted || too_soon {
            return;
        }
        self.looked = Some((first, now));
        self.wanted = now.duration_since(first) < GIVEN_UP;
        let Some(name) = observer.own_name(pod).await else { return };
        self.wanted = false;
        match observer.config_own(&["SET", "cluster-announce-hostname", &name]).await {
            Ok(_) => info!("announce the name {name}"),
            Err(why) => info!("the name {name} is not announced: the server {why}"),
        }
    }
}
