//! One server: what its `nodes.conf` and its data hold, and the commands that it takes.

use super::world::Tick;

/// The name of a node for life.
pub type Id = u16;
/// An address. Ports are the same everywhere.
pub type Ip = u16;
/// A set of shards, each of which is one run of slots that never is split.
pub type Shards = u8;

/// The most shards that a run has.
pub const MAX_SHARDS: usize = 4;
/// `cluster-node-timeout`: 2 s of 100 ms each.
pub const NODE_TIMEOUT: Tick = 20;
/// How long a forgotten id is not taken from gossip (60 s; `CLUSTER_BLACKLIST_TTL`), in the
/// proportion that it has to the default node timeout.
const BLACKLIST: Tick = 4 * NODE_TIMEOUT;

/// What a node says of itself in the header of every packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub replica: bool,
    pub master: Option<Id>,
    pub slots: Shards,
    pub epoch: u32,
}

/// Another node as a server knows it.
#[derive(Clone, Debug)]
pub struct Line {
    pub id: Id,
    /// `None`: `noaddr`.
    pub ip: Option<Ip>,
    pub claim: Claim,
    pub connected: bool,
    pub pong: Tick,
    pub pfail: bool,
    /// Since when it is marked as failing.
    pub fail: Option<Tick>,
    /// Which masters reported it as failing, and when.
    pub reports: Vec<(Id, Tick)>,
}

impl Line {
    pub fn new(id: Id, ip: Ip, now: Tick) -> Line {
        Line {
            id,
            ip: Some(ip),
            claim: Claim::default(),
            connected: false,
            pong: now,
            pfail: false,
            fail: None,
            reports: Vec::new(),
        }
    }
}

/// A node that was met and has not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    pub ip: Ip,
    pub until: Tick,
    /// Says MEET; otherwise the answer to one.
    pub meet: bool,
}

/// Where a server's life stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The pod is deleted; its address is free. It comes back at this tick.
    Gone(Tick),
    /// The container restarts at this tick; the pod keeps its address.
    Down(Tick),
    /// It answers `LOADING` until this tick.
    Loading(Tick),
    Up,
}

/// A server with its volume.
#[derive(Clone, Debug)]
pub struct Server {
    pub team: usize,
    pub ordinal: u32,
    pub id: Id,
    pub ip: Ip,
    pub life: Life,
    pub paused: bool,
    pub me: Claim,
    pub current_epoch: u32,
    pub last_vote: u32,
    pub votes: Vec<(Id, Tick)>,
    pub table: Vec<Line>,
    pub handshakes: Vec<Handshake>,
    pub blacklist: Vec<(Id, Tick)>,
    /// The version of the keys of each shard; 0: none.
    pub data: [u32; MAX_SHARDS],
    /// The stream that the data is of (`master_replid`); 0: none. Whoever writes has its own.
    pub stream: u64,
    /// A full copy of this stream is to begin at that tick.
    pub copies: Option<(u64, Tick)>,
    /// `master_host`.
    pub host: Option<Ip>,
    pub link_up: bool,
    /// When its link to its master was up last; `None`: never since it started.
    pub last_synced: Option<Tick>,
    /// When it stands for election.
    pub election: Option<Tick>,
    /// When `FAILOVER FORCE` makes sense again.
    pub next_force: Tick,
    /// `cluster-replica-no-failover yes`.
    pub nofailover: bool,
    /// A keeper has set it, as the board knows.
    pub kept_back: bool,
    /// Since it started, somebody else was where it looks for its master.
    pub met_stranger: bool,
}

impl Server {
    /// An empty volume.
    pub fn new(team: usize, ordinal: u32, id: Id, ip: Ip) -> Server {
        Server {
            team,
            ordinal,
            id,
            ip,
            life: Life::Up,
            paused: false,
            me: Claim::default(),
            current_epoch: 0,
            last_vote: 0,
            votes: Vec::new(),
            table: Vec::new(),
            handshakes: Vec::new(),
            blacklist: Vec::new(),
            data: [0; MAX_SHARDS],
            stream: 0,
            copies: None,
            host: None,
            link_up: false,
            last_synced: None,
            election: None,
            next_force: 0,
            nofailover: false,
            kept_back: false,
            met_stranger: false,
        }
    }

    pub fn line(&self, id: Id) -> Option<&Line> {
        self.table.iter().find(|line| line.id == id)
    }

    pub fn line_mut(&mut self, id: Id) -> Option<&mut Line> {
        self.table.iter_mut().find(|line| line.id == id)
    }

    /// What it holds to be true of `id`, itself included.
    pub fn claim_of(&self, id: Id) -> Option<Claim> {
        if id == self.id { Some(self.me) } else { self.line(id).map(|line| line.claim) }
    }

    /// Who owns a shard in its view, and with which epoch.
    pub fn owner(&self, shard: usize) -> Option<(Id, u32)> {
        let bit = 1 << shard;
        if self.me.slots & bit != 0 {
            return Some((self.id, self.me.epoch));
        }
        let line = self.table.iter().find(|line| line.claim.slots & bit != 0)?;
        Some((line.id, line.claim.epoch))
    }

