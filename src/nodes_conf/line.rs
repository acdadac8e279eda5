//! One node's line.

use memchr::{memchr, memrchr};

use super::error::{LineError, LineErrorKind, excerpt};
use super::model::{Address, Flags, Node, NodeId};
use super::slots::{self, Token};

/// The longest ip that a server has room for (`NET_IP_STR_LEN` without its closing NUL).
const LONGEST_IP: usize = 45;

/// Reads one line of `nodes.conf` or of the `CLUSTER NODES` reply, with or without its line end.
///
/// # Errors
/// The first field that no server would have written, and its column.
pub fn parse_line(line: &[u8]) -> Result<Node, LineError> {
    View::of(line).map(|view| view.to_node())
}

/// A line that was understood, its text still where it was. A file of a thousand nodes is checked
/// at each start, and most of the time that took went into copies that nobody looked at.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct View<'a> {
    pub(super) id: NodeId,
    pub(super) address: AddressView<'a>,
    /// Where the address begins in the line.
    pub(super) address_at: usize,
    pub(super) flags: Flags,
    /// The first word among the flags that is none.
    unknown_flag: Option<&'a [u8]>,
    /// The column of the flags.
    pub(super) flags_column: usize,
    pub(super) master: Option<NodeId>,
    pub(super) ping_sent_ms: u64,
    pub(super) pong_received_ms: u64,
    config_epoch: u64,
    pub(super) connected: bool,
    /// The ninth field and all after it.
    slots: &'a [u8],
}

/// The address token in its parts, all of them ASCII.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct AddressView<'a> {
    pub(super) ip: &'a [u8],
    port: u16,
    pub(super) bus_port: u16,
    hostname: &'a [u8],
    /// All behind the second comma.
    aux: Option<&'a [u8]>,
}

impl<'a> View<'a> {
    /// A line of a file: what is not understood in all its words is not rewritten.
    pub(super) fn of(line: &'a [u8]) -> Result<Self, LineError> {
        let view = Self::of_reply(line)?;
        match view.unknown_flag {
            Some(word) => {
                let kind = LineErrorKind::UnknownFlag(excerpt(word));
                Err(LineError { column: view.flags_column, kind })
            }
            None => Ok(view),
        }
    }

    /// A line of a reply, which is only read: a flag that a later version invents is passed over,
    /// for a keeper that sees nothing any more would be worse than one that does not see this.
    pub(super) fn of_reply(line: &'a [u8]) -> Result<Self, LineError> {
        let mut fields = Fields::of(line);
        let [id, address, flags, master, ping, pong, epoch, link] = fields.take_all()?;
        let (known, unknown_flag) = read_flags(flags.text);
        let view = Self {
            id: id.read(NodeId::from_bytes)?,
            address: address.read(read_address)?,
            address_at: address.column - 1,
            flags: known,
            unknown_flag,
            flags_column: flags.column,
            master: master.read(|text| match text {
                b"-" => Ok(None),
                id => NodeId::from_bytes(id).map(Some),
            })?,
            ping_sent_ms: ping.read(read_number)?,
            pong_received_ms: pong.read(read_number)?,
            config_epoch: epoch.read(read_number)?,
            connected: link.read(|text| match text {
                b"connected" => Ok(true),
                b"disconnected" => Ok(false),
                other => Err(LineErrorKind::NotALinkState(excerpt(other))),
            })?,
            slots: &line[fields.at..],
        };
        while let Some(field) = fields.take() {
            field.read(slots::read)?;
        }
        Ok(view)
    }

    /// The same as a value of its own.
    pub(super) fn to_node(self) -> Node {
        let mut node = Node {
            id: self.id,
            address: self.address.to_address(),
            flags: self.flags,
            master: self.master,
            ping_sent_ms: self.ping_sent_ms,
            pong_received_ms: self.pong_received_ms,
            config_epoch: self.config_epoch,
            connected: self.connected,
            slots: Vec::new(),
            migrating: Vec::new(),
            importing: Vec::new(),
        };
        let mut fields = Fields::of(self.slots);
        while let Some(Ok(token)) = fields.take().map(|field| slots::read(field.text)) {
            match token {
                Token::Range(range) => node.slots.push(range),
                Token::Migrating(slot, to) => node.migrating.push((slot, to)),
                Token::Importing(slot, from) => node.importing.push((slot, from)),
            }
        }
        node
    }
}

