//! `nodes.conf` and the `CLUSTER NODES` reply: parse every version's lines, rewrite one address.
//! Pure.
//!
//! A line is `<id> <address> <flags> <master|-> <ping-sent> <pong-received> <config-epoch>
//! <connected|disconnected> [slot...]`, as `clusterGenNodeDescription` writes it and
//! `clusterLoadConfig` reads it (`src/cluster.c` up to Redis 7.2, `src/cluster_legacy.c` later).
//! Versions differ in the address token only:
//!
//! | Version | Address |
//! |---|---|
//! | Redis 3.x | `ip:port` |
//! | Redis 4.0 to 6.2 | `ip:port@bus-port` |
//! | Redis 7.0 | `ip:port@bus-port[,hostname]` |
//! | Redis 7.2 and later, Valkey | `ip:port@bus-port,[hostname][,name=value...]` |
//!
//! The parser accepts what the servers accept, within reason, and refuses the rest: nothing that
//! was not understood is ever rewritten. [`with_own_ip`] keeps every byte but those of one address,
//! of the same address where another node has it, and of a shard id on which servers would not start.

use std::net::{IpAddr, Ipv4Addr};

mod error;
mod file;
mod line;
mod model;
mod scan;
mod slots;

pub use error::{Doubt, LineError, LineErrorKind, ParseError};
pub use file::{Verdict, assess, parse, parse_reply, with_own_ip};
pub use line::parse_line;
pub use model::{Address, Flags, Node, NodeId, NodesConf, SlotRange};
pub use scan::{Corrected, Reading};

/// In the place of an address that is not to be used. Nobody can answer there: TCP refuses to connect
/// to it before a packet is sent (`tcp_v4_connect` in Linux). To a server it is an address like any
/// other, at which a node is out of reach: unlike `noaddr`, which Valkey 8.1 and later loads as a
/// failure, and which other versions never take for one.
pub const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

/// The highest hash slot; there are 16384 (`CLUSTER_SLOTS` in `src/cluster.h`).
pub const LAST_SLOT: u16 = 16383;
