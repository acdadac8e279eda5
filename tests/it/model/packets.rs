//! What a server makes of a packet: address, role, slots, gossip (`clusterProcessPacket`).

use super::server::{Claim, Id, Ip, Line, MAX_SHARDS, NODE_TIMEOUT, Server};
use super::world::Tick;

/// One node in the gossip section.
#[derive(Clone, Copy, Debug)]
pub struct Gossip {
    id: Id,
    ip: Ip,
    replica: bool,
    failing: bool,
}

/// A PING, PONG or MEET.
#[derive(Clone, Debug)]
pub struct Packet {
    pub id: Id,
    claim: Claim,
    current_epoch: u32,
    gossip: Vec<Gossip>,
}

/// What a server answers besides a PONG.
#[derive(Debug, Default)]
pub struct Replies {
    /// UPDATE: whoever has a newer claim to slots of the sender.
    pub updates: Vec<(Id, Claim)>,
    /// FAIL: whom it just found out to be failing, to everybody.
    pub failed: Vec<Id>,
}

impl Server {
    /// `odd`: this packet gossips of nodes that are neither connected nor own slots, as happens
    /// while the link is being opened.
    pub fn packet(&self, odd: bool) -> Packet {
        let told = |line: &&Line| line.connected || line.claim.slots != 0 || line.pfail || odd;
        let gossip = |line: &Line| {
            Some(Gossip {
                id: line.id,
                ip: line.ip?,
                replica: line.claim.replica,
                failing: line.pfail || line.fail.is_some(),
            })
        };
        let mut claim = self.me;
        if let Some(master) = claim.master.and_then(|master| self.line(master)) {
            claim.epoch = master.claim.epoch;
        }
        Packet {
            id: self.id,
            claim,
            current_epoch: self.current_epoch,
            gossip: self.table.iter().filter(told).filter_map(gossip).collect(),
        }
    }

    /// `nodeUpdateAddressIfNeeded`: the link is dropped, and a replica follows its master's move.
    pub fn learn_address(&mut self, id: Id, ip: Ip) {
        let follows = self.me.master == Some(id);
        let Some(line) = self.line_mut(id).filter(|line| line.ip != Some(ip)) else { return };
        (line.ip, line.connected) = (Some(ip), false);
        if follows {
            (self.host, self.link_up) = (Some(ip), false);
        }
    }

    /// Reads the header and the gossip of a packet of somebody known.
    pub fn read(&mut self, packet: &Packet, now: Tick) -> Replies {
        let mut replies = Replies::default();
        if self.line(packet.id).is_some() {
            self.read_header(packet, &mut replies);
            for gossip in &packet.gossip {
                self.read_gossip(packet, *gossip, now, &mut replies);
            }
        }
        replies
    }

    fn read_header(&mut self, packet: &Packet, replies: &mut Replies) {
        let Packet { id, claim, .. } = *packet;
        self.current_epoch = self.current_epoch.max(packet.current_epoch).max(claim.epoch);
        let knows_master = claim.master.is_some_and(|master| self.claim_of(master).is_some());
        let Some(line) = self.line_mut(id) else { return };
        line.claim.epoch = line.claim.epoch.max(claim.epoch);
        line.claim.replica = claim.replica;
        if claim.replica {
            line.claim.slots = 0;
            if knows_master {
                line.claim.master = claim.master;
            }
        } else {
            line.claim.master = None;
            self.take_claim(id, claim);
            for shard in (0..MAX_SHARDS).filter(|shard| claim.slots & (1 << shard) != 0) {
                if let Some((owner, epoch)) = self.owner(shard)
                    && owner != id
                    && epoch > claim.epoch
                    && let Some(newer) = self.claim_of(owner)
                {
                    replies.updates.push((owner, newer));
                }
            }
            // `clusterHandleConfigEpochCollision`: the smaller id gives way.
            if !self.me.replica && claim.epoch == self.me.epoch && self.id < id {
                self.current_epoch += 1;
                self.me.epoch = self.current_epoch;
            }
        }
        // A replica of a replica follows the master of both.
        if let Some(master) = self.me.master
            && let Some(above) = self.line(master).and_then(|line| line.claim.master)
            && above != self.id
            && self.line(above).is_some()
        {
            self.follow(above);
        }
    }

