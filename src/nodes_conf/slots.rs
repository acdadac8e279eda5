//! The slots at the end of a line.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::LAST_SLOT;
use super::error::{LineErrorKind, excerpt};
use super::line::read_number;
use super::model::{Node, NodeId, SlotRange};

/// An open slot: `[93->-<id>]` moves out, `[77-<-<id>]` moves in. Rare enough to be compiled only
/// where a file has one.
static OPEN_SLOT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?-u)^\[([0-9]{1,5})-([<>])-([0-9a-f]{40})\]$").ok());

/// Adds what one token says to the slots of `node`.
pub(super) fn read_into(token: &[u8], node: &mut Node) -> Result<(), LineErrorKind> {
    if token.starts_with(b"[") {
        let (slot, out, peer) = read_open(token)?;
        if out { node.migrating.push((slot, peer)) } else { node.importing.push((slot, peer)) }
    } else {
        node.slots.push(read_range(token)?);
    }
    Ok(())
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
