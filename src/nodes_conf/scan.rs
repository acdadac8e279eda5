//! One pass over a file's lines.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use memchr::memchr;

use super::NOWHERE;
use super::error::{Doubt, LineError, LineErrorKind, ParseError};
use super::line::{Fields, View, is_blank, read_number};
use super::model::{NodeId, NodesConf};

/// A file that was understood, its text still where it was.
pub struct Reading<'a> {
    file: &'a [u8],
    own_id: NodeId,
    /// Where the own node's ip is in `file`.
    own_ip: Range<usize>,
    own_bus_port: u16,
    /// Of all nodes, in their order.
    ids: Vec<NodeId>,
    /// Some node says which shard it is in.
    has_shards: bool,
    vars: Vars,
    /// The last line that holds anything has its line end.
    is_ended: bool,
}

impl<'a> Reading<'a> {
    /// Reads the whole file; see [`super::parse`].
    pub(super) fn of(file: &'a [u8]) -> Result<Self, ParseError> {
        let mut ids = Vec::new();
        let mut own: Option<(View, usize, Range<usize>)> = None;
        let mut vars = Vars::default();
        let (mut last_line, mut is_ended, mut has_shards) = (1, false, false);
        for line in lines(file) {
            (last_line, is_ended) = (line.number, line.is_ended);
            if vars.read(line.text).map_err(|error| at_line(line.number, error))? {
                continue;
            }
            let view = View::of(line.text).map_err(|error| at_line(line.number, error))?;
            if view.flags.myself {
                if let Some((_, first, _)) = own {
                    let column = view.flags_column;
                    return Err(ParseError::TwoMyself { first, line: line.number, column });
                }
                let start = line.start + view.address_at;
                own = Some((view, line.number, start..start + view.address.ip.len()));
            }
            has_shards |= view.address.shard_id().is_some();
            ids.push(view.id);
        }
        let (own, _, own_ip) = own.ok_or(ParseError::NoMyself { line: last_line })?;
        let (own_id, own_bus_port) = (own.id, own.address.bus_port);
        Ok(Self { file, own_id, own_ip, own_bus_port, ids, has_shards, vars, is_ended })
    }

