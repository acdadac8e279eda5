//! One node's line.

use super::error::{LineError, LineErrorKind, excerpt};
use super::model::{Address, Flags, Node, NodeId};
use super::slots;

/// The longest ip that a server has room for (`NET_IP_STR_LEN` without its closing NUL).
const LONGEST_IP: usize = 45;

/// Reads one line of `nodes.conf` or of the `CLUSTER NODES` reply, with or without its line end.
///
/// # Errors
/// The first field that no server would have written, and its column.
pub fn parse_line(line: &[u8]) -> Result<Node, LineError> {
    let mut fields = Fields::of(line);
    let (id, address, flags, master) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (ping, pong, epoch, link) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let mut node = Node {
        id: id.read(NodeId::from_bytes)?,
        address: address.read(read_address)?,
        flags: flags.read(read_flags)?,
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
        slots: Vec::new(),
        migrating: Vec::new(),
        importing: Vec::new(),
    };
    while let Some(field) = fields.take() {
        field.read(|text| slots::read_into(text, &mut node))?;
    }
    Ok(node)
}

/// The fields of a line, split at blanks as the loader's `sdssplitargs` does.
pub(super) struct Fields<'a> {
    line: &'a [u8],
    at: usize,
    taken: usize,
}

/// One field and where it begins.
#[derive(Clone, Copy)]
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
        let rest = &self.line[self.at..];
        let start = self.at + rest.iter().position(|byte| !is_blank(*byte))?;
        let rest = &self.line[start..];
        let length = rest.iter().position(|byte| is_blank(*byte)).unwrap_or(rest.len());
        self.at = start + length;
        self.taken += 1;
        Some(Field { text: &rest[..length], column: start + 1 })
    }

    /// The next of the fields that every line has.
    fn next(&mut self) -> Result<Field<'a>, LineError> {
        self.take().ok_or(LineError {
            column: self.line.len() + 1,
            kind: LineErrorKind::TooFewFields(self.taken),
        })
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

/// What separates fields, and what a line may end in (a line from Windows has a carriage return).
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

/// A number in decimal digits.
pub(super) fn read_number(text: &[u8]) -> Result<u64, LineErrorKind> {
    let digits = std::str::from_utf8(text).ok().filter(|digits| !digits.starts_with('+'));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| LineErrorKind::NotANumber(excerpt(text)))
}

/// The flags, separated by commas. Capitals are read as the loader reads them (`strcasecmp`).
fn read_flags(text: &[u8]) -> Result<Flags, LineErrorKind> {
    let mut flags = Flags::default();
    for word in text.split(|byte| *byte == b',') {
        match word.to_ascii_lowercase().as_slice() {
            b"myself" => flags.myself = true,
            b"master" | b"primary" => flags.master = true,
            b"slave" | b"replica" => flags.replica = true,
            b"fail?" => flags.pfail = true,
            b"fail" => flags.fail = true,
            b"handshake" => flags.handshake = true,
            b"noaddr" => flags.noaddr = true,
            b"nofailover" => flags.nofailover = true,
            b"noflags" => {}
            _ => return Err(LineErrorKind::UnknownFlag(excerpt(word))),
        }
    }
    Ok(flags)
}

/// The length of the ip at the start of an address token: all before the last colon of the part
/// that ends at the first comma, for IPv6 has colons too, and so may auxiliary fields.
fn ip_length(token: &[u8]) -> Option<usize> {
    let end = token.iter().position(|byte| *byte == b',').unwrap_or(token.len());
    token[..end].iter().rposition(|byte| *byte == b':')
}

/// The address token of any version.
fn read_address(token: &[u8]) -> Result<Address, LineErrorKind> {
    let not_an_address = || LineErrorKind::NotAnAddress(excerpt(token));
    if let Some(stray) = token.iter().find(|byte| !byte.is_ascii_graphic() || b"\"'".contains(byte))
    {
        return Err(LineErrorKind::StrayByte(excerpt(&[*stray])));
    }
    let text = std::str::from_utf8(token).map_err(|_| not_an_address())?;
    let (ip, rest) = text.split_at(ip_length(token).ok_or_else(not_an_address)?);
    if ip.len() > LONGEST_IP {
        return Err(LineErrorKind::LongIp(excerpt(token)));
    }
    let mut parts = rest[1..].split(',');
    let ports = parts.next().unwrap_or_default();
    let (port, bus_port) = read_ports(ports).ok_or_else(not_an_address)?;
    let hostname = parts.next().filter(|name| !name.is_empty()).map(str::to_owned);
    let aux = parts
        .map(|part| match part.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(LineErrorKind::NotAnAuxField(excerpt(part.as_bytes()))),
        })
        .collect::<Result<_, _>>()?;
    Ok(Address { ip: ip.to_owned(), port, bus_port, hostname, aux })
}

/// `port@bus-port`, or the `port` alone that 3.x servers wrote.
fn read_ports(text: &str) -> Option<(u16, u16)> {
    let number = |digits: &str| read_number(digits.as_bytes()).ok()?.try_into().ok();
    match text.split_once('@') {
        Some((port, bus_port)) => Some((number(port)?, number(bus_port)?)),
        None => number(text).and_then(|port: u16| Some((port, port.checked_add(10000)?))),
    }
}
