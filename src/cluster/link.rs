//! Why a replica stays without a link to a master that answers us. Replication has a login of its
//! own, and a server whose login is refused says so in its log only.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::server::ServerConfig;
use crate::health::Answer;
use crate::redis::{Dialer, Failure};

use super::model::View;

/// How long a link is down before it is looked into: for a moment it is at each start and after each
/// move, when there is no time to lose.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pause between two logins. The server itself tries every second.
const PAUSE: Duration = Duration::from_secs(10);

/// Logs in as the own server does, while that has no link.
pub struct Link {
    dialer: Dialer,
    replconf: String,
    down: Option<Down>,
}

/// A link that is down, while the master answers us.
#[derive(Clone, Debug)]
struct Down {
    at: SocketAddr,
    since: Instant,
    tried: Option<Instant>,
    refused: Option<String>,
}

impl Link {
    /// Has seen nothing yet.
    pub fn new(server: &ServerConfig) -> Link {
        let (dialer, replconf) = (Dialer::of_replica(server), server.word("REPLCONF"));
        Link { dialer, replconf, down: None }
    }

    /// After a look at everybody: what the master says to a login like the own server's, where it
    /// refuses it. Asked seldom, and not at once.
    pub async fn refusal(&mut self, view: &View, now: Instant) -> Option<String> {
        let Some(at) = unlinked_master(view) else {
            self.down = None;
            return None;
        };
        let new = || Down { at, since: now, tried: None, refused: None };
        let mut down = self.down.take().filter(|down| down.at == at).unwrap_or_else(new);
        if down.is_due(now) {
            down.tried = Some(now);
            down.refused = self.try_login(at).await;
        }
        self.down.insert(down).refused.clone()
    }

    /// `REPLCONF` alone changes nothing (`replconfCommand` in `src/replication.c`), and takes a login
    /// and a right that a replica needs.
    async fn try_login(&self, at: SocketAddr) -> Option<String> {
        let asked = async { self.dialer.connect_peer(at).await?.ask(&[&self.replconf]).await };
        match asked.await {
            Err(Failure::Said(Answer::Refused(line))) => Some(line),
            _ => None,
        }
    }
}

impl Down {
    fn is_due(&self, now: Instant) -> bool {
        let patient = now.duration_since(self.since) >= PATIENCE;
        patient && self.tried.is_none_or(|tried| now.duration_since(tried) >= PAUSE)
    }
}

/// Where the own master answers us, but has no link to its replica, which looks for it there.
fn unlinked_master(view: &View) -> Option<SocketAddr> {
    if !view.own.is_cut_off() {
        return None;
    }
    let (master, at) = (view.own.table.me().master?, view.own.replication.follows?);
    view.answers_at(at, master).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::memory::tests::{alone, linked, view};

    #[test]
    fn only_a_master_that_answers_where_it_is_looked_for_may_refuse_its_replica() {
        let master = "10.0.0.1:6379".parse().ok();
        assert_eq!(unlinked_master(&view(false, "10.0.0.1", "ours", true)), master);
        assert_eq!(unlinked_master(&view(false, "10.0.0.9", "ours", true)), None);
        assert_eq!(unlinked_master(&linked()), None);
        assert_eq!(unlinked_master(&alone()), None);
    }

    #[test]
    fn login_is_tried_after_a_while_and_seldom() {
        let since = Instant::now();
        let at = "10.0.0.1:6379".parse().expect("an address");
        let after = |seconds| since + Duration::from_secs(seconds);
        let mut down = Down { at, since, tried: None, refused: None };
        assert!(!down.is_due(after(2)));
        assert!(down.is_due(after(3)));
        down.tried = Some(after(3));
        assert!(!down.is_due(after(12)));
        assert!(down.is_due(after(13)));
    }
}
