//! Servers, their addresses, the name in DNS, and what separates them.

use std::time::Instant;

use super::keeper::Agent;
use super::server::{Claim, Id, Ip, Life, Line, MAX_SHARDS, Server};
use crate::support::rng::Rng;
use rejoin::config::lost_shard::OnLostShard;
use rejoin::config::shape::Shape;
use rejoin::nodes_conf::NodeId;

/// Time: 100 ms each, as often as `clusterCron` runs.
pub type Tick = u32;

/// An address that no pod ever has: what the guard of replicas puts in the place of a master's.
const NOWHERE: Ip = 1;

/// How long an empty master waits for its replica to be elected.
const LONGEST_GUARD: Tick = 200;

/// What a pod's resolver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dns {
    Current,
    /// The answer of so many changes ago.
    Stale(usize),
    /// One name is left out.
    Missing(usize),
    Failing,
}

/// One StatefulSet.
#[derive(Clone, Debug)]
pub struct Team {
    pub shape: Shape,
    pub on_lost_shard: OnLostShard,
    /// Every answer that DNS ever had, the present one last.
    pub names: Vec<Vec<Ip>>,
    /// Addresses of others that DNS shows besides.
    pub strangers: Vec<Ip>,
    /// Every shard had keys once.
    pub formed: bool,
    /// Shards whose last copy a fault took: deliberately, or by what Redis does of its own accord.
    pub lost: u8,
    /// Some `nodes.conf` was lost while its data was kept.
    pub lost_conf: bool,
    /// Some volume was lost before the cluster was whole.
    pub lost_in_forming: bool,
    /// The ordinals whose `nodes.conf` was lost, each a bit.
    pub emptied: u32,
}

/// Everything there is.
pub struct World {
    pub now: Tick,
    /// What tick 0 is to the keepers.
    pub start: Instant,
    pub rng: Rng,
    pub teams: Vec<Team>,
    pub servers: Vec<Server>,
    /// The agents of each server; mostly one.
    pub agents: Vec<Vec<Agent>>,
    pub dns: Vec<Dns>,
    /// On which side of the partition each server is.
    pub side: Vec<u8>,
    /// A partition is between the sides.
    pub cut: bool,
    /// How many ticks each pod is behind at each of its moves.
    pub slow: Vec<Tick>,
    pub last_ip: Ip,
    pub freed: Vec<Ip>,
    /// All ids that there ever were, with their team.
    pub ids: Vec<(NodeId, usize)>,
    pub texts: Vec<String>,
    /// Clients of the other cluster's password are refused.
    pub passwords: bool,
    /// How long a source waits before it gives a full copy.
    pub sync_delay: Tick,
    /// `REJOIN_PREFER_HOME` of every pod.
    pub prefer_home: bool,
    /// FORGET is gossiped (7.2 and later).
    pub gossips_forget: bool,
    /// What everything looked like on this tick.
    pub print: u64,
    pub trace: Vec<String>,
    pub tracing: bool,
    pub broken: Option<String>,
}

impl World {
    pub fn new(rng: Rng, tracing: bool) -> World {
        World {
            now: 0,
            start: Instant::now(),
            rng,
            teams: Vec::new(),
            servers: Vec::new(),
            agents: Vec::new(),
            dns: Vec::new(),
            side: Vec::new(),
            cut: false,
            slow: Vec::new(),
            last_ip: NOWHERE,
            freed: Vec::new(),
            ids: Vec::new(),
            texts: vec![String::new(), rejoin::nodes_conf::NOWHERE.to_string()],
            passwords: false,
            sync_delay: 0,
            prefer_home: false,
            gossips_forget: false,
            print: 0,
            trace: Vec::new(),
            tracing,
            broken: None,
        }
    }

    pub fn say(&mut self, what: impl FnOnce(&World) -> String) {
        if self.tracing {
            let what = what(self);
            self.trace.push(format!("{:6.1} s  {what}", f64::from(self.now) / 10.0));
        }
    }

    /// Stops the run: a rule is broken.
    pub fn fail(&mut self, what: String) {
        self.say(|_| format!("BROKEN: {what}"));
        self.broken.get_or_insert(what);
    }

    pub fn new_ip(&mut self) -> Ip {
        self.last_ip += 1;
        self.texts.push(super::keeper::ip_of(self.last_ip).to_string());
        self.last_ip
    }

