//! What must hold: at each step that a keeper takes, on each tick, and once all faults are over.

use rejoin::cluster::plan::{Replicate, Step, still_takes_over};
use rejoin::config::lost_shard::OnLostShard;
use rejoin::nodes_conf::{NodeId, SlotRange};

use rejoin::cluster::model::seat_range;

use super::keeper::{Agent, ip_from};
use super::server::{Id, Life, MAX_SHARDS, Server};
use super::world::{Team, World};

impl World {
    fn id_of(&self, id: NodeId) -> Id {
        self.ids.iter().position(|(known, _)| *known == id).expect("a known id") as Id
    }

    /// Takes a step on the own server, if the rules allow it. There are no other kinds of step: a
    /// new one does not compile here until it has a rule.
    pub fn take(&mut self, at: usize, step: &Step) -> Result<(), &'static str> {
        let now = self.now;
        if self.tracing {
            self.say(|world| format!("{}: {}", world.name(at), world.named(step)));
        }
        let done = match step {
            Step::SetEpoch(epoch) => self.servers[at].set_epoch(*epoch as u32),
            Step::AddSlots(range) => {
                let shard = self.shard_of(at, *range);
                if self.servers[at].owner(shard).is_none() {
                    self.check_add_slots(at, shard);
                }
                self.servers[at].add_slots(shard)
            }
            Step::Meet { id, asked_at, at: met, .. } => {
                let (asked, met) = (ip_from(*asked_at), ip_from(*met));
                let id = self.id_of(*id);
                let answers = asked
                    .and_then(|ip| self.at(ip))
                    .filter(|to| self.is_up(*to) && self.reaches(at, *to))
                    .is_some_and(|to| self.servers[to].id == id);
                if answers {
                    self.check_meet(at, id);
                    let ip = met.expect("an address of the model");
                    self.servers[at].shake_hands(ip, now, true);
                    Ok(())
                } else {
                    Err("another id answers there now")
                }
            }
            Step::Replicate { master, why } => {
                let master = self.id_of(*master);
                self.check_replicate(at, master, *why);
                self.servers[at].replicate(master)
            }
            Step::TakeHome { master } => {
                let master = self.id_of(*master);
                if self.servers[at].me.replica {
                    self.check_take_home(at, master);
                    self.take_home(at, master)
                } else {
                    Err("you should send CLUSTER FAILOVER to a replica")
                }
            }
            Step::Forget(id) => {
                let id = self.id_of(*id);
                self.check_forget(at, id);
                self.forget(at, id)
            }
            Step::GiveUp(lost) => {
                let id = self.id_of(lost.owner);
                self.check_forget(at, id);
                self.check_give_up(at, id);
                self.forget(at, id)
            }
            Step::KeepBack { master } => {
                let master = self.id_of(*master);
                self.check_keep_back(at, master);
                let server = &mut self.servers[at];
                (server.nofailover, server.kept_back) = (true, true);
                Ok(())
            }
            Step::LetStand => {
                if !self.servers[at].kept_back {
                    self.fail(format!("{} takes back what its user has set", self.name(at)));
                }
                self.servers[at].nofailover = false;
                Ok(())
            }
            Step::BumpEpoch => {
                if self.servers[at].is_master_with_slots() {
                    self.fail(format!("{} changes the epoch of its slots", self.name(at)));
                }
                self.servers[at].bump_epoch();
                Ok(())
            }
            Step::TakeOver { master, stream } => {
                if still_takes_over(&self.own(at), *master, stream) {
                    let master = self.id_of(*master);
                    self.check_take_over(at, master);
                    self.stand(at, true);
                    Ok(())
                } else {
                    Err("its master is back, or its data is no longer its master's")
                }
            }
        };
        if let Err(why) = done {
            self.say(|_| format!("        refused: {why}"));
        }
        done
    }

    fn named(&self, step: &Step) -> String {
        let text = step.to_string();
        self.ids.iter().enumerate().fold(text, |text, (short, (id, _))| {
            text.replace(&id.to_string(), &format!("id {short}"))
        })
    }

    fn shard_of(&self, at: usize, range: SlotRange) -> usize {
        let shape = self.teams[self.servers[at].team].shape;
        (0..shape.shards).find(|shard| seat_range(*shard, shape.shards) == range).expect("a seat")
            as usize
    }

    fn forget(&mut self, at: usize, id: Id) -> Result<(), &'static str> {
        let now = self.now;
        self.servers[at].forget(id, now)?;
        if self.gossips_forget {
            let by = self.servers[at].id;
            for to in 0..self.servers.len() {
                let known = self.servers[to].line(by).is_some();
                if to != at && known && self.is_up(to) && self.reaches(at, to) {
                    _ = self.servers[to].forget(id, now);
                }
            }
        }
        Ok(())
    }

    /// Slots are taken only if no volume anywhere knows an owner of them.
    fn check_add_slots(&mut self, at: usize, shard: usize) {
        let (team, own) = (self.servers[at].team, self.servers[at].id);
        let owner = self.members(team).find_map(|server| {
            let (owner, _) = server.owner(shard)?;
            (owner != own).then(|| format!("{owner}, as id {} knows", server.id))
        });
        if let Some(owner) = owner {
            self.fail(format!("{} takes shard {shard} of {owner}", self.name(at)));
        }
        let epoch = self.servers[at].me.epoch;
        let same = self
            .members(team)
            .any(|server| server.id != own && server.me.slots != 0 && server.me.epoch == epoch);
        if same {
            self.fail(format!("{} takes slots with another's epoch {epoch}", self.name(at)));
        }
    }

    fn check_meet(&mut self, at: usize, id: Id) {
        if self.ids[id as usize].1 != self.servers[at].team {
            self.fail(format!("{} meets id {id} of another cluster", self.name(at)));
        }
    }

    /// What a replica holds is thrown away, so others must have it.
    fn check_replicate(&mut self, at: usize, master: Id, why: Replicate) {
        let server = &self.servers[at];
        if why == Replicate::Join && !server.me.replica && server.me.slots != 0 {
            self.fail(format!("{} is to replicate, but owns slots", self.name(at)));
            return;
        }
        for shard in 0..MAX_SHARDS {
            let ours = self.servers[at].data[shard];
            let server = &self.servers[at];
            let copied = self
                .members(server.team)
                .any(|other| other.id != server.id && other.data[shard] > 0);
            if ours > 0 && !copied {
                let text = format!("the last copy of shard {shard}, is to replicate {master}");
                self.fail(format!("{}, {text}", self.name(at)));
                return;
            }
        }
    }

    /// Only a whole copy takes the slots of its own seat back, and only from whoever has them.
    fn check_take_home(&mut self, at: usize, master: Id) {
        let server = &self.servers[at];
        let owner = server.owner(server.ordinal as usize).map(|(id, _)| id);
        let seated = server.ordinal < self.teams[server.team].shape.shards;
        if !seated || owner != Some(master) || server.me.master != Some(master) {
            self.fail(format!("{} takes slots of {master} that it has no seat in", self.name(at)));
        }
        if !self.prefer_home {
            self.fail(format!("{} goes home without being told to", self.name(at)));
        }
    }

    /// Nobody whose master is only gone: without a stranger elections go on.
    fn check_keep_back(&mut self, at: usize, master: Id) {
        if !self.servers[at].met_stranger {
            let text = format!("is not to be elected, but nobody is where {master} was");
            self.fail(format!("{} {text}", self.name(at)));
        }
    }

    fn check_forget(&mut self, at: usize, id: Id) {
        if let Some(alive) = self.holder(id) {
            self.fail(format!("{} forgets {}", self.name(at), self.name(alive)));
        }
    }

    /// Slots are given up only if no volume has keys of them, whether its pod is up or not. What a
    /// replica of another master has copied, it has from whoever was at that one's address.
    fn check_give_up(&mut self, at: usize, id: Id) {
        let team = self.servers[at].team;
        let slots = self.servers[at].claim_of(id).map_or(0, |claim| claim.slots);
        let copy = (0..MAX_SHARDS).filter(|shard| slots & (1 << shard) != 0).find_map(|shard| {
            let copied = |server: &&Server| {
                let elsewhere = server.me.master.is_some_and(|it| self.holder(it).is_some());
                server.data[shard] > 0 && !elsewhere
            };
            let copy = self.members(team).find(copied)?;
            Some(format!("shard {shard}, which id {} has a copy of", copy.id))
        });
        if let Some(copy) = copy {
            self.fail(format!("{} gives up {copy}", self.name(at)));
        }
        if self.teams[team].on_lost_shard == OnLostShard::Hold {
            self.fail(format!("{} gives up slots of {id}, against its settings", self.name(at)));
        }
    }

    /// Nobody is deposed who lives and is linked to the others, and who takes over has the data,
    /// as much of it as any that could.
    fn check_take_over(&mut self, at: usize, master: Id) {
        let reached = |to: &usize| self.is_up(*to) && self.reaches(at, *to);
        if let Some(alive) = self.holder(master).filter(reached) {
            let linked = (0..self.servers.len())
                .filter(reached)
                .any(|other| self.servers[other].line(master).is_some_and(|line| line.connected));
            if linked {
                self.fail(format!("{} takes over from {}", self.name(at), self.name(alive)));
                return;
            }
        }
        let server = &self.servers[at];
        let slots = server.claim_of(master).map_or(0, |claim| claim.slots);
        for shard in (0..MAX_SHARDS).filter(|shard| slots & (1 << shard) != 0) {
            let most = (0..self.servers.len())
                .filter(reached)
                .map(|other| &self.servers[other])
                .filter(|other| other.team == server.team && other.me.master == Some(master))
                .map(|other| other.data[shard])
                .max();
            if server.data[shard] == 0 || most > Some(server.data[shard]) {
                let text = format!("takes over shard {shard} with {}", server.data[shard]);
                self.fail(format!("{} {text}, of {most:?}", self.name(at)));
                return;
            }
        }
    }

    /// On each tick.
    pub fn check(&mut self) {
        for team in 0..self.teams.len() {
            let shards = self.teams[team].shape.shards as usize;
            let copied = |shard| self.members(team).any(|server| server.data[shard] > 0);
            let copied: Vec<bool> = (0..shards).map(copied).collect();
            self.teams[team].formed |= copied.iter().all(|copied| *copied);
            for shard in (0..shards).filter(|shard| !copied[*shard]) {
                let lost = self.teams[team].lost & (1 << shard) != 0;
                if self.teams[team].formed && !lost {
                    self.fail(format!("no copy of shard {shard} of team {team} is left"));
                }
            }
            self.check_epochs(team);
        }
        for at in 0..self.servers.len() {
            let team = self.servers[at].team;
            let stranger =
                self.servers[at].table.iter().find(|line| self.ids[line.id as usize].1 != team);
            if let Some(stranger) = stranger {
                let text = format!("{} knows id {} of another cluster", self.name(at), stranger.id);
                self.fail(text);
            }
        }
    }

    fn check_epochs(&mut self, team: usize) {
        let masters = self.members(team).filter(|server| {
            server.life == Life::Up && server.is_master_with_slots() && server.me.epoch != 0
        });
        let masters: Vec<_> = masters.map(|master| (master.id, master.me.epoch)).collect();
        let same = masters.iter().find_map(|(one, epoch)| {
            let (other, _) = masters.iter().find(|other| other.0 != *one && other.1 == *epoch)?;
            Some(format!("id {one} and id {other} own slots with one epoch"))
        });
        if let Some(same) = same {
            self.fail(same);
        }
    }

    /// Why a cluster is not one whole yet; `None`: it is.
    pub fn lacks(&self, team: usize) -> Option<String> {
        let shape = self.teams[team].shape;
        let ids: Vec<Id> = self.members(team).map(|server| server.id).collect();
        for (at, server) in self.servers.iter().enumerate().filter(|(_, one)| one.team == team) {
            let name = || self.name(at);
            if server.life != Life::Up {
                return Some(format!("{} is not up", name()));
            }
            if server.table.len() + 1 != ids.len() {
                return Some(format!("{} knows {} nodes", name(), server.table.len() + 1));
            }
            for line in &server.table {
                let Some(other) = self.holder(line.id).map(|at| &self.servers[at]) else {
                    return Some(format!("{} knows the ghost {}", name(), line.id));
                };
                let healthy = line.fail.is_none() && !line.pfail && line.connected;
                if !healthy || line.ip != Some(other.ip) {
                    return Some(format!("{} does not see id {} well", name(), line.id));
                }
                if (line.claim.slots, line.claim.replica) != (other.me.slots, other.me.replica) {
                    return Some(format!("{} knows id {} in another role", name(), line.id));
                }
            }
            if server.nofailover {
                return Some(format!("{} is not to be elected", name()));
            }
            if let Some(master) = server.me.master {
                let there = self.holder(master).map(|at| self.servers[at].ip);
                if server.host != there || !server.link_up {
                    return Some(format!("{} does not really follow its master {master}", name()));
                }
            } else if server.me.slots == 0 {
                return Some(format!("{} has no role", name()));
            } else {
                let following = |other: &&Server| other.me.master == Some(server.id);
                let replicas = self.members(team).filter(following).count() as u32;
                // Which fresh pod takes the slots of a lost shard goes by id where its own shard is
                // not there, so that shards may end up with more or fewer replicas.
                let even = self.teams[team].on_lost_shard == OnLostShard::Hold;
                if replicas != shape.replicas && even {
                    return Some(format!("{} has {replicas} replicas", name()));
                }
            }
            if !server.state_ok(shape.shards as usize) {
                return Some(format!("{} says cluster_state:fail", name()));
            }
            if !self.agents[at].iter().all(Agent::is_settled) {
                return Some(format!("{} is not settled", name()));
            }
        }
        let slots = self.members(team).try_fold(0u8, |all, server| {
            (all & server.me.slots == 0).then_some(all | server.me.slots)
        });
        (slots.map(u32::from) != Some((1 << shape.shards) - 1))
            .then(|| "a slot has no owner, or two".to_owned())
    }

    /// Why a cluster may be left as it is, for a person to look at, who is told so by a hold.
    pub fn excuse(&self, team: usize) -> Option<&'static str> {
        let agents = self.servers.iter().zip(&self.agents).filter(|(one, _)| one.team == team);
        let plans = agents.flat_map(|(_, agents)| agents).filter_map(|agent| agent.last.as_ref());
        let held: Vec<&str> =
            plans.flat_map(|plan| &plan.held).map(|hold| hold.reason.kind()).collect();
        let says = |kinds: &[&str]| held.iter().any(|kind| kinds.contains(kind));
        let gone = |server: &Server, shard: usize| {
            server.owner(shard).is_some_and(|(id, _)| self.holder(id).is_none())
        };
        let Team { shape, lost, lost_conf, lost_in_forming, emptied, .. } = self.teams[team];
        let gone = self.members(team).any(|server| (0..MAX_SHARDS).any(|nth| gone(server, nth)));
        if gone && says(&["master_gone", "master_down", "data_without_cluster"]) {
            return Some("a master is gone for good, and no replica is elected");
        }
        if lost_conf && says(&["data_without_cluster", "holds_keys"]) {
            return Some("nodes.conf is lost and the data is there");
        }
        if lost != 0 && !held.is_empty() {
            return Some("the last copy of a shard was lost");
        }
        if lost_in_forming && !held.is_empty() {
            return Some("a volume was lost while the cluster was formed");
        }
        // Of those that a pod finds, which it is not one of itself.
        let half = emptied.count_ones() * 2 + 1 >= shape.expected();
        (half && says(&["no_majority"])).then_some("half of the volumes were lost")
    }
}
