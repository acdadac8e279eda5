//! The cluster bus, elections and replication: what the servers do by themselves.

use super::packets::Replies;
use super::server::{Id, Life, Line, MAX_SHARDS, NODE_TIMEOUT};
use super::world::World;

/// A replica that is out of touch for longer does not stand for election
/// (`cluster-replica-validity-factor`).
const TOO_OLD: u32 = 10 * NODE_TIMEOUT;

impl World {
    /// One tick of every server.
    pub fn run_servers(&mut self) {
        for at in 0..self.servers.len() {
            if self.is_up(at) {
                self.shake(at);
                self.ping_all(at);
                self.elect(at);
            }
        }
        for at in 0..self.servers.len() {
            if self.is_up(at) {
                self.replicate(at);
            }
        }
        self.write();
        for at in 0..self.servers.len() {
            let server = &self.servers[at];
            let there =
                server.host.and_then(|host| self.at(host)).map(|there| &self.servers[there]);
            let met = there.is_some_and(|there| Some(there.id) != server.me.master);
            self.servers[at].met_stranger |= met && server.me.replica;
        }
    }

    fn shake(&mut self, at: usize) {
        let now = self.now;
        if self.servers[at].handshakes.is_empty() {
            return;
        }
        let handshakes = std::mem::take(&mut self.servers[at].handshakes);
        let (id, ip) = (self.servers[at].id, self.servers[at].ip);
        for handshake in handshakes {
            let found = self.at(handshake.ip).filter(|to| self.is_up(*to) && self.reaches(at, *to));
            let Some(to) = found else {
                if now < handshake.until {
                    self.servers[at].handshakes.push(handshake);
                }
                continue;
            };
            let found = self.servers[to].id;
            if found == id {
                continue;
            }
            if handshake.meet {
                if self.servers[to].line(id).is_some() {
                    self.deliver(at, to);
                } else {
                    self.servers[to].shake_hands(ip, now, false);
                }
            }
            let server = &mut self.servers[at];
            if server.line(found).is_some() {
                server.learn_address(found, handshake.ip);
            } else {
                let mut line = Line::new(found, handshake.ip, now);
                line.connected = true;
                server.table.push(line);
                if self.tracing {
                    self.say(|world| format!("{} now knows {}", world.name(at), world.name(to)));
                }
            }
        }
    }

    fn ping_all(&mut self, at: usize) {
        let now = self.now;
        for nth in 0..self.servers[at].table.len() {
            let Some(line) = self.servers[at].table.get(nth) else { break };
            let (id, Some(ip)) = (line.id, line.ip) else { continue };
            // A link that works is used a few times a second; one that does not, at once.
            if line.connected && !self.rng.one_in(5) {
                continue;
            }
            let there = self.at(ip).filter(|to| self.reaches(at, *to));
            match there {
                Some(to) if self.is_up(to) => {
                    if self.servers[to].id == id {
                        self.exchange(at, to);
                    } else {
                        let line = &mut self.servers[at].table[nth];
                        (line.ip, line.connected) = (None, false);
                        let text = format!("loses the address of {id}: another id answers there");
                        self.say(|world| format!("{} {text}", world.name(at)));
                    }
                }
                // The kernel of a paused process accepts; a link that was cut is not noticed at once.
                Some(to) if self.servers[to].paused && self.servers[to].id == id => {}
                _ => {
                    let gone = there.is_some() || self.at(ip).is_none();
                    let line = &mut self.servers[at].table[nth];
                    if gone || now > line.pong + NODE_TIMEOUT / 2 {
                        line.connected = false;
                    }
                }
            }
            self.suspect(at, id);
        }
    }

    fn suspect(&mut self, at: usize, id: Id) {
        let now = self.now;
        let Some(line) = self.servers[at].line_mut(id) else { return };
        if line.fail.is_none() && !line.pfail && now > line.pong + NODE_TIMEOUT {
            line.pfail = true;
        }
        if self.servers[at].fails(id, now) {
            self.broadcast_fail(at, id);
        }
    }

    fn broadcast_fail(&mut self, from: usize, id: Id) {
        let (now, by) = (self.now, self.servers[from].id);
        self.say(|world| format!("{} declares {id} failed", world.name(from)));
        for to in 0..self.servers.len() {
            if self.is_up(to)
                && self.reaches(from, to)
                && self.servers[to].line(by).is_some()
                && let Some(line) = self.servers[to].line_mut(id)
            {
                line.fail.get_or_insert(now);
                line.pfail = false;
            }
        }
    }

