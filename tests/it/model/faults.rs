//! What can go wrong, at random times, and the end of it.

use super::keeper::Agent;
use super::server::{Life, MAX_SHARDS, NODE_TIMEOUT, Server};
use super::world::{Dns, Tick, World};
use rejoin::config::lost_shard::OnLostShard;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The container restarts in place.
    Restart,
    /// The pod is replaced: a new address, or one that another pod had.
    Replace,
    /// Two pods swap their addresses.
    Swap,
    /// Half of the pods, or all, are replaced at once.
    Wave,
    /// The volume is lost with the pod.
    LoseVolume,
    /// Only `nodes.conf` is lost.
    LoseConf,
    /// Only the data is lost.
    LoseData,
    Cut,
    Heal,
    Pause,
    Continue,
    Slow,
    Dns,
    /// DNS shows an address of the other cluster.
    Stranger,
    /// A second keeper of the same pod, as while one is replaced.
    TwoKeepers,
}

const FAULTS: [Fault; 20] = [
    Fault::Restart,
    Fault::Restart,
    Fault::Replace,
    Fault::Replace,
    Fault::Replace,
    Fault::Swap,
    Fault::Wave,
    Fault::LoseVolume,
    Fault::LoseVolume,
    Fault::LoseVolume,
    Fault::LoseConf,
    Fault::LoseData,
    Fault::Cut,
    Fault::Heal,
    Fault::Pause,
    Fault::Continue,
    Fault::Slow,
    Fault::Dns,
    Fault::Stranger,
    Fault::TwoKeepers,
];

impl World {
    /// One fault at random. `unlucky`: the last copy of a shard may go too.
    pub fn go_wrong(&mut self, unlucky: bool) {
        if self.teams[0].on_lost_shard == OnLostShard::Recreate && self.rng.one_in(4) {
            return self.lose_shard();
        }
        let Some(fault) = self.rng.pick(&FAULTS) else { return };
        let at = self.rng.below(self.servers.len());
        self.say(|world| format!("FAULT {fault:?}: {}", world.name(at)));
        match fault {
            Fault::Restart => {
                let back = self.back();
                self.kill(at, Life::Down(back));
            }
            Fault::Replace => self.replace(at),
            Fault::Swap => self.swap(at),
            Fault::Wave => {
                let half = self.rng.one_in(2);
                for at in 0..self.servers.len() {
                    if !half || self.rng.one_in(2) {
                        self.replace(at);
                    }
                }
            }
            Fault::LoseVolume | Fault::LoseConf | Fault::LoseData => self.lose(at, fault, unlucky),
            Fault::Cut => {
                self.cut = true;
                for at in 0..self.side.len() {
                    self.side[at] = u8::from(self.rng.one_in(3));
                }
            }
            Fault::Heal => self.cut = false,
            Fault::Pause => self.servers[at].paused = self.servers[at].life == Life::Up,
            Fault::Continue => self.servers.iter_mut().for_each(|server| server.paused = false),
            Fault::Slow => self.slow[at] = self.rng.ticks(1, 30),
            Fault::Dns => {
                let stale = Dns::Stale(self.rng.ticks(1, 4) as usize);
                let missing = Dns::Missing(self.rng.below(8));
                let dns = self.rng.pick(&[stale, missing, Dns::Failing]).unwrap_or(Dns::Failing);
                let all = self.rng.one_in(2);
                for other in 0..self.dns.len() {
                    if all || other == at {
                        self.dns[other] = dns;
                    }
                }
            }
            Fault::Stranger => {
                let team = self.servers[at].team;
                let stranger = self
                    .servers
                    .iter()
                    .find(|other| other.team != team && self.teams[other.team].formed);
                if let Some(ip) = stranger.map(|stranger| stranger.ip) {
                    self.teams[team].strangers.push(ip);
                }
            }
            Fault::TwoKeepers => self.agents[at].push(Agent::starting(self.now)),
        }
    }

    /// All faults end: everybody comes back, and everything is as it should be.
    pub fn calm(&mut self) {
        self.say(|_| "CALM".to_owned());
        self.cut = false;
        let now = self.now;
        for at in 0..self.servers.len() {
            (self.dns[at], self.slow[at]) = (Dns::Current, 0);
            self.agents[at].truncate(1);
            let server = &mut self.servers[at];
            server.paused = false;
            server.life = match server.life {
                Life::Gone(due) => Life::Gone(due.min(now + 20)),
                Life::Down(due) => Life::Down(due.min(now + 20)),
                life => life,
            };
        }
        self.teams.iter_mut().for_each(|team| team.strangers.clear());
    }