    pub fn new_id(&mut self, team: usize) -> Id {
        let id = self.ids.len();
        // Ids are random in life, so their order must not be that of the ordinals.
        let text = format!("{:08x}{id:032x}", self.rng.below(1 << 32));
        self.ids.push((text.parse().expect("an id"), team));
        id as Id
    }

    /// Adds a StatefulSet whose pods have empty volumes, or a whole cluster.
    pub fn add_team(&mut self, shape: Shape, whole: bool) {
        let team = self.teams.len();
        let first = self.servers.len();
        for ordinal in 0..shape.expected() {
            let (id, ip) = (self.new_id(team), self.new_ip());
            let mut server = Server::new(team, ordinal, id, ip);
            if !whole {
                server.life = Life::Gone(self.rng.ticks(0, 20));
            }
            self.servers.push(server);
            self.agents.push(vec![Agent::default()]);
            self.dns.push(Dns::Current);
            self.side.push(0);
            self.slow.push(0);
        }
        self.teams.push(Team {
            shape,
            on_lost_shard: OnLostShard::Hold,
            names: vec![Vec::new()],
            strangers: Vec::new(),
            formed: whole,
            lost: 0,
            lost_conf: false,
            lost_in_forming: false,
            emptied: 0,
        });
        if whole {
            self.make_whole(first, shape);
        }
    }

    fn make_whole(&mut self, first: usize, shape: Shape) {
        let now = self.now;
        let shards = shape.shards as usize;
        let seats: Vec<(Id, Ip)> =
            self.servers[first..].iter().map(|server| (server.id, server.ip)).collect();
        let claim = |seat: usize| Claim {
            replica: seat >= shards,
            master: (seat >= shards).then(|| seats[seat % shards].0),
            slots: if seat < shards { 1 << seat } else { 0 },
            epoch: (seat % shards) as u32 + 1,
        };
        for (seat, server) in self.servers[first..].iter_mut().enumerate() {
            server.me = claim(seat);
            server.current_epoch = shape.expected();
            server.table = (0..seats.len())
                .filter(|other| *other != seat)
                .map(|other| {
                    let mut line = Line::new(seats[other].0, seats[other].1, now);
                    (line.claim, line.connected) = (claim(other), true);
                    line
                })
                .collect();
            server.host = server.me.master.map(|_| seats[seat % shards].1);
            server.link_up = server.host.is_some();
            server.last_synced = server.host.map(|_| now);
            server.stream = (u64::from(seats[seat % shards].0) << 32) | 1;
            server.data[seat % shards] = 1;
        }
    }

    /// Whether a process runs that answers on its bus.
    pub fn is_up(&self, at: usize) -> bool {
        self.servers[at].life == Life::Up && !self.servers[at].paused
    }

    pub fn reaches(&self, from: usize, to: usize) -> bool {
        !self.cut || self.side[from] == self.side[to]
    }

    /// The pod that has an address.
    pub fn at(&self, ip: Ip) -> Option<usize> {
        self.servers
            .iter()
            .position(|server| server.ip == ip && !matches!(server.life, Life::Gone(_)))
    }

    /// The server that has an id in its `nodes.conf`, whether it runs or not.
    pub fn holder(&self, id: Id) -> Option<usize> {
        self.servers.iter().position(|server| server.id == id)
    }

    pub fn members(&self, team: usize) -> impl Iterator<Item = &Server> + Clone {
        self.servers.iter().filter(move |server| server.team == team)
    }

    /// Starts what is due, and keeps DNS up to date.
    pub fn bring_up(&mut self) {
        for at in 0..self.servers.len() {
            let life = self.servers[at].life;
            match life {
                Life::Gone(due) if self.now >= due => {
                    // Somebody else may have got the address meanwhile.
                    if self.is_awaited(at) || self.at(self.servers[at].ip).is_some() {
                        self.servers[at].ip = self.new_ip();
                    }
                    self.servers[at].life = Life::Down(self.now);
                }
                Life::Down(due) if self.now >= due && self.may_start(at, due) => {
                    self.take_own_address(at);
                    self.look_for_master(at);
                    let loading = self.rng.ticks(0, 4);
                    self.servers[at].life = Life::Loading(self.now + loading);
                }
                Life::Loading(due) if self.now >= due => {
                    let now = self.now;
                    self.servers[at].start(now);
                    self.servers[at].life = Life::Up;
                    for agent in &mut self.agents[at] {
                        *agent = Agent::starting(now);
                    }
                    self.say(|world| format!("{} starts", world.name(at)));
                }
                _ => {}
            }
        }
        for team in 0..self.teams.len() {
            let mut names: Vec<Ip> = self
                .members(team)
                .filter(|server| !matches!(server.life, Life::Gone(_)))
                .map(|server| server.ip)
                .collect();
            names.extend(&self.teams[team].strangers);
            if self.teams[team].names.last() != Some(&names) {
                self.teams[team].names.push(names);
            }
        }
    }