    /// A PING and its PONG.
    fn exchange(&mut self, at: usize, to: usize) {
        let (now, id) = (self.now, self.servers[to].id);
        self.servers[at].heard_from(id, now);
        let (by, ip) = (self.servers[at].id, self.servers[at].ip);
        self.servers[to].learn_address(by, ip);
        self.deliver(at, to);
        if self.servers[at].line(id).is_some() {
            self.deliver(to, at);
        }
    }

    /// One packet, and what it is answered with.
    pub fn deliver(&mut self, from: usize, to: usize) {
        let odd = self.rng.one_in(8);
        let packet = self.servers[from].packet(odd);
        let Replies { updates, failed } = self.servers[to].read(&packet, self.now);
        for (id, claim) in updates {
            if self.servers[from].line(self.servers[to].id).is_some() {
                self.servers[from].read_update(id, claim);
            }
        }
        for id in failed {
            self.broadcast_fail(to, id);
        }
    }

    /// `clusterHandleSlaveFailover`.
    fn elect(&mut self, at: usize) {
        let now = self.now;
        let server = &self.servers[at];
        let master = server.me.master.and_then(|master| server.line(master));
        let stands = !server.nofailover
            && master.is_some_and(|master| master.fail.is_some() && master.claim.slots != 0)
            && server.last_synced.is_some_and(|at| now <= at + TOO_OLD);
        if !stands {
            self.servers[at].election = None;
            return;
        }
        match server.election {
            None => {
                let ours = server.data.iter().sum::<u32>();
                let rank = self.members(server.team).filter(|other| {
                    other.me.master == server.me.master && other.data.iter().sum::<u32>() > ours
                });
                let rank = rank.count() as u32;
                let delay = 5 + self.rng.ticks(0, 5) + 10 * rank;
                self.servers[at].election = Some(now + delay);
            }
            Some(due) if now >= due => {
                self.servers[at].election = Some(now + 4 * NODE_TIMEOUT);
                self.stand(at, false);
            }
            Some(_) => {}
        }
    }

    /// Asks all masters for their votes, and takes over with most of them.
    pub fn stand(&mut self, at: usize, force: bool) -> bool {
        let now = self.now;
        let Some(master) = self.servers[at].me.master else { return false };
        let Some(claim) = self.servers[at].claim_of(master) else { return false };
        self.servers[at].current_epoch += 1;
        let epoch = self.servers[at].current_epoch;
        let id = self.servers[at].id;
        let mut votes = 0;
        for voter in 0..self.servers.len() {
            let asked = self.is_up(voter)
                && self.reaches(at, voter)
                && self.servers[at].line(self.servers[voter].id).is_some_and(|line| line.connected)
                && self.servers[voter].line(id).is_some();
            if !asked {
                continue;
            }
            let voter = &mut self.servers[voter];
            let agrees = voter.line(master).is_some_and(|line| line.fail.is_some() || force);
            let newer = (0..MAX_SHARDS)
                .filter(|shard| claim.slots & (1 << shard) != 0)
                .any(|shard| voter.owner(shard).is_some_and(|(_, epoch)| epoch > claim.epoch));
            voter.votes.retain(|(_, at)| now < at + 2 * NODE_TIMEOUT);
            if !voter.is_master_with_slots()
                || epoch < voter.current_epoch
                || voter.last_vote == epoch
                || !agrees
                || newer
                || voter.votes.iter().any(|(other, _)| *other == master)
            {
                continue;
            }
            (voter.current_epoch, voter.last_vote) = (epoch, epoch);
            voter.votes.push((master, now));
            votes += 1;
        }
        let won = votes >= self.servers[at].majority();
        self.say(|world| {
            format!("{} stands for {master}: {votes} votes, won {won}", world.name(at))
        });
        if won {
            let server = &mut self.servers[at];
            server.begin_stream(now);
            if let Some(line) = server.line_mut(master) {
                line.claim.slots = 0;
            }
            // It never had the keys, or copied those of whoever had its master's address: what the
            // master has is thrown away when it comes back.
            let bare = (0..MAX_SHARDS)
                .filter(|shard| claim.slots & (1 << shard) != 0 && server.data[*shard] == 0);
            self.teams[server.team].lost |= bare.fold(0, |all, shard| all | 1 << shard);
            server.me.replica = false;
            (server.me.master, server.host, server.link_up) = (None, None, false);
            (server.me.slots, server.me.epoch, server.election) = (claim.slots, epoch, None);
            for to in 0..self.servers.len() {
                if to != at && self.is_up(to) && self.reaches(at, to) {
                    self.deliver(at, to);
                }
            }
        }
        won
    }