impl<'a> AddressView<'a> {
    /// The shard that the node is in (Redis 7.2 and later, Valkey); `None` too for what is no id.
    pub(super) fn shard_id(&self) -> Option<&'a [u8]> {
        let mut parts = self.aux?.split(|byte| *byte == b',');
        let shard = parts.find_map(|part| part.strip_prefix(b"shard-id="))?;
        NodeId::from_bytes(shard).ok().map(|_| shard)
    }

    fn to_address(self) -> Address {
        let text = |ascii: &[u8]| String::from_utf8_lossy(ascii).into_owned();
        let aux = self.aux.into_iter().flat_map(|aux| aux.split(|byte| *byte == b','));
        let aux = aux.filter_map(|part| split_once(part, b'='));
        Address {
            ip: text(self.ip),
            port: self.port,
            bus_port: self.bus_port,
            hostname: (!self.hostname.is_empty()).then(|| text(self.hostname)),
            aux: aux.map(|(name, value)| (text(name), text(value))).collect(),
        }
    }
}

/// The fields of a line, split at blanks as the loader's `sdssplitargs` does.
pub(super) struct Fields<'a> {
    line: &'a [u8],
    at: usize,
    taken: usize,
}

/// One field and where it begins.
#[derive(Clone, Copy, Default)]
pub(super) struct Field<'a> {
    pub(super) text: &'a [u8],
    pub(super) column: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        Self { line, at: 0, taken: 0 }
    }

    /// The next field, if the line has another.
    pub(super) fn take(&mut self) -> Option<Field<'a>> {
        let mut start = self.at;
        while start < self.line.len() && is_blank(self.line[start]) {
            start += 1;
        }
        let mut end = start + printable(&self.line[start..]);
        // Other control characters do not end a field.
        while end < self.line.len() && !is_blank(self.line[end]) {
            end += 1;
        }
        if start == end {
            return None;
        }
        self.at = end;
        self.taken += 1;
        Some(Field { text: &self.line[start..end], column: start + 1 })
    }

    /// The fields that every line has.
    fn take_all<const N: usize>(&mut self) -> Result<[Field<'a>; N], LineError> {
        let mut fields = [Field::default(); N];
        for field in &mut fields {
            let Some(next) = self.take() else {
                let kind = LineErrorKind::TooFewFields(self.taken);
                return Err(LineError { column: self.line.len() + 1, kind });
            };
            *field = next;
        }
        Ok(fields)
    }
}

impl<'a> Field<'a> {
    /// What `reader` makes of the field; its error gets the field's column.
    pub(super) fn read<T>(
        self,
        reader: impl FnOnce(&'a [u8]) -> Result<T, LineErrorKind>,
    ) -> Result<T, LineError> {
        reader(self.text).map_err(|kind| LineError { column: self.column, kind })
    }
}

/// How many bytes come before the first space or control character. Looks at eight at a time, as
/// every byte of a file passes here.
fn printable(text: &[u8]) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let (words, rest) = text.as_chunks();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest bit is exact: a borrow goes upwards only.
        let found = word.wrapping_sub(EACH * 0x21) & !word & (EACH * 0x80);
        if found != 0 {
            return number * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let found = rest.iter().position(|byte| *byte <= b' ');
    words.len() * 8 + found.unwrap_or(rest.len())
}

/// What separates fields, and what a line may end in (a line from Windows has a carriage return).
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

/// A number in decimal digits.
pub(super) fn read_number(text: &[u8]) -> Result<u64, LineErrorKind> {
    let number = text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(digit.into()) }
    });
    let number = number.filter(|_| !text.is_empty());
    number.ok_or_else(|| LineErrorKind::NotANumber(excerpt(text)))
}

/// The flags, separated by commas, and the first word that is none. Capitals are read as the loader
/// reads them (`strcasecmp`).
fn read_flags(text: &[u8]) -> (Flags, Option<&[u8]>) {
    let (mut flags, mut unknown) = (Flags::default(), None);
    for word in text.split(|byte| *byte == b',') {
        if !set_flag(&mut flags, word) && !set_flag(&mut flags, &word.to_ascii_lowercase()) {
            unknown = unknown.or(Some(word));
        }
    }
    (flags, unknown)
}

/// Whether the word is a flag; sets it.
fn set_flag(flags: &mut Flags, word: &[u8]) -> bool {
    match word {
        b"myself" => flags.myself = true,
        b"master" | b"primary" => flags.master = true,
        b"slave" | b"replica" => flags.replica = true,
        b"fail?" => flags.pfail = true,
        b"fail" => flags.fail = true,
        b"handshake" => flags.handshake = true,
        b"noaddr" => flags.noaddr = true,
        b"nofailover" => flags.nofailover = true,
        b"noflags" => {}
        _ => return false,
    }
    true
}