    /// At once, or when others have noticed, or long after.
    fn back(&mut self) -> Tick {
        let later = self.rng.pick(&[1, 5, NODE_TIMEOUT, 4 * NODE_TIMEOUT]).unwrap_or(1);
        self.now + self.rng.ticks(1, later)
    }

    fn kill(&mut self, at: usize, life: Life) {
        let server = &mut self.servers[at];
        server.life = life;
        server.paused = false;
        self.agents[at] = vec![Agent::default()];
    }

    fn replace(&mut self, at: usize) {
        let back = self.back();
        self.kill(at, Life::Gone(back));
        let old = self.servers[at].ip;
        let recycled = self
            .rng
            .pick(&self.freed.clone())
            .filter(|ip| self.rng.one_in(2) && self.servers.iter().all(|server| server.ip != *ip));
        self.servers[at].ip = recycled.unwrap_or_else(|| self.new_ip());
        self.freed.push(old);
    }

    fn swap(&mut self, at: usize) {
        let other = self.rng.below(self.servers.len());
        if other == at {
            return;
        }
        let back = (self.back(), self.back());
        self.kill(at, Life::Gone(back.0));
        self.kill(other, Life::Gone(back.1));
        let ip = self.servers[at].ip;
        self.servers[at].ip = self.servers[other].ip;
        self.servers[other].ip = ip;
    }

    /// The volumes of a master and of all its replicas are lost.
    fn lose_shard(&mut self) {
        let shard = self.rng.below(self.teams[0].shape.shards as usize);
        self.say(|_| format!("FAULT shard {shard} is lost"));
        let owner = self.members(0).find(|server| server.me.slots & (1 << shard) != 0);
        let Some((owner, slots)) = owner.map(|owner| (owner.id, owner.me.slots)) else { return };
        // A replica of another shard may have copied from the owner, which came to its master's
        // address: that copy goes as soon as it finds its own master again.
        self.teams[0].lost |= slots;
        for at in 0..self.servers.len() {
            if self.servers[at].id == owner || self.servers[at].me.master == Some(owner) {
                self.lose(at, Fault::LoseVolume, true);
            }
        }
    }

    fn lose(&mut self, at: usize, fault: Fault, unlucky: bool) {
        let team = self.servers[at].team;
        let id = self.servers[at].id;
        let last = (0..MAX_SHARDS).filter(|shard| {
            // What a replica of another shard has, it has from whoever was at its master's address,
            // and gives up for its own master's.
            let copy = |server: &&Server| server.data[*shard] > 0 && !server.strays_with(*shard);
            copy(&&self.servers[at]) && self.members(team).filter(copy).count() == 1
        });
        let last = last.fold(0u8, |all, shard| all | 1 << shard);
        if fault != Fault::LoseConf && last != 0 {
            if !unlucky {
                return;
            }
            self.teams[team].lost |= last;
        }
        // A copy of a former master that has not heard yet that it was replaced follows nobody, so
        // no guard can know of it.
        let follows = |server: &Server| server.me.master == Some(id);
        let followed = self.members(team).any(follows);
        if fault == Fault::LoseData && !followed {
            self.teams[team].lost |= self.servers[at].me.slots;
        }
        self.teams[team].lost_in_forming |= !self.teams[team].formed;
        self.replace(at);
        let ordinal = self.servers[at].ordinal;
        let (ip, life, data) = (self.servers[at].ip, self.servers[at].life, self.servers[at].data);
        match fault {
            Fault::LoseData => {
                (self.servers[at].data, self.servers[at].stream) = ([0; MAX_SHARDS], 0);
            }
            _ => {
                self.teams[team].emptied |= 1 << ordinal;
                let new = self.new_id(team);
                self.servers[at] = Server { life, ..Server::new(team, ordinal, new, ip) };
            }
        }
        if fault == Fault::LoseConf {
            self.servers[at].data = data;
            self.teams[team].lost_conf |= self.servers[at].has_keys();
        }
        self.say(|world| format!("        id {id} is now {}", world.name(at)));
    }
}