    /// `CLUSTER FAILOVER FORCE` on the best replica of a master that must not start empty.
    pub fn promote_for(&mut self, master: Id) {
        let able = |at: &usize| self.is_up(*at) && self.servers[*at].me.master == Some(master);
        let best = (0..self.servers.len())
            .filter(able)
            .max_by_key(|at| self.servers[*at].data.iter().sum::<u32>());
        if let Some(at) = best
            && self.now >= self.servers[at].next_force
        {
            // Votes count for this long, so asking earlier is refused.
            self.servers[at].next_force = self.now + 2 * NODE_TIMEOUT + 1;
            self.stand(at, true);
        }
    }

    /// `CLUSTER FAILOVER` on the own server: the master pauses, the replica gets all that it has
    /// written, and asks for votes. Without a link to it there is a refusal.
    pub fn take_home(&mut self, at: usize, master: Id) -> Result<(), &'static str> {
        let from = self.holder(master).filter(|from| self.is_up(*from) && self.reaches(at, *from));
        let host = self.servers[at].host;
        let linked = self.servers[at].link_up && self.servers[at].me.master == Some(master);
        let Some(from) = from.filter(|from| linked && host == Some(self.servers[*from].ip)) else {
            return Err("master is down or failed");
        };
        self.servers[at].data = self.servers[from].data;
        self.stand(at, true);
        Ok(())
    }

    /// Copies the master's data, emptiness included. Whoever answers at `master_host` is taken for
    /// the master.
    fn replicate(&mut self, at: usize) {
        let server = &self.servers[at];
        let Some(host) = server.host else {
            if let Some(master) = server.me.master {
                self.servers[at].host = self.servers[at].line(master).and_then(|line| line.ip);
            }
            return;
        };
        let from = self.at(host).filter(|from| {
            self.is_up(*from) && self.reaches(at, *from) && *from != at && self.has_data_link(*from)
        });
        let Some(from) = from.filter(|from| {
            // Another cluster has another password.
            self.servers[*from].team == self.servers[at].team
        }) else {
            (self.servers[at].link_up, self.servers[at].copies) = (false, None);
            return;
        };
        if !self.has_waited(at, self.servers[from].stream) {
            self.servers[at].link_up = false;
            return;
        }
        let wrong = Some(self.servers[from].id) != self.servers[at].me.master;
        let before = self.servers[at].data;
        self.servers[at].data = self.servers[from].data;
        self.servers[at].stream = self.servers[from].stream;
        (self.servers[at].link_up, self.servers[at].last_synced) = (true, Some(self.now));
        let team = self.servers[at].team;
        for (shard, before) in before.into_iter().enumerate() {
            let gone = before > 0 && !self.members(team).any(|server| server.data[shard] > 0);
            // Redis has no way to tell; it is not our doing.
            if gone && wrong {
                self.teams[team].lost |= 1 << shard;
            }
        }
    }

    /// A full copy is given after a delay (`repl-diskless-sync-delay`), until when the old data stays.
    fn has_waited(&mut self, at: usize, stream: u64) -> bool {
        let (now, delay) = (self.now, self.sync_delay);
        let server = &mut self.servers[at];
        if server.stream == stream {
            server.copies = None;
            return true;
        }
        let before = server.copies.filter(|(copied, _)| *copied == stream);
        let (_, due) = *server.copies.insert(before.unwrap_or((stream, now + delay)));
        now >= due
    }

    fn has_data_link(&self, from: usize) -> bool {
        !self.servers[from].me.replica || self.servers[from].link_up
    }

    /// Clients write wherever the cluster serves.
    fn write(&mut self) {
        for at in 0..self.servers.len() {
            let server = &self.servers[at];
            let shards = self.teams[server.team].shape.shards as usize;
            if server.life != Life::Up || server.me.slots == 0 || !self.rng.one_in(10) {
                continue;
            }
            if self.is_up(at) && server.is_master_with_slots() && server.state_ok(shards) {
                let next =
                    1 + self.members(server.team).flat_map(|server| server.data).max().unwrap_or(0);
                for shard in 0..MAX_SHARDS {
                    if self.servers[at].me.slots & (1 << shard) != 0 {
                        self.servers[at].data[shard] = next;
                    }
                }
            }
        }
    }
}