/// The length of the ip at the start of an address token: all before the last colon of the part
/// that ends at the first comma, for IPv6 has colons too, and so may auxiliary fields.
fn ip_length(token: &[u8]) -> Option<usize> {
    let end = memchr(b',', token).unwrap_or(token.len());
    memrchr(b':', &token[..end])
}

/// What is before the first `separator` and what is after it.
fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    memchr(separator, text).map(|at| (&text[..at], &text[at + 1..]))
}

/// The address token of any version.
fn read_address(token: &[u8]) -> Result<AddressView<'_>, LineErrorKind> {
    let not_an_address = || LineErrorKind::NotAnAddress(excerpt(token));
    if let Some(stray) = token.iter().find(|byte| !WRITTEN_IN_ADDRESSES[usize::from(**byte)]) {
        return Err(LineErrorKind::StrayByte(excerpt(&[*stray])));
    }
    let (ip, rest) = token.split_at(ip_length(token).ok_or_else(not_an_address)?);
    if ip.len() > LONGEST_IP {
        return Err(LineErrorKind::LongIp(excerpt(token)));
    }
    let (ports, names) = split_once(&rest[1..], b',').unwrap_or((&rest[1..], b""));
    let (port, bus_port) = read_ports(ports).ok_or_else(not_an_address)?;
    let (hostname, aux) = match split_once(names, b',') {
        Some((hostname, aux)) => (hostname, Some(aux)),
        None => (names, None),
    };
    let mut rest = aux;
    while let Some(text) = rest {
        let part;
        (part, rest) =
            split_once(text, b',').map_or((text, None), |(part, rest)| (part, Some(rest)));
        if memchr(b'=', part).is_none_or(|at| at == 0) {
            return Err(LineErrorKind::NotAnAuxField(excerpt(part)));
        }
    }
    Ok(AddressView { ip, port, bus_port, hostname, aux })
}

/// Which bytes an address may hold: printable ones, and no quote, for the loader would join quoted
/// words. A table, as each byte of a file with many names is looked up.
static WRITTEN_IN_ADDRESSES: [bool; 256] = {
    let mut written = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        written[byte as usize] = byte != b'"' && byte != b'\'';
        byte += 1;
    }
    written
};