    /// The nodes, read once more: the correction of an address, the most frequent use, needs none
    /// of them, and those of a thousand lines would fill fifty pages.
    fn views(&self) -> impl Iterator<Item = View<'a>> {
        lines(self.file).filter_map(|line| View::of(line.text).ok())
    }

    /// The name of the node that the file belongs to.
    pub fn own_id(&self) -> NodeId {
        self.own_id
    }

    /// Its ip as written: empty before it learned one, or a host name.
    pub fn own_ip(&self) -> &'a str {
        // An address that was understood is ASCII.
        std::str::from_utf8(&self.file[self.own_ip.clone()]).unwrap_or_default()
    }

    /// The file with `ip` as the own node's address and nobody else's, and with each replica in the
    /// shard of its master. `None` where all of that is right already, the address in any spelling.
    pub fn corrected(&self, ip: IpAddr) -> Option<Corrected<'a>> {
        let mut edits = self.stray_shards();
        let shards = edits.len();
        edits.extend(self.others_at(ip));
        let others = edits.len() - shards;
        if !is_ip(self.own_ip().as_bytes(), ip) {
            edits.push((self.own_ip.clone(), ip.to_string().into_bytes().into()));
        }
        if edits.is_empty() {
            return None;
        }
        edits.sort_unstable_by_key(|(range, _)| range.start);
        Some(Corrected { parts: self.with(edits), shards, others })
    }

    /// The file with `ip` as the address of another node, in parts that follow each other; ports and
    /// all else stay. `None` where it has no line, or that address already.
    pub fn with_ip_of(&self, id: NodeId, ip: IpAddr) -> Option<Vec<Cow<'a, [u8]>>> {
        let old = self.views().find(|view| view.id == id)?.address.ip;
        let new = ip.to_string().into_bytes();
        (old != new).then(|| self.with(vec![(self.range_of(old), new.into())]))
    }

    /// Takes the address `ip` from the other nodes that have it, and the bus port of the own one.
    ///
    /// They cannot be there, since we are. A server that has another node where it is itself connects
    /// to itself and reads its own packet: a master that hears of its successor before that makes
    /// itself a master again by it, in its own table only, while it replicates (`clusterSetNodeAsMaster`
    /// in `clusterProcessPacket`). And the other node then is `noaddr`, see [`NOWHERE`].
    fn others_at(&self, ip: IpAddr) -> impl Iterator<Item = Edit<'a>> {
        let is_there = move |view: &View| {
            view.id != self.own_id
                && view.address.bus_port == self.own_bus_port
                && ip != NOWHERE
                && is_ip(view.address.ip, ip)
        };
        let nowhere = || NOWHERE.to_string().into_bytes().into();
        let others = self.views().filter(is_there);
        others.map(move |view| (self.range_of(view.address.ip), nowhere()))
    }

    /// The file with these edits, in their order.
    fn with(&self, edits: Vec<Edit<'a>>) -> Vec<Cow<'a, [u8]>> {
        let (mut parts, mut end) = (Vec::with_capacity(2 * edits.len() + 1), 0);
        for (range, new) in edits {
            parts.push(Cow::Borrowed(&self.file[end..range.start]));
            parts.push(new);
            end = range.end;
        }
        parts.push(Cow::Borrowed(&self.file[end..]));
        parts
    }

    /// Where in the file a part of it is.
    fn range_of(&self, part: &'a [u8]) -> Range<usize> {
        let start = part.as_ptr().addr() - self.file.as_ptr().addr();
        start..start + part.len()
    }

    /// Where in the file a replica has another shard id than its master, and the master's.
    ///
    /// A server that is killed before a new replica has told it its shard leaves such a file, and
    /// Redis 7.2 and 7.4 and Valkey up to 8.1 then refuse to start on it (Valkey issues 774, 2090
    /// and 2171). Later ones put the replica into its master's shard when they load the file
    /// (`clusterLoadConfig`; Redis pull request 13468, Valkey pull request 2174).
    fn stray_shards(&self) -> Vec<Edit<'a>> {
        if !self.has_shards {
            return Vec::new();
        }
        let shard = |view: View<'a>| Some((view.id, view.address.shard_id()?));
        let masters = self.views().filter(|view| view.master.is_none());
        let mut masters: Vec<(NodeId, &[u8])> = masters.filter_map(shard).collect();
        masters.sort_unstable();
        let stray = |view: View<'a>| {
            let (master, own) = (view.master?, view.address.shard_id()?);
            let at = masters.binary_search_by_key(&master, |(id, _)| *id).ok()?;
            let right = masters[at].1;
            (own != right).then(|| (self.range_of(own), right.into()))
        };
        self.views().filter_map(stray).collect()
    }

    /// The bytes that were read.
    pub fn file(&self) -> &'a [u8] {
        self.file
    }

    /// The same as values of their own.
    pub fn to_nodes_conf(&self) -> NodesConf {
        NodesConf {
            nodes: self.views().map(View::to_node).collect(),
            current_epoch: self.vars.current_epoch.unwrap_or(0),
            last_vote_epoch: self.vars.last_vote_epoch.unwrap_or(0),
            own: self.views().position(|view| view.flags.myself).unwrap_or_default(),
        }
    }

    /// Whether both hold the same nodes, roles, slots, addresses and epochs. Times, link states and
    /// suspicions (`fail?`), which change from save to save, the order of the lines and the own ip,
    /// which is corrected at each start, do not count.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.file == other.file || self.vars == other.vars && self.lasting() == other.lasting()
    }

    /// The nodes by id, without what changes from save to save.
    fn lasting(&self) -> Vec<View<'a>> {
        let mut views: Vec<View> = self.views().collect();
        for view in &mut views {
            (view.ping_sent_ms, view.pong_received_ms, view.connected) = (0, 0, false);
            (view.address_at, view.flags_column, view.flags.pfail) = (0, 0, false);
            if view.flags.myself {
                view.address.ip = b"";
            }
        }
        views.sort_unstable_by_key(|view| view.id);
        views
    }

    /// Why no server left the file like this.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        let is_complete = self.vars.current_epoch.is_some() && self.vars.last_vote_epoch.is_some();
        let no_vars = (!is_complete).then_some(Doubt::NoVars);
        let no_end = (!self.is_ended).then_some(Doubt::NoNewline);
        self.duplicate().or(no_vars).or(no_end)
    }

    /// A node that has two lines.
    fn duplicate(&self) -> Option<Doubt> {
        // Numbers are sorted much faster than ids, and are as different.
        let mut keys: Vec<u64> = self.ids.iter().map(NodeId::last_half).collect();
        keys.sort_unstable();
        if keys.windows(2).all(|pair| pair[0] != pair[1]) {
            return None;
        }
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        let [id, _] = *ids.windows(2).find(|pair| pair[0] == pair[1])? else { return None };
        Some(Doubt::Duplicate { id })
    }
}