    /// `clusterUpdateSlotsConfigWith`: the higher epoch wins. Whoever loses its last slot by it
    /// follows the winner, with all its replicas.
    pub fn take_claim(&mut self, id: Id, claim: Claim) {
        if id == self.id || self.line(id).is_none() {
            return;
        }
        let current = if self.me.replica { self.me.master } else { Some(self.id) };
        let mut new_master = false;
        let mut dirty = Vec::new();
        for shard in (0..MAX_SHARDS).filter(|shard| claim.slots & (1 << shard) != 0) {
            let owner = self.owner(shard);
            if owner.is_some_and(|(owner, epoch)| owner == id || epoch >= claim.epoch) {
                continue;
            }
            let bit = 1 << shard;
            if let Some((owner, _)) = owner {
                new_master |= Some(owner) == current;
                if owner == self.id {
                    self.me.slots &= !bit;
                    dirty.push(shard);
                } else if let Some(line) = self.line_mut(owner) {
                    line.claim.slots &= !bit;
                }
            }
            if let Some(line) = self.line_mut(id) {
                line.claim.slots |= bit;
            }
        }
        let left =
            current.and_then(|current| self.claim_of(current)).map_or(0, |claim| claim.slots);
        if new_master && left == 0 {
            self.follow(id);
        } else {
            dirty.into_iter().for_each(|shard| self.data[shard] = 0);
        }
    }

    /// An UPDATE message.
    pub fn read_update(&mut self, id: Id, claim: Claim) {
        if let Some(line) = self.line_mut(id)
            && line.claim.epoch < claim.epoch
        {
            line.claim.epoch = claim.epoch;
            (line.claim.replica, line.claim.master) = (false, None);
            self.take_claim(id, claim);
        }
    }

    fn read_gossip(&mut self, packet: &Packet, gossip: Gossip, now: Tick, replies: &mut Replies) {
        if gossip.id == self.id {
            return;
        }
        if self.line(gossip.id).is_none() {
            // An id that is not known is added as it is (Redis 6.0.5 and later).
            if !self.is_blacklisted(gossip.id, now) {
                let mut line = Line::new(gossip.id, gossip.ip, now);
                line.claim.replica = gossip.replica;
                self.table.push(line);
            }
            return;
        }
        let votes = packet.claim.slots != 0 && !packet.claim.replica;
        let Some(line) = self.line_mut(gossip.id) else { return };
        if votes {
            line.reports.retain(|(by, at)| *by != packet.id && now < at + 2 * NODE_TIMEOUT);
            if gossip.failing {
                line.reports.push((packet.id, now));
            }
        }
        let gone = line.pfail || line.fail.is_some();
        if gone && !gossip.failing && line.ip != Some(gossip.ip) {
            // Redis up to 8.6 does not tell the replication of it.
            (line.ip, line.connected) = (Some(gossip.ip), false);
        }
        if self.fails(gossip.id, now) {
            replies.failed.push(gossip.id);
        }
    }

    /// `markNodeAsFailingIfNeeded`.
    pub fn fails(&mut self, id: Id, now: Tick) -> bool {
        let own = usize::from(self.is_master_with_slots());
        let majority = self.majority();
        let Some(line) = self.line_mut(id) else { return false };
        let agreed = line.reports.len() + own >= majority;
        if !line.pfail || line.fail.is_some() || !agreed {
            return false;
        }
        (line.fail, line.pfail) = (Some(now), false);
        true
    }

    /// An answer came over the link to `id`.
    pub fn heard_from(&mut self, id: Id, now: Tick) {
        let Some(line) = self.line_mut(id) else { return };
        (line.connected, line.pong, line.pfail) = (true, now, false);
        // `clearNodeFailureIfNeeded`: a master that nobody replaced is taken back after a while.
        if let Some(since) = line.fail
            && (line.claim.replica || line.claim.slots == 0 || now > since + 2 * NODE_TIMEOUT)
        {
            line.fail = None;
        }
    }
}
