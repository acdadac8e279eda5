//! The keeper's loop around the real planner: look, plan, look again where that is asked for, act.
//! A pod that is slow acts on what it saw some time ago, and may be killed between two steps.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rejoin::cluster::memory::Memory;
use rejoin::cluster::model::{
    Announced, Discovery, Own, Past, Peer, Replication, Report, Table, View, seat_range,
};
use rejoin::cluster::plan::{Plan, Settings, Step, home};
use rejoin::cluster::replies::Stream;
use rejoin::config::shape::Shape;
use rejoin::health::{Answer, Role};
use rejoin::nodes_conf::{Address, Flags, Node, SlotRange};
use rejoin::redis::Failure;

use super::server::{Claim, Id, Ip, Life, NODE_TIMEOUT, Server, Shards};
use super::world::{Dns, Tick, World};

/// The longest pause between two rounds (`WAITING_PAUSE` of the keeper).
const LONGEST_PAUSE: Tick = 10;
/// How much faster than the rest calm passes here, so that there is time for it within a run.
const CALM_HASTE: u32 = 10;

/// Where a round stands.
#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// Has a plan that a second look must confirm.
    Planned(Plan),
    Acting(VecDeque<Step>),
}

/// One keeper.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    next: Tick,
    pause: Tick,
    stage: Stage,
    /// What the last view looked like, and what came of it.
    seen: u64,
    own: u64,
    pub memory: Memory,
    /// Its master has been nowhere, so that time alone may lead to another plan.
    waits: bool,
    pub last: Option<Plan>,
}

impl Agent {
    /// A keeper that looks from the first moment.
    pub fn starting(now: Tick) -> Agent {
        Agent { next: now, pause: 1, ..Agent::default() }
    }

    pub fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Idle) && self.last.as_ref().is_some_and(|plan| plan.settled)
    }
}

pub fn ip_of(ip: Ip) -> IpAddr {
    let [high, low] = ip.to_be_bytes();
    Ipv4Addr::new(10, 0, high, low).into()
}

fn socket(ip: Ip) -> SocketAddr {
    SocketAddr::new(ip_of(ip), 6379)
}

/// The address of the model that a step names.
pub fn ip_from(at: SocketAddr) -> Option<Ip> {
    match at.ip() {
        IpAddr::V4(ip) => Some(u16::from_be_bytes([ip.octets()[2], ip.octets()[3]])),
        IpAddr::V6(_) => None,
    }
}

fn ranges(slots: Shards, shape: Shape) -> Vec<SlotRange> {
    let mut ranges: Vec<SlotRange> = Vec::new();
    for shard in (0..shape.shards).filter(|shard| slots & (1 << shard) != 0) {
        let range = seat_range(shard, shape.shards);
        match ranges.last_mut().filter(|last| last.last + 1 == range.first) {
            Some(last) => last.last = range.last,
            None => ranges.push(range),
        }
    }
    ranges
}

impl World {
    /// One tick of every keeper. `prints`: what each server looks like.
    pub fn run_keepers(&mut self, prints: &[u64]) {
        for (at, print) in prints.iter().enumerate() {
            if self.servers[at].life != Life::Up || self.servers[at].paused {
                continue;
            }
            for nth in 0..self.agents[at].len() {
                if self.agents[at][nth].next > self.now {
                    continue;
                }
                let mut agent = std::mem::take(&mut self.agents[at][nth]);
                self.step(at, &mut agent, *print, self.print);
                self.agents[at][nth] = agent;
            }
        }
    }