/// `port@bus-port`, or the `port` alone that 3.x servers wrote.
fn read_ports(text: &[u8]) -> Option<(u16, u16)> {
    let number = |digits: &[u8]| read_number(digits).ok()?.try_into().ok();
    match split_once(text, b'@') {
        Some((port, bus_port)) => Some((number(port)?, number(bus_port)?)),
        None => number(text).and_then(|port: u16| Some((port, port.checked_add(10000)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "07c37dfeb235213a872192d90877d0cd55635b91";

    /// A line with `field` in the place of the field with this number, from 0.
    fn with(number: usize, field: &str) -> String {
        let mut fields =
            [ID, "127.0.0.1:7000@17000", "master", "-", "0", "1426238317239", "4", "connected"];
        fields[number] = field;
        fields.join(" ")
    }

    #[track_caller]
    fn address(token: &str) -> Address {
        parse_line(with(1, token).as_bytes()).expect("an address").address
    }

    #[track_caller]
    fn refused(line: &str, column: usize, expected: &str) {
        let error = parse_line(line.as_bytes()).expect_err("refused");
        assert_eq!((error.column, error.kind.to_string().as_str()), (column, expected));
    }

    #[test]
    fn addresses_of_every_version_are_read() {
        let table = [
            ("10.0.0.1:7000", "10.0.0.1", 7000, 17000, None),
            (":0", "", 0, 10000, None),
            (":0@0", "", 0, 0, None),
            (":7000@17000", "", 7000, 17000, None),
            ("10.0.0.1:7000@17001", "10.0.0.1", 7000, 17001, None),
            ("10.0.0.1:7000@17000,pod-0.svc", "10.0.0.1", 7000, 17000, Some("pod-0.svc")),
            ("fd00:1::2:7000@17000", "fd00:1::2", 7000, 17000, None),
            ("::ffff:10.0.0.1:7000@17000,", "::ffff:10.0.0.1", 7000, 17000, None),
            ("pod-0.svc:7000@17000,,tls-port=0", "pod-0.svc", 7000, 17000, None),
            ("10.0.0.1:7000@17000,h,client-ipv6=::1", "10.0.0.1", 7000, 17000, Some("h")),
        ];
        for (token, ip, port, bus_port, hostname) in table {
            let found = address(token);
            assert_eq!((found.ip.as_str(), found.port, found.bus_port), (ip, port, bus_port));
            assert_eq!(found.hostname.as_deref(), hostname, "{token}");
        }
    }

    #[test]
    fn auxiliary_fields_nobody_knows_yet_are_kept_in_order() {
        let found = address("10.0.0.1:7000@17000,,tls-port=0,moon=full=1,shard-id=ab");
        let fields: Vec<_> = found.aux.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(fields, [("tls-port", "0"), ("moon", "full=1"), ("shard-id", "ab")]);
        assert_eq!(found.aux("shard-id"), Some("ab"));
    }

    #[test]
    fn words_of_both_families_and_of_any_case_are_read() {
        for word in ["slave", "replica", "SLAVE"] {
            let node = parse_line(with(2, &format!("{word},fail?,nofailover")).as_bytes());
            let flags = node.expect("flags").flags;
            assert!(flags.replica && flags.pfail && flags.nofailover && !flags.fail, "{word}");
        }
        assert!(parse_line(with(2, "primary").as_bytes()).expect("flags").flags.master);
        let none = parse_line(with(2, "noflags").as_bytes()).expect("flags").flags;
        assert_eq!(none, Flags::default());
    }

    #[test]
    fn slots_are_read() {
        let line = with(7, &format!("connected 0-5460 7 [93->-{ID}] [16383-<-{ID}]"));
        let node = parse_line(line.as_bytes()).expect("slots");
        let slots: Vec<_> = node.slots.iter().map(ToString::to_string).collect();
        let id = ID.parse().expect("an id");
        assert_eq!(slots, ["0-5460", "7"]);
        assert_eq!((node.migrating, node.importing), (vec![(93, id)], vec![(16383, id)]));
    }

    #[test]
    fn id_is_shown_as_written() {
        let id: NodeId = ID.parse().expect("an id");
        assert_eq!((id.to_string(), format!("{id:?}")), (ID.to_owned(), ID.to_owned()));
        assert_eq!(serde_json::to_string(&id).expect("json"), format!("\"{ID}\""));
    }

    #[test]
    fn what_no_server_writes_is_refused_at_its_column() {
        let long = format!("{}:7000@17000", "a".repeat(46));
        let table = [
            (0, "07C37DFEB235213A872192D90877D0CD55635B91", 1, "is not a node id of 40 lower"),
            (0, "07c3", 1, "\"07c3\" is not a node id"),
            (1, "127.0.0.1", 42, "is not an address of the form ip:port@bus-port"),
            (1, "127.0.0.1:70000@1", 42, "is not an address"),
            (1, "127.0.0.1:+700@1", 42, "is not an address"),
            (1, "127.0.0.1:7000@", 42, "is not an address"),
            (1, "127.0.0.1:60000", 42, "is not an address"),
            (1, "127.0.0.1:7000@1,h,shard-id", 42, "is not an auxiliary field"),
            (1, "\"127.0.0.1:7000@17000\"", 42, "which no server writes there"),
            (1, &long, 42, "is longer than 45 characters"),
            (2, "master,witness", 63, "\"witness\" is not a flag that any server writes"),
            (3, "--", 70, "is not a node id"),
            (4, "-1", 72, "\"-1\" is not a whole number"),
            (6, "18446744073709551616", 88, "is not a whole number"),
            (7, "conn", 90, "is neither connected nor disconnected"),
            (7, "connected 16384", 100, "slot 16384 is above 16383"),
            (7, "connected 5-4", 100, "\"5-4\" is not a slot, a range"),
            (7, "connected 5-", 100, "\"5-\" is not a slot"),
            (7, "connected [5-->-x]", 100, "is not a slot"),
        ];
        for (number, field, column, expected) in table {
            let line = with(number, field);
            let error = parse_line(line.as_bytes()).expect_err(field);
            assert_eq!(error.column, column, "{line}");
            assert!(error.kind.to_string().contains(expected), "{line}: {}", error.kind);
        }
    }

    #[test]
    fn line_that_ends_early_is_refused_at_its_end() {
        refused("", 1, "the line has 0 fields, and a node has 8 at least");
        refused(&format!("{ID} :0"), 44, "the line has 2 fields, and a node has 8 at least");
    }
}