    pub fn is_master_with_slots(&self) -> bool {
        !self.me.replica && self.me.slots != 0
    }

    /// How many votes are most of those of the masters with slots.
    pub fn majority(&self) -> usize {
        let masters = self.table.iter().filter(|line| line.claim.slots != 0).count();
        (masters + usize::from(self.me.slots != 0)) / 2 + 1
    }

    /// `cluster_state:ok`, without its delays.
    pub fn state_ok(&self, shards: usize) -> bool {
        let covered = (0..shards).all(|shard| {
            self.owner(shard).is_some_and(|(id, _)| {
                id == self.id || self.line(id).is_some_and(|line| line.fail.is_none())
            })
        });
        let reached = |line: &&Line| line.claim.slots != 0 && line.fail.is_none() && !line.pfail;
        let reached = self.table.iter().filter(reached).count() + usize::from(self.me.slots != 0);
        covered && reached >= self.majority()
    }

    /// Follows a master that does not own this shard.
    pub fn strays_with(&self, shard: usize) -> bool {
        let claim = self.me.master.and_then(|master| self.claim_of(master));
        claim.is_some_and(|claim| claim.slots & (1 << shard) == 0)
    }

    pub fn has_keys(&self) -> bool {
        self.data.iter().any(|version| *version > 0)
    }

    /// A stream that nobody has had before: what it writes from now on.
    pub fn begin_stream(&mut self, now: Tick) {
        self.stream = (u64::from(self.id) << 32) | (u64::from(now) + 1);
    }

    /// The process starts, from its volume.
    pub fn start(&mut self, now: Tick) {
        if !self.me.replica {
            self.begin_stream(now);
        }
        self.paused = false;
        self.handshakes.clear();
        self.blacklist.clear();
        self.votes.clear();
        self.election = None;
        (self.nofailover, self.kept_back, self.met_stranger) = (false, false, false);
        self.copies = None;
        self.link_up = false;
        self.last_synced = None;
        for line in &mut self.table {
            (line.connected, line.pong) = (false, now);
            line.reports.clear();
        }
        self.host = self.me.master.and_then(|master| self.line(master)?.ip);
        // `verifyClusterConfigWithData`: keys in slots without an owner make a claim to them.
        for shard in 0..MAX_SHARDS {
            if !self.me.replica && self.data[shard] > 0 && self.owner(shard).is_none() {
                self.me.slots |= 1 << shard;
            }
        }
    }

    pub fn set_epoch(&mut self, epoch: u32) -> Result<(), &'static str> {
        if !self.table.is_empty() || self.me.epoch != 0 {
            return Err("knows others or has an epoch");
        }
        self.me.epoch = epoch;
        self.current_epoch = self.current_epoch.max(epoch);
        Ok(())
    }

    /// `clusterBumpConfigEpochWithoutConsensus`.
    pub fn bump_epoch(&mut self) {
        let others = self.table.iter().map(|line| line.claim.epoch).max().unwrap_or(0);
        let max = others.max(self.me.epoch).max(self.current_epoch);
        if self.me.epoch == 0 || self.me.epoch != max {
            self.current_epoch += 1;
            self.me.epoch = self.current_epoch;
        }
    }

    pub fn add_slots(&mut self, shard: usize) -> Result<(), &'static str> {
        if self.owner(shard).is_some() {
            return Err("slot is already busy");
        }
        self.me.slots |= 1 << shard;
        Ok(())
    }

    pub fn shake_hands(&mut self, ip: Ip, now: Tick, meet: bool) {
        if !self.handshakes.iter().any(|handshake| handshake.ip == ip) {
            self.handshakes.push(Handshake { ip, until: now + NODE_TIMEOUT, meet });
        }
    }

    pub fn replicate(&mut self, master: Id) -> Result<(), &'static str> {
        let line = self.line(master).ok_or("unknown node")?;
        if line.claim.replica {
            return Err("can only replicate a master");
        }
        if !self.me.replica && (self.me.slots != 0 || self.has_keys()) {
            return Err("the node must be empty and without assigned slots");
        }
        self.follow(master);
        Ok(())
    }

    /// `clusterSetMaster`.
    pub fn follow(&mut self, master: Id) {
        self.me.replica = true;
        self.me.master = Some(master);
        self.me.slots = 0;
        self.me.epoch = self.line(master).map_or(self.me.epoch, |line| line.claim.epoch);
        self.host = self.line(master).and_then(|line| line.ip);
        (self.link_up, self.election) = (false, None);
    }

    pub fn forget(&mut self, id: Id, now: Tick) -> Result<(), &'static str> {
        if id == self.id || self.me.master == Some(id) {
            return Err("myself or my master");
        }
        if self.line(id).is_none() {
            return Err("unknown node");
        }
        self.table.retain(|line| line.id != id);
        self.blacklist.push((id, now + BLACKLIST));
        Ok(())
    }

    pub fn is_blacklisted(&self, id: Id, now: Tick) -> bool {
        self.blacklist.iter().any(|(other, until)| *other == id && now < *until)
    }
}