    fn step(&mut self, at: usize, agent: &mut Agent, own: u64, whole: u64) {
        let lag = if self.slow[at] > 0 { self.rng.ticks(1, self.slow[at]) } else { 0 };
        agent.next = self.now + lag + 1;
        match std::mem::take(&mut agent.stage) {
            Stage::Idle => {
                // The same view gives the same plan, so nothing new needs no planning, unless the
                // time counts. A settled pod asks its own server only.
                let same = if agent.is_settled() { agent.own == own } else { agent.seen == whole };
                if !same || !agent.is_settled() {
                    agent.memory.disturbed();
                }
                let idle = same && agent.last.as_ref().is_some_and(|plan| plan.steps.is_empty());
                if idle && !self.is_to_go_home(at, agent) {
                    agent.pause = (agent.pause * 2).min(LONGEST_PAUSE);
                    agent.next += agent.pause;
                    if !agent.waits {
                        return;
                    }
                } else {
                    agent.pause = 1;
                }
                (agent.seen, agent.own) = (whole, own);
                let plan = self.plan(at, agent);
                if plan.settled {
                    agent.memory.settled(self.time());
                }
                if plan.steps.iter().any(Step::needs_confirming) {
                    agent.stage = Stage::Planned(plan);
                } else {
                    self.begin(agent, plan);
                }
            }
            Stage::Planned(plan) => {
                let again = self.plan(at, agent);
                self.begin(agent, plan.confirmed_by(&again));
            }
            Stage::Acting(mut steps) => {
                // All at once, or some now and the rest later.
                while let Some(step) = steps.pop_front() {
                    let done = self.take(at, &step);
                    if matches!(step, Step::TakeOver { .. }) && done.is_ok() {
                        agent.memory.ordered(self.time());
                    }
                    if done.is_err() && !step.stands_alone() {
                        steps.clear();
                    }
                    if self.rng.one_in(4) {
                        break;
                    }
                }
                if !steps.is_empty() {
                    agent.stage = Stage::Acting(steps);
                }
            }
        }
    }

    fn is_to_go_home(&self, at: usize, agent: &Agent) -> bool {
        let settings = self.settings(at);
        home::successor_at_home(&self.table(&self.servers[at]), &settings).is_some()
            && home::is_calm(agent.memory.calm(self.time()) * CALM_HASTE, &settings)
    }

    fn begin(&mut self, agent: &mut Agent, plan: Plan) {
        if !plan.steps.is_empty() {
            agent.stage = Stage::Acting(plan.steps.iter().cloned().collect());
            agent.next -= 1;
        }
        agent.last = Some(plan);
    }

    fn plan(&self, at: usize, agent: &mut Agent) -> Plan {
        let mut view = self.view(at);
        agent.memory.look(&mut view, self.time());
        agent.waits = view.past.missing.is_some();
        view.past.calm *= CALM_HASTE;
        view.past.kept_back = self.servers[at].kept_back;
        Plan::new(&view, &self.settings(at))
    }

    fn time(&self) -> Instant {
        self.start + length(self.now)
    }

    pub fn settings(&self, at: usize) -> Settings {
        let server = &self.servers[at];
        Settings {
            ordinal: Some(server.ordinal),
            shape: Some(self.teams[server.team].shape),
            on_lost_shard: self.teams[server.team].on_lost_shard,
            ip: Some(ip_of(server.ip)),
            node_timeout: length(NODE_TIMEOUT),
            prefer_home: self.prefer_home,
        }
    }

    fn resolve(&self, at: usize) -> (Vec<Ip>, Discovery) {
        let names = &self.teams[self.servers[at].team].names;
        let past = |back: usize| names[names.len().saturating_sub(1 + back)].clone();
        match self.dns[at] {
            Dns::Current => (past(0), Discovery::Done),
            Dns::Stale(back) => (past(back), Discovery::Done),
            Dns::Missing(nth) => {
                let mut names = past(0);
                if !names.is_empty() {
                    names.remove(nth % names.len());
                }
                (names, Discovery::Done)
            }
            Dns::Failing => (Vec::new(), Discovery::Failed("SERVFAIL".to_owned())),
        }
    }

    /// What the observer would see: every address of DNS and of the own table is asked.
    pub fn view(&self, at: usize) -> View {
        let server = &self.servers[at];
        let (names, discovery) = self.resolve(at);
        let mut asked: BTreeSet<Ip> = names.iter().copied().collect();
        asked.extend(server.table.iter().filter_map(|line| line.ip));
        let peers = asked.into_iter().filter_map(|ip| {
            let answer = self.ask(at, ip);
            let is_own = answer
                .as_ref()
                .is_ok_and(|report| report.table.id() == self.ids[server.id as usize].0);
            let named = names.contains(&ip);
            (!(is_own && ip == server.ip)).then(|| Peer {
                at: socket(ip),
                named,
                alias: false,
                answer,
            })
        });
        View {
            own: self.own(at),
            discovery,
            peers: peers.collect(),
            announced: Announced::Nothing,
            past: Past::default(),
            refused: None,
        }
    }

