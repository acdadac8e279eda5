//! The cluster that it happens to, with a network for each pod, and the doing.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::forming::{ready, status};
use crate::healing::{as_drop_in, six};
use crate::support::dns::{Answer, Dns};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::process::{rest, send};
use crate::support::rng::Rng;
use crate::support::routed::Routed;
use crate::support::server::Server;
use crate::support::wait::wait_ok;

use super::LIMIT;
use super::fault::{Fault, Kind};
use super::writers::{Mark, Writers};

/// The Service's full name.
const SERVICE: &str = "redis.shop.svc.cluster.local";

/// What kind of cluster it is.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Without persistence: what ends has lost its data.
    pub in_memory: bool,
    /// Replicas of each of the three masters.
    pub replicas: usize,
    /// Formed as usual, but without `REJOIN_SHARDS` from then on.
    pub drop_in: bool,
    /// Of the pods' addresses.
    pub ipv6: bool,
    /// `cluster-node-timeout`.
    pub node_timeout: Duration,
}

impl Setup {
    /// Three masters with a replica each, on disk.
    pub fn plain(node_timeout: Duration) -> Self {
        let (in_memory, drop_in, ipv6) = (false, false, false);
        Self { in_memory, replicas: 1, drop_in, ipv6, node_timeout }
    }

    /// One of all.
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            in_memory: rng.one_in(3),
            replicas: if rng.one_in(4) { 2 } else { 1 },
            drop_in: rng.one_in(4),
            ipv6: rng.one_in(3),
            node_timeout: Duration::from_millis([2500, 5000][rng.below(2)]),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = |so: bool, yes: &'static str, no: &'static str| if so { yes } else { no };
        write!(
            f,
            "three masters, replicas of each: {}, {}, {}, {}, node timeout {:?}",
            self.replicas,
            is(self.in_memory, "in memory only", "append-only files"),
            is(self.ipv6, "IPv6", "IPv4"),
            is(self.drop_in, "drop-in", "REJOIN_SHARDS set"),
            self.node_timeout,
        )
    }
}

/// How long a round took to heal.
pub struct Healed {
    /// Until the cluster was whole.
    pub whole: Duration,
    /// Until every pod was ready, and none held anything.
    pub ready: Duration,
}

/// The cluster and all that it stands on.
pub struct Stage {
    // Dropped in this order: the pods before what they stand on.
    fleet: Fleet,
    dns: Dns,
    net: Routed,
    /// Those of the pods, for the writers.
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    /// Pods that do not exist for the moment, so that the name service does not have them.
    away: BTreeSet<usize>,
    ipv6: bool,
    /// The last number that was given out as an address.
    given: usize,
}

impl Stage {
    /// A cluster that is whole, or nothing where this machine lets nobody make networks.
    pub fn new(server: &Server, setup: Setup) -> Option<Self> {
        let mut recipe = Recipe { replicas: setup.replicas, ..six(server, setup.node_timeout) };
        if setup.in_memory {
            recipe.conf.push("appendonly no".to_owned());
        }
        // By itself it would move replicas to a master that has lost all of its own, and leave them
        // there when those come back (`clusterHandleSlaveMigration`).
        recipe.conf.push("cluster-allow-replica-migration no".to_owned());
        recipe.env.push(("REJOIN_SERVICE".to_owned(), "redis".to_owned()));
        let net = Routed::enter("chaos", recipe.pods())?;
        let ips: Vec<IpAddr> = (1..=recipe.pods()).map(|n| address(n, setup.ipv6)).collect();
        let name_server = net.own(ips[0]);
        let dns = Dns::start((name_server, 53).into());
        let mut fleet = Fleet::on(&recipe, &ips, None);
        for pod in &mut fleet.pods {
            let netns = net.netns(pod.ordinal);
            netns.set_pod_resolv_conf(name_server, "shop");
            pod.netns = Some(netns.name().to_owned());
            net.give(pod.ordinal, pod.ip);
        }
        let (ipv6, given) = (setup.ipv6, recipe.pods());
        let (addresses, away) = (Arc::default(), BTreeSet::new());
        let mut stage = Self { fleet, dns, net, addresses, away, ipv6, given };
        stage.publish();
        stage.fleet.start_all();
        stage.fleet.wait_whole(LIMIT);
        if setup.drop_in {
            as_drop_in(&mut stage.fleet);
            for ordinal in 0..recipe.pods() {
                let pod = &mut stage.fleet.pods[ordinal];
                pod.kill();
                pod.start();
                stage.fleet.wait_whole(LIMIT);
            }
        }
        Some(stage)
    }