    /// Somebody of another cluster has met this address, and its server still tries to get through:
    /// for as long as the node timeout, so that asking for the id right before does not help. What
    /// follows is no doing of the planner, which has no way to take a MEET back.
    fn is_awaited(&self, at: usize) -> bool {
        let Server { ip, team, .. } = self.servers[at];
        let waits = |server: &Server| server.handshakes.iter().any(|one| one.ip == ip);
        self.servers.iter().any(|server| server.team != team && waits(server))
    }

    /// The empty-master guard, which is no part of the planner: a master whose data is gone starts
    /// only when a replica that has it was promoted, none is there to wait for, or none is elected
    /// for long.
    fn may_start(&mut self, at: usize, due: Tick) -> bool {
        let server = &self.servers[at];
        let (id, team) = (server.id, server.team);
        let copied = |shard: &usize| {
            self.members(team).any(|other| {
                let owned = other.claim_of(id).is_some_and(|claim| claim.slots & (1 << shard) != 0);
                owned && other.data[*shard] > 0
            })
        };
        let bare = (0..MAX_SHARDS)
            .filter(|shard| server.me.slots & (1 << shard) != 0 && server.data[*shard] == 0)
            .filter(copied)
            .fold(0u8, |all, shard| all | 1 << shard);
        if bare != 0 && self.now < due + LONGEST_GUARD {
            self.promote_for(id);
            return false;
        }
        self.teams[team].lost |= bare | self.last_seen_by_nobody(at);
        true
    }

    /// Where `nodes.conf` has another node at the own address, it is taken out.
    fn take_own_address(&mut self, at: usize) {
        let server = &mut self.servers[at];
        for line in server.table.iter_mut().filter(|line| line.ip == Some(server.ip)) {
            line.ip = Some(NOWHERE);
        }
    }

    /// The guard of replicas, which is no part of the planner either: an address at which the own
    /// master does not answer is taken out of `nodes.conf`.
    fn look_for_master(&mut self, at: usize) {
        let server = &self.servers[at];
        let master = server.me.master.filter(|_| server.me.replica);
        let Some((id, ip)) = master.and_then(|id| Some((id, server.line(id)?.ip?))) else { return };
        let answers = |there: &usize| self.is_up(*there) && self.reaches(at, *there);
        let there = self.at(ip).filter(answers).map(|there| self.servers[there].id);
        if there != Some(id)
            && let Some(line) = self.servers[at].line_mut(id)
        {
            line.ip = Some(NOWHERE);
        }
    }

    /// The shards that only those have who do not know yet that this server, which is to start
    /// empty, has replaced their master: they were on the other side of a partition. No replica of
    /// it is known to ask for its data, and the others are wiped as soon as they hear of it.
    fn last_seen_by_nobody(&self, at: usize) -> u8 {
        let server = &self.servers[at];
        let has = |server: &Server, shard: usize| server.data[shard] > 0;
        (0..MAX_SHARDS)
            .filter(|shard| server.me.slots & (1 << shard) != 0 && !has(server, *shard))
            .filter(|shard| self.members(server.team).any(|other| has(other, *shard)))
            .fold(0, |all, shard| all | 1 << shard)
    }

    pub fn name(&self, at: usize) -> String {
        let server = &self.servers[at];
        let team = ["redis", "other"][server.team.min(1)];
        format!(
            "{team}-{} (id {}, ip {})",
            server.ordinal, server.id, self.texts[server.ip as usize]
        )
    }

    pub fn stopped(&self) -> bool {
        self.broken.is_some()
    }
}