    /// What the server would say of itself.
    pub fn own(&self, at: usize) -> Own {
        let server = &self.servers[at];
        let role = match server.me.replica {
            true => Role::Replica { link_up: server.link_up, synced_once: server.link_up },
            false => Role::Master,
        };
        let host = server.host.filter(|_| server.me.replica);
        Own {
            table: self.table(server),
            keys: keys(server),
            serves: true,
            state_ok: server.state_ok(self.teams[server.team].shape.shards as usize),
            current_epoch: u64::from(server.current_epoch),
            replication: Replication {
                role,
                master_host: host.map(|ip| self.texts[ip as usize].clone()),
                follows: host.map(socket),
                stream: stream(server),
                earlier: None,
                down_for: server.last_synced.map(|synced| length(self.now - synced)),
            },
        }
    }

    fn ask(&self, from: usize, ip: Ip) -> Result<Report, Failure> {
        let silent = || Failure::Silent("timed out".to_owned());
        let to = self.at(ip).filter(|to| self.reaches(from, *to)).ok_or_else(silent)?;
        let server = &self.servers[to];
        match server.life {
            _ if server.paused => Err(silent()),
            Life::Gone(_) | Life::Down(_) => Err(silent()),
            _ if self.passwords && server.team != self.servers[from].team => {
                Err(Failure::Said(Answer::Refused("WRONGPASS".to_owned())))
            }
            Life::Loading(_) => Err(Failure::Said(Answer::Loading)),
            Life::Up => Ok(Report {
                table: self.table(server),
                keys: keys(server),
                follows: None,
                stream: stream(server),
            }),
        }
    }

    fn table(&self, server: &Server) -> Table {
        let mut nodes = Vec::with_capacity(server.table.len() + 1);
        let mut me = self.node(server, server.id, Some(server.ip), server.me);
        (me.flags.myself, me.connected) = (true, true);
        me.flags.nofailover = server.nofailover;
        nodes.push(me);
        for line in &server.table {
            let mut node = self.node(server, line.id, line.ip, line.claim);
            node.connected = line.connected;
            node.flags.pfail = line.pfail;
            node.flags.fail = line.fail.is_some();
            nodes.push(node);
        }
        Table::new(nodes).expect("one own line")
    }

    fn node(&self, of: &Server, id: Id, ip: Option<Ip>, claim: Claim) -> Node {
        let port = if ip.is_some() { 6379 } else { 0 };
        Node {
            id: self.ids[id as usize].0,
            address: Address {
                ip: self.texts[ip.unwrap_or(0) as usize].clone(),
                port,
                bus_port: if port == 0 { 0 } else { port + 10000 },
                ..Address::default()
            },
            flags: Flags {
                master: !claim.replica,
                replica: claim.replica,
                noaddr: ip.is_none(),
                ..Flags::default()
            },
            master: claim.master.map(|master| self.ids[master as usize].0),
            ping_sent_ms: 0,
            pong_received_ms: 0,
            config_epoch: u64::from(claim.epoch),
            connected: false,
            slots: ranges(claim.slots, self.teams[of.team].shape),
            migrating: Vec::new(),
            importing: Vec::new(),
        }
    }
}

fn length(ticks: Tick) -> Duration {
    Duration::from_millis(100) * ticks
}

/// What it has of whose writes. An offset of 1 is that of a copy which was cut short.
fn stream(server: &Server) -> Stream {
    let offset = 1 + server.data.iter().map(|version| u64::from(*version)).sum::<u64>();
    let link_up = !server.me.replica || server.link_up;
    Stream { id: server.stream.to_string(), offset, link_up }
}

fn keys(server: &Server) -> u64 {
    server.data.iter().map(|version| u64::from(*version > 0)).sum()
}
