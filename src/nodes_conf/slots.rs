//! The slots at the end of a line.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::LAST_SLOT;
use super::error::{LineErrorKind, excerpt};
use super::line::read_number;
use super::model::{NodeId, SlotRange};

/// An open slot: `[93->-<id>]` moves out, `[77-<-<id>]` moves in. Rare enough to be compiled only
/// where a file has one.
static OPEN_SLOT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?-u)^\[([0-9]{1,5})-([<>])-([0-9a-f]{40})\]$").ok());

/// One field of the ninth and later.
pub(super) enum Token {
    Range(SlotRange),
    Migrating(u16, NodeId),
    Importing(u16, NodeId),
}

/// Reads one field.
pub(super) fn read(token: &[u8]) -> Result<Token, LineErrorKind> {
    if !token.starts_with(b"[") {
        return read_range(token).map(Token::Range);
    }
    let (slot, out, peer) = read_open(token)?;
    Ok(if out { Token::Migrating(slot, peer) } else { Token::Importing(slot, peer) })
}

/// The slot, whether it moves out, and the node at the other end.
fn read_open(token: &[u8]) -> Result<(u16, bool, NodeId), LineErrorKind> {
    let found = OPEN_SLOT.as_ref().and_then(|open| open.captures(token)).map(|c| c.extract());
    let (_, [slot, arrow, peer]) = found.ok_or_else(|| LineErrorKind::NotSlots(excerpt(token)))?;
    Ok((read_slot(slot, token)?, arrow == b">", NodeId::from_bytes(peer)?))
}

/// `7` or `0-5460`.
fn read_range(token: &[u8]) -> Result<SlotRange, LineErrorKind> {
    let dash = token.iter().position(|byte| *byte == b'-');
    let (first, last) = dash.map_or((token, token), |at| (&token[..at], &token[at + 1..]));
    let range = SlotRange { first: read_slot(first, token)?, last: read_slot(last, token)? };
    if range.first > range.last {
        return Err(LineErrorKind::NotSlots(excerpt(token)));
    }
    Ok(range)
}

/// One slot number out of `token`.
fn read_slot(digits: &[u8], token: &[u8]) -> Result<u16, LineErrorKind> {
    let number = read_number(digits).map_err(|_| LineErrorKind::NotSlots(excerpt(token)))?;
    match u16::try_from(number) {
        Ok(slot) if slot <= LAST_SLOT => Ok(slot),
        _ => Err(LineErrorKind::SlotTooHigh(number)),
    }
}