    /// The pods.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// A writer for each shard.
    pub fn writers(&self) -> Writers {
        // Hash tags in the first, second and third part of the slots.
        let slots = [0..5461, 5461..10923, 10923..16384];
        let tag = |range: &std::ops::Range<usize>| {
            (0..).map(|n| format!("t{n}")).find(|tag| {
                let slot = self.fleet.pods[0].text(&["CLUSTER", "KEYSLOT", tag]);
                slot.is_ok_and(|slot| slot.parse().is_ok_and(|slot| range.contains(&slot)))
            })
        };
        let tags = slots.iter().filter_map(tag).collect();
        Writers::new(tags, Arc::clone(&self.addresses), self.fleet.pods[0].access.clone())
    }

    /// The ordinals of each shard, the master's first.
    pub fn shards(&self) -> Vec<Vec<usize>> {
        let views: Vec<_> =
            self.fleet.pods.iter().map(|pod| pod.view().expect("a whole cluster")).collect();
        let masters = views.iter().enumerate().filter(|(_, view)| view.me().is("master"));
        masters
            .map(|(ordinal, view)| {
                let follows = |n: &usize| views[*n].me().master_is(&view.myself);
                std::iter::once(ordinal).chain((0..views.len()).filter(follows)).collect()
            })
            .collect()
    }

    /// Waits until the replicas have all that the writers have been told of.
    #[track_caller]
    pub fn mark(&self, writers: &Writers) -> Mark {
        let mark = writers.mark();
        let offset = |n: usize, field| -> Result<u64, String> {
            let text = self.fleet.pods[n].field(&["INFO", "replication"], field)?;
            text.parse().map_err(|error| format!("{field}: {error}"))
        };
        for shard in self.shards() {
            let written = offset(shard[0], "master_repl_offset").expect("a whole cluster");
            for replica in &shard[1..] {
                wait_ok(LIMIT, &format!("redis-{replica} to have all writes"), || {
                    let has = offset(*replica, "slave_repl_offset")?;
                    if has >= written { Ok(()) } else { Err(format!("{has} of {written}")) }
                });
            }
        }
        mark
    }

    /// Does all this at once, ends it again, and waits until the cluster is whole.
    #[track_caller]
    pub fn strike(&mut self, faults: &[Fault], rng: &mut Rng) -> Healed {
        for fault in faults {
            self.begin(fault);
            rest(Duration::from_millis(rng.below(1000) as u64));
        }
        let mut order: Vec<&Fault> = faults.iter().collect();
        order.sort_by_key(|fault| fault.time);
        let start = Instant::now();
        for fault in order {
            rest(fault.time.saturating_sub(start.elapsed()));
            self.end(fault, rng);
        }
        let start = Instant::now();
        self.fleet.wait_whole(LIMIT);
        let whole = start.elapsed();
        wait_ok(LIMIT, "every pod to be ready and content", || {
            self.fleet.pods.iter().try_for_each(|pod| ready(pod).and_then(|()| content(pod)))?;
            self.fleet.whole()
        });
        Healed { whole, ready: start.elapsed() }
    }

    /// Does this.
    pub fn begin(&mut self, fault: &Fault) {
        match fault.kind {
            Kind::NamesSilent => self.dns.set_trouble(Some(Answer::Silence)),
            Kind::NamesFail => self.dns.set_trouble(Some(Answer::ServFail)),
            Kind::CutOff | Kind::Mute => self.cut(fault),
            Kind::PodStopped => {
                fault.pods.iter().for_each(|n| self.fleet.pods[*n].signal(Signal::SIGTERM));
                for n in &fault.pods {
                    self.fleet.pods[*n].wait_exit(LIMIT);
                    self.net.take_away(*n);
                }
            }
            kind => fault.pods.iter().for_each(|n| self.begin_with(kind, *n)),
        }
        if fault.kind.is_new_pod() {
            self.away.extend(&fault.pods);
        }
        self.publish();
    }