impl fmt::Debug for Reading<'_> {
    /// Names the own node only: a file may have a thousand lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({} nodes of {})", self.ids.len(), self.own_id())
    }
}

/// A part of a file, and what comes in its place.
type Edit<'a> = (Range<usize>, Cow<'a, [u8]>);

/// Whether an address as written is this one, in any spelling.
fn is_ip(text: &[u8], ip: IpAddr) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse() == Ok(ip))
}

/// A file to be written.
pub struct Corrected<'a> {
    /// Its bytes, in parts that follow each other.
    pub parts: Vec<Cow<'a, [u8]>>,
    /// How many replicas were put into the shard of their master.
    pub shards: usize,
    /// How many other nodes had the own address.
    pub others: usize,
}

/// What the `vars` lines say.
#[derive(Default, PartialEq)]
struct Vars {
    current_epoch: Option<u64>,
    last_vote_epoch: Option<u64>,
}

impl Vars {
    /// Whether the line is one of variables; if so, remembers those that we know.
    fn read(&mut self, line: &[u8]) -> Result<bool, LineError> {
        if !matches!(line.trim_ascii_start().first(), Some(b'v' | b'V')) {
            return Ok(false);
        }
        let mut fields = Fields::of(line);
        if !fields.take().is_some_and(|name| name.text.eq_ignore_ascii_case(b"vars")) {
            return Ok(false);
        }
        while let Some(name) = fields.take() {
            let no_value = LineError { column: name.column, kind: LineErrorKind::OddVars };
            let value = fields.take().ok_or(no_value)?;
            match name.text.to_ascii_lowercase().as_slice() {
                b"currentepoch" => self.current_epoch = Some(value.read(read_number)?),
                b"lastvoteepoch" => self.last_vote_epoch = Some(value.read(read_number)?),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// A line that holds something.
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    /// Its offset in the file.
    start: usize,
    /// Without its line end and, on an unended line, without the NULs behind it.
    pub(super) text: &'a [u8],
    is_ended: bool,
}

/// The lines that hold something.
pub(super) fn lines(file: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let (mut start, mut number) = (0, 0);
    let pieces = std::iter::from_fn(move || {
        let rest = file.get(start..).filter(|rest| !rest.is_empty())?;
        let end = memchr(b'\n', rest);
        let text = end.map_or_else(|| without_trailing_nuls(rest), |end| &rest[..end]);
        number += 1;
        let line = Line { number, start, text, is_ended: end.is_some() };
        start += end.map_or(rest.len(), |end| end + 1);
        Some(line)
    });
    pieces.filter(|line| !line.text.iter().all(|byte| *byte == 0 || is_blank(*byte)))
}

/// What a file system may put behind the end of a file that was being extended.
fn without_trailing_nuls(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &text[..end]
}

/// Whether the last line that holds something is an ended `vars` line.
pub(super) fn closes_with_vars(file: &[u8]) -> bool {
    lines(file).last().is_some_and(|line| {
        let mut vars = Vars::default();
        line.is_ended && vars.read(line.text) == Ok(true) && vars.last_vote_epoch.is_some()
    })
}

/// A line's error with the line's number.
pub(super) fn at_line(line: usize, LineError { column, kind }: LineError) -> ParseError {
    ParseError::Line { line, column, kind }
}
