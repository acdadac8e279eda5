//! Whole files and whole replies.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;

use super::error::{Doubt, LineError, LineErrorKind, ParseError};
use super::line::{Fields, is_blank, parse_line, read_number};
use super::model::{Node, NodesConf};

/// Reads a `nodes.conf` of any version. Blank lines, trailing NULs, carriage returns, a `vars` line
/// at any place or none, and variables that nobody knows yet are accepted, as servers accept them.
///
/// # Errors
/// The first line that was not understood, or a missing or second `myself`.
pub fn parse(file: &[u8]) -> Result<NodesConf, ParseError> {
    Scan::of(file).map(|scan| scan.conf)
}

/// Reads the reply to `CLUSTER NODES`: lines as in the file, without `vars`, with nodes in handshake.
///
/// # Errors
/// The first line that was not understood.
pub fn parse_reply(reply: impl AsRef<[u8]>) -> Result<Vec<Node>, ParseError> {
    lines(reply.as_ref())
        .map(|line| parse_line(line.text).map_err(|error| at_line(line.number, error)))
        .collect()
}

/// The file with `ip` as the own node's address, and every other byte as it was: the bytes given
/// where the address is right already (also where it is spelled in another way).
///
/// # Errors
/// As [`parse`]: what was not understood in all its lines is not rewritten.
pub fn with_own_ip(file: &[u8], ip: IpAddr) -> Result<Cow<'_, [u8]>, ParseError> {
    let scan = Scan::of(file)?;
    if scan.conf.myself().address.ip.parse() == Ok(ip) {
        return Ok(Cow::Borrowed(file));
    }
    let (before, after) = (&file[..scan.own_ip.start], &file[scan.own_ip.end..]);
    Ok(Cow::Owned([before, ip.to_string().as_bytes(), after].concat()))
}

/// What became of a file, judged by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not one byte: servers take it for a first boot and make up a new id.
    ZeroLength,
    /// Line ends and NULs only, as a power cut may leave. Servers refuse to start on it.
    Padding,
    /// Cut short or mixed up: servers refuse to start on it.
    Torn(ParseError),
    /// Complete to its last line, yet a word of it is unknown: written by a newer server, or damaged.
    Strange(ParseError),
    /// A server loads it, but none leaves it so.
    Doubtful(NodesConf, Doubt),
    /// As a server left it.
    Whole(NodesConf),
}

/// Judges the bytes of a `nodes.conf`.
pub fn assess(file: &[u8]) -> Verdict {
    if file.is_empty() {
        return Verdict::ZeroLength;
    }
    if file.iter().all(|byte| *byte == 0 || is_blank(*byte)) {
        return Verdict::Padding;
    }
    match Scan::of(file) {
        Ok(scan) => match scan.doubt() {
            Some(doubt) => Verdict::Doubtful(scan.conf, doubt),
            None => Verdict::Whole(scan.conf),
        },
        Err(error) if error.is_unknown_word() && closes_with_vars(file) => Verdict::Strange(error),
        Err(error) => Verdict::Torn(error),
    }
}

/// What one pass over a file finds.
struct Scan {
    conf: NodesConf,
    /// Where the own node's ip is in the file.
    own_ip: Range<usize>,
    duplicate: Option<Doubt>,
    /// `currentEpoch` and `lastVoteEpoch` were both there.
    has_vars: bool,
    /// The last line that holds anything has its line end.
    is_ended: bool,
}