    /// What is done to one pod after the other.
    fn begin_with(&mut self, kind: Kind, ordinal: usize) {
        let pod = &mut self.fleet.pods[ordinal];
        let server = pod.server_pid().expect("the pod runs");
        match kind {
            Kind::ServerKilled => {
                send(server, Signal::SIGKILL);
                pod.wait_exit(LIMIT);
            }
            Kind::ServerFrozen => send(server, Signal::SIGSTOP),
            Kind::PodFrozen => {
                pod.signal(Signal::SIGSTOP);
                send(server, Signal::SIGSTOP);
            }
            Kind::Unplugged => self.net.take_away(ordinal),
            Kind::NodeLost => {
                self.net.take_away(ordinal);
                pod.kill();
            }
            _ => {
                pod.kill();
                self.net.take_away(ordinal);
                if kind == Kind::VolumeEmptied {
                    fs::remove_dir_all(pod.data()).expect("it is ours");
                    fs::create_dir(pod.data()).expect("its parent is ours");
                }
            }
        }
    }

    /// Ends it again, whatever its time.
    pub fn end(&mut self, fault: &Fault, rng: &mut Rng) {
        match fault.kind {
            Kind::NamesSilent | Kind::NamesFail => self.dns.set_trouble(None),
            Kind::CutOff | Kind::Mute => self.net.mend(),
            Kind::Swapped => {
                let (a, b) = (fault.pods[0], fault.pods[1]);
                let (first, second) = (self.fleet.pods[b].ip, self.fleet.pods[a].ip);
                self.fleet.pods[a].ip = first;
                self.fleet.pods[b].ip = second;
            }
            Kind::PodKilled | Kind::PodStopped | Kind::NodeLost | Kind::VolumeEmptied => {
                for n in &fault.pods {
                    // Sometimes the same one again, but not on another node.
                    if fault.kind == Kind::NodeLost || !rng.one_in(4) {
                        self.fleet.pods[*n].ip = self.new_address();
                    }
                }
            }
            _ => {}
        }
        for n in &fault.pods {
            let pod = &mut self.fleet.pods[*n];
            match fault.kind {
                Kind::ServerFrozen | Kind::PodFrozen => {
                    send(pod.server_pid().expect("the pod runs"), Signal::SIGCONT);
                    pod.signal(Signal::SIGCONT);
                }
                Kind::CutOff | Kind::Mute | Kind::ServerKilled => {}
                _ => self.net.give(*n, pod.ip),
            }
            self.away.remove(n);
        }
        self.publish();
        let pods = self.fleet.pods.iter_mut().filter(|pod| fault.pods.contains(&pod.ordinal));
        pods.filter(|pod| !pod.is_started()).for_each(Pod::start);
    }

    /// The pods of the fault on one side, the others on the other.
    fn cut(&mut self, fault: &Fault) {
        let ip = |n: usize| self.fleet.pods[n].ip;
        let (side, others): (Vec<usize>, Vec<usize>) =
            (0..self.fleet.pods.len()).partition(|n| fault.pods.contains(n));
        for (one, other) in
            side.iter().flat_map(|one| others.iter().map(move |other| (*one, *other)))
        {
            self.net.cut(ip(one), ip(other));
            if fault.kind == Kind::CutOff {
                self.net.cut(ip(other), ip(one));
            }
        }
    }

    fn new_address(&mut self) -> IpAddr {
        self.given += 1;
        address(self.given, self.ipv6)
    }

    /// The name service has the pods that exist, and the writers know where they are.
    fn publish(&self) {
        let there = self.fleet.pods.iter().filter(|pod| !self.away.contains(&pod.ordinal));
        let pods: Vec<(String, IpAddr)> = there.map(|pod| (pod.name(), pod.ip)).collect();
        self.dns.publish(SERVICE, &pods);
        *self.addresses.lock().expect("nobody panics while holding it") =
            self.fleet.pods.iter().map(Pod::address).collect();
    }
}

/// Holds nothing back, and has not had to start anything again.
fn content(pod: &Pod) -> Result<(), String> {
    let status = status(pod)?;
    assert_eq!(status.agent_restarts, 0, "{} has started its agent again", pod.name());
    let held = status.held.first();
    held.map_or(Ok(()), |held| Err(format!("{}: {held:?}", pod.name())))
}

fn address(number: usize, ipv6: bool) -> IpAddr {
    let text = match ipv6 {
        true => format!("fd00:78::{number:x}"),
        false => format!("10.78.{}.{}", number / 250, number % 250 + 1),
    };
    text.parse().expect("an address")
}
