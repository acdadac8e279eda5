//! What a `nodes.conf` says, as values.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::error::LineErrorKind;

/// A node's name for life: 40 lower-case hexadecimal digits (`CLUSTER_NAMELEN`). The identity of a
/// node, which no change of address touches. Ordered as its text is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 20]);

impl NodeId {
    /// Reads the 40 digits. Capitals are refused, as Redis 7.0 and later refuse them.
    ///
    /// # Errors
    /// [`LineErrorKind::NotAnId`] for anything else.
    pub fn from_bytes(text: &[u8]) -> Result<Self, LineErrorKind> {
        let not_an_id = || LineErrorKind::NotAnId(super::error::excerpt(text));
        if text.len() != 40 {
            return Err(not_an_id());
        }
        let mut id = [0; 20];
        let mut wrong = 0;
        for (byte, [high, low]) in id.iter_mut().zip(text.as_chunks().0) {
            let high = HEX_VALUES[usize::from(*high)];
            let low = HEX_VALUES[usize::from(*low)];
            wrong |= high | low;
            *byte = high << 4 | low & 0xf;
        }
        if wrong > 0xf { Err(not_an_id()) } else { Ok(Self(id)) }
    }

    /// The last 16 digits as a number.
    pub(super) fn last_half(&self) -> u64 {
        self.0.last_chunk().map_or(0, |half| u64::from_be_bytes(*half))
    }
}

/// The value of each lower-case hexadecimal digit, and 255 for all other bytes.
static HEX_VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let digits = b"0123456789abcdef";
    let mut value = 0;
    while value < 16 {
        values[digits[value as usize] as usize] = value;
        value += 1;
    }
    values
};

impl FromStr for NodeId {
    type Err = LineErrorKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A run of hash slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    /// The first slot, 0 to [`super::LAST_SLOT`].
    pub first: u16,
    /// The last slot, itself included; not below `first`.
    pub last: u16,
}

impl fmt::Display for SlotRange {
    /// As the servers write it: `0-5460`, or `7` for a single slot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The third field of a line. No flag at all is written `noflags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `myself`: the node that the file or the reply comes from.
    pub myself: bool,
    /// `master`, or `primary`, which Valkey 8.0 and later also read.
    pub master: bool,
    /// `slave`, or `replica`, which Valkey 8.0 and later also read.
    pub replica: bool,
    /// `fail?`: does not answer this node; others were not asked yet.
    pub pfail: bool,
    /// `fail`: most masters agree that it is down.
    pub fail: bool,
    /// `handshake`: was met and has not answered yet, so its id is a random stand-in. In replies
    /// only.
    pub handshake: bool,
    /// `noaddr`: its address is not known; nobody connects to it.
    pub noaddr: bool,
    /// `nofailover`: a replica that never stands for election (Redis 4.0 and later).
    pub nofailover: bool,
}

/// The second field of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// An IPv4 or IPv6 address without brackets, or a host name where somebody announced one. Empty
    /// for the own node until it learns its address, and for a node without one (`noaddr`).
    pub ip: String,
    /// The port for clients; 0 for a node without an address.
    pub port: u16,
    /// The cluster bus port. Where a 3.x server wrote none it is `port` + 10000.
    pub bus_port: u16,
    /// `cluster-announce-hostname` (Redis 7.0 and later).
    pub hostname: Option<String>,
    /// The auxiliary fields such as `shard-id`, name and value, in the order found (Redis 7.2 and
    /// later). Names that no version has today are kept too.
    pub aux: Vec<(String, String)>,
}

impl Address {
    /// The value of the auxiliary field `name`.
    pub fn aux(&self, name: &str) -> Option<&str> {
        self.aux.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Where it is reached.
    pub address: Address,
    /// Its role and condition.
    pub flags: Flags,
    /// The master that it replicates; `None` for a master and for a replica that has none yet.
    pub master: Option<NodeId>,
    /// When the ping was sent that is still unanswered, in ms since 1970; 0 when none is.
    pub ping_sent_ms: u64,
    /// When it answered last, in ms since 1970; 0 for never.
    pub pong_received_ms: u64,
    /// The version of its claim to its slots; a replica's line shows its master's (7.0 and later).
    pub config_epoch: u64,
    /// The link of the cluster bus to it is up.
    pub connected: bool,
    /// The slots that it serves, in the order found.
    pub slots: Vec<SlotRange>,
    /// Slots on their way out and their destinations, `[93->-<id>]`; only ever on `myself`.
    pub migrating: Vec<(u16, NodeId)>,
    /// Slots on their way in and their sources, `[77-<-<id>]`; only ever on `myself`.
    pub importing: Vec<(u16, NodeId)>,
}

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesConf {
    /// The nodes in the order found; exactly one of them is `myself`.
    pub nodes: Vec<Node>,
    /// The highest epoch that the node had seen; 0 where the file does not say.
    pub current_epoch: u64,
    /// The epoch of its last vote; 0 where the file does not say.
    pub last_vote_epoch: u64,
    /// Where `myself` is in `nodes`.
    pub(super) own: usize,
}

impl NodesConf {
    /// The node that the file belongs to.
    pub fn myself(&self) -> &Node {
        &self.nodes[self.own]
    }
}
