//! Why a line or a file was not understood, and where.

use super::model::NodeId;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineErrorKind {
    /// The line ends before its eighth field.
    #[error("the line has {0} fields, and a node has 8 at least")]
    TooFewFields(usize),
    /// Where a node id belongs.
    #[error("{0} is not a node id of 40 lower-case hexadecimal digits")]
    NotAnId(String),
    /// The second field.
    #[error("{0} is not an address of the form ip:port@bus-port")]
    NotAnAddress(String),
    /// The second field's ip; servers overrun their memory reading such a one.
    #[error("the ip of {0} is longer than 45 characters")]
    LongIp(String),
    /// The second field, after its port.
    #[error("{0} is not an auxiliary field of the form name=value")]
    NotAnAuxField(String),
    /// The third field.
    #[error("{0} is not a flag that any server writes")]
    UnknownFlag(String),
    /// A time or an epoch.
    #[error("{0} is not a whole number")]
    NotANumber(String),
    /// The eighth field.
    #[error("{0} is neither connected nor disconnected")]
    NotALinkState(String),
    /// The ninth field or a later one.
    #[error("{0} is not a slot, a range of slots or an open slot")]
    NotSlots(String),
    /// A slot number.
    #[error("slot {0} is above 16383")]
    SlotTooHigh(u64),
    /// Quotes, bytes beyond ASCII, and control characters: no server writes them.
    #[error("the line holds {0}, which no server writes there")]
    StrayByte(String),
    /// A `vars` line.
    #[error("the vars line has a name without a value")]
    OddVars,
}

/// A line that was not understood. Columns count bytes, from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {kind}")]
pub struct LineError {
    /// Where the field begins that was not understood.
    pub column: usize,
    /// What is wrong with it.
    pub kind: LineErrorKind,
}

/// A file or a reply that was not understood. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A line is wrong.
    #[error("line {line}, column {column}: {kind}")]
    Line {
        /// Its number.
        line: usize,
        /// Where the field begins that was not understood, in bytes, from 1.
        column: usize,
        /// What is wrong with it.
        kind: LineErrorKind,
    },
    /// Nothing says which node the file belongs to.
    #[error("line {line}, column 1: the file ends and no line has the flag myself")]
    NoMyself {
        /// The number of the last line.
        line: usize,
    },
    /// Two lines claim to be the own node.
    #[error("line {line}, column {column}: a second line has the flag myself, after line {first}")]
    TwoMyself {
        /// The first of them.
        first: usize,
        /// The second of them.
        line: usize,
        /// Where the second one's flags begin.
        column: usize,
    },
}

impl ParseError {
    /// Whether the trouble is one well-formed word that no server up to Redis 8.6 and Valkey 9.1
    /// writes, as against damage.
    pub(super) fn is_unknown_word(&self) -> bool {
        let Self::Line { kind, .. } = self else { return false };
        let (LineErrorKind::UnknownFlag(word) | LineErrorKind::NotALinkState(word)) = kind else {
            return false;
        };
        let letters = word.trim_matches('"');
        !letters.is_empty()
            && letters.bytes().all(|byte| byte.is_ascii_lowercase() || b"?_-".contains(&byte))
    }
}

/// Why a file that a server would load was hardly left so by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Servers write this line last, so without it the end is missing.
    #[error("the closing vars line is missing or cut short")]
    NoVars,
    /// Servers end every line.
    #[error("the last line is cut short")]
    NoNewline,
    /// Parts of two versions of the file follow each other.
    #[error("node {id} has two lines")]
    Duplicate {
        /// The node.
        id: NodeId,
    },
}

/// At most 64 characters of something that was not understood, in quotes and printable.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let cut = if bytes.len() > 64 { "..." } else { "" };
    format!("\"{}{cut}\"", bytes[..bytes.len().min(64)].escape_ascii())
}