impl Scan {
    fn of(file: &[u8]) -> Result<Self, ParseError> {
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
    fn doubt(&self) -> Option<Doubt> {
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
struct Line<'a> {
    /// From 1.
    number: usize,
    /// Its offset in the file.
    start: usize,
    /// Without its line end and, on an unended line, without the NULs behind it.
    text: &'a [u8],
    is_ended: bool,
}

/// The lines that hold something.
fn lines(file: &[u8]) -> impl Iterator<Item = Line<'_>> {
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
fn closes_with_vars(file: &[u8]) -> bool {
    lines(file).last().is_some_and(|line| {
        let mut vars = Vars::default();
        line.is_ended && vars.read(line.text) == Ok(true) && vars.last_vote_epoch.is_some()
    })
}

/// A line's error with the line's number.
fn at_line(line: usize, LineError { column, kind }: LineError) -> ParseError {
    ParseError::Line { line, column, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "07c37dfeb235213a872192d90877d0cd55635b91 10.0.0.1:7000@17000 \
                       myself,master - 0 0 4 connected 0-5460\n";
    const PEER: &str = "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 10.0.0.2:7000@17000 \
                        master - 0 5 2 connected 5461-16383\n";
    const VARS: &str = "vars currentEpoch 6 lastVoteEpoch 3\n";

    #[track_caller]
    fn judged(parts: &[&str]) -> Verdict {
        assess(parts.concat().as_bytes())
    }

    #[track_caller]
    fn refused(parts: &[&str], expected: &str) {
        let error = parse(parts.concat().as_bytes()).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn whole_files_may_be_padded_and_have_any_order_and_line_ends() {
        let windows = [OWN, PEER, VARS].concat().replace('\n', "\r\n");
        let table: [&[&str]; 6] = [
            &[OWN, VARS],
            &[VARS, PEER, OWN],
            &["\n", OWN, "\n \n", PEER, VARS, "\n\n\n"],
            &[OWN, VARS, "\0\0\0\0"],
            &[OWN, "vars currentEpoch 6 moonPhase full lastVoteEpoch 3\n"],
            &[&windows],
        ];
        for parts in table {
            let Verdict::Whole(conf) = judged(parts) else { panic!("{parts:?}") };
            assert_eq!((conf.current_epoch, conf.last_vote_epoch), (6, 3), "{parts:?}");
            assert!(conf.myself().flags.myself, "{parts:?}");
        }
    }

    #[test]
    fn files_that_load_but_that_no_server_leaves_are_doubtful() {
        let id = parse_line(PEER.as_bytes()).expect("a node").id;
        let table: [(&[&str], Doubt); 5] = [
            (&[OWN], Doubt::NoVars),
            (&[OWN, "vars currentEpoch 6\n"], Doubt::NoVars),
            (&[OWN, VARS.trim_end()], Doubt::NoNewline),
            (&[VARS, OWN.trim_end(), "\0\0"], Doubt::NoNewline),
            (&[PEER, OWN, PEER, VARS], Doubt::Duplicate { line: 3, id }),
        ];
        for (parts, expected) in table {
            let Verdict::Doubtful(_, doubt) = judged(parts) else { panic!("{parts:?}") };
            assert_eq!(doubt, expected, "{parts:?}");
        }
    }

    #[test]
    fn unknown_word_is_strange_in_a_complete_file_and_a_tear_in_another() {
        let strange = PEER.replace("master", "witness");
        assert!(matches!(judged(&[OWN, &strange, VARS]), Verdict::Strange(_)));
        assert!(matches!(judged(&[OWN, &strange]), Verdict::Torn(_)));
        assert!(matches!(
            judged(&[OWN, &PEER.replace("master", "ma\0\0er"), VARS]),
            Verdict::Torn(_)
        ));
    }

    #[test]
    fn errors_name_line_and_column() {
        refused(&[PEER, VARS], "line 2, column 1: the file ends and no line has the flag myself");
        refused(
            &[OWN, PEER, OWN],
            "line 3, column 62: a second line has the flag myself, after line 1",
        );
        refused(
            &[OWN, "vars currentEpoch 6 lastVoteEpoch\n"],
            "line 2, column 21: the vars line has a name without a value",
        );
        refused(
            &[OWN, "vars currentEpoch six\n"],
            "line 2, column 19: \"six\" is not a whole number",
        );
        refused(
            &["# by hand\n", OWN],
            "line 1, column 10: the line has 3 fields, and a node has 8 at least",
        );
    }

    #[test]
    fn address_spelled_another_way_is_right_already() {
        let file = OWN.replace("10.0.0.1", "fd00:0:0::1");
        let same = with_own_ip(file.as_bytes(), "fd00::1".parse().expect("an address"));
        assert!(matches!(same, Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn empty_ip_and_host_name_are_replaced() {
        for before in ["", "pod-0.redis.svc", "fd00:1::2"] {
            let file = [PEER, &OWN.replace("10.0.0.1", before), VARS].concat();
            let new = with_own_ip(file.as_bytes(), "10.0.0.1".parse().expect("an address"));
            assert_eq!(new.expect("whole").as_ref(), [PEER, OWN, VARS].concat().as_bytes());
        }
    }

    #[test]
    fn files_that_differ_in_times_and_own_ip_say_the_same() {
        let one = parse([OWN, PEER, VARS].concat().as_bytes()).expect("whole");
        let moved = OWN.replace("10.0.0.1", "10.0.0.9");
        let later = PEER.replace("0 5 2 connected", "7 6 2 disconnected");
        let same = parse([&later, &moved, VARS].concat().as_bytes()).expect("whole");
        assert!(one.says_the_same_as(&same));
        let other = parse([OWN, &PEER.replace("10.0.0.2", "10.0.0.3"), VARS].concat().as_bytes());
        assert!(!one.says_the_same_as(&other.expect("whole")));
    }
}
