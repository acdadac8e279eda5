//! One pass over a file's lines.

use std::collections::HashSet;
use std::ops::Range;

use super::error::{Doubt, LineError, LineErrorKind, ParseError};
use super::line::{Fields, is_blank, parse_line, read_number};
use super::model::NodesConf;

/// What one pass over a file finds.
pub(super) struct Scan {
    pub(super) conf: NodesConf,
    /// Where the own node's ip is in the file.
    pub(super) own_ip: Range<usize>,
    duplicate: Option<Doubt>,
    /// `currentEpoch` and `lastVoteEpoch` were both there.
    has_vars: bool,
    /// The last line that holds anything has its line end.
    is_ended: bool,
}

impl Scan {
    pub(super) fn of(file: &[u8]) -> Result<Self, ParseError> {
        let mut nodes = Vec::new();
        let mut own: Option<(usize, usize, Range<usize>)> = None;
        let mut vars = Vars::default();
        let mut seen = HashSet::new();
        let mut duplicate = None;
        let (mut last_line, mut is_ended) = (1, false);
        for line in lines(file) {
            (last_line, is_ended) = (line.number, line.is_ended);
            if vars.read(line.text).map_err(|error| at_line(line.number, error))? {
                continue;
            }
            let node = parse_line(line.text).map_err(|error| at_line(line.number, error))?;
            if node.flags.myself {
                let (start, flags_column) = second_and_third_field(line.text);
                if let Some((_, first, _)) = own {
                    let column = flags_column;
                    return Err(ParseError::TwoMyself { first, line: line.number, column });
                }
                let start = line.start + start;
                own = Some((nodes.len(), line.number, start..start + node.address.ip.len()));
            }
            if !seen.insert(node.id) && duplicate.is_none() {
                duplicate = Some(Doubt::Duplicate { line: line.number, id: node.id });
            }
            nodes.push(node);
        }
        let (own, _, own_ip) = own.ok_or(ParseError::NoMyself { line: last_line })?;
        let (current_epoch, last_vote_epoch) = (vars.current_epoch, vars.last_vote_epoch);
        let conf = NodesConf {
            nodes,
            current_epoch: current_epoch.unwrap_or(0),
            last_vote_epoch: last_vote_epoch.unwrap_or(0),
            own,
        };
        let has_vars = current_epoch.is_some() && last_vote_epoch.is_some();
        Ok(Self { conf, own_ip, duplicate, has_vars, is_ended })
    }

    /// Why no server left the file like this.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        let no_vars = (!self.has_vars).then_some(Doubt::NoVars);
        let no_end = (!self.is_ended).then_some(Doubt::NoNewline);
        self.duplicate.or(no_vars).or(no_end)
    }
}

/// Where the address begins, as an offset, and where the flags begin, as a column.
fn second_and_third_field(line: &[u8]) -> (usize, usize) {
    let mut fields = Fields::of(line);
    let mut column = || fields.take().map_or(1, |field| field.column);
    let (_, address, flags) = (column(), column(), column());
    (address - 1, flags)
}

/// What the `vars` lines say.
#[derive(Default)]
struct Vars {
    current_epoch: Option<u64>,
    last_vote_epoch: Option<u64>,
}

impl Vars {
    /// Whether the line is one of variables; if so, remembers those that we know.
    fn read(&mut self, line: &[u8]) -> Result<bool, LineError> {
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
    let mut start = 0;
    let pieces =
        file.split_inclusive(|byte| *byte == b'\n').enumerate().map(move |(index, piece)| {
            let (text, is_ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (without_trailing_nuls(piece), false),
            };
            let line = Line { number: index + 1, start, text, is_ended };
            start += piece.len();
            line
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
