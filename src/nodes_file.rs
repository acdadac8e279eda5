//! `nodes.conf` on disk: a lock of our own, the own address corrected, a torn file put back.
//!
//! # What a kill or a power cut can leave
//! A new content is written to `nodes.conf.rejoin-tmp` and synced, the present file is kept as
//! `nodes.conf.bak`, then the new one is renamed into place and the directory synced. So at any
//! moment `nodes.conf` is the old file or the new one, and `nodes.conf.bak` is a whole file or,
//! where it never existed, missing. Leftovers have fixed names and are removed by the next run,
//! which the lock keeps from meeting one that is still at work.
//!
//! # When the backup is renewed
//! `nodes.conf.bak` is there for servers before Redis 7.2, which write `nodes.conf` in place: a
//! power cut at that moment tears it. A backup serves the better the newer its epochs and its list
//! of nodes are, whereas most saves change nothing but times. So it is renewed at each start where
//! the two say something different, times, link states and the own ip apart; that costs one sync,
//! and nothing where nothing happened since. It is a copy of the present file then, for a hard link
//! would be torn together with it. Where the address changes, the present file itself becomes the
//! backup, by a hard link that costs no copying: the server writes to the new file from then on.
//! The old file is synced first, as servers do not sync every save.

mod error;
mod lock;
mod place;
mod replace;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

pub use error::{FileError, LockError};
pub use lock::Lock;

use crate::nodes_conf::{self, Corrected, Doubt, NodeId, ParseError, Reading, Verdict};
use place::{Original, Place};

/// What [`correct`] found and did. `Display` gives a line for the log.
#[derive(Debug)]
pub enum Outcome {
    /// There is no file: the server's first boot. Nothing was done.
    Absent,
    /// The file holds not a byte and there is no whole backup: servers take it for a first boot and
    /// make up a new id. Nothing was done.
    ZeroLength,
    /// The address was right already.
    AlreadyRight {
        /// What became of `nodes.conf.bak`.
        backup: Backup,
    },
    /// The address was corrected, or a shard id on which servers refuse to start, or the address of
    /// another node that was this one.
    Rewritten {
        /// The address that the file had; may be empty or a host name.
        from: String,
        /// The address that it has now.
        to: IpAddr,
        /// How many replicas were put into the shard of their master.
        shards: usize,
        /// How many other nodes had this address, which they have no more.
        others: usize,
        /// What became of `nodes.conf.bak`.
        backup: Backup,
    },
    /// The file was damaged: `nodes.conf.bak` was put in its place, with the address corrected.
    /// What there was of it is kept as `nodes.conf.torn`.
    Restored {
        /// What was wrong with the file.
        why: Damage,
        /// The address that the backup had.
        from: String,
        /// The address that the file has now.
        to: IpAddr,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no nodes.conf yet: first boot"),
            Self::ZeroLength => f.write_str(
                "nodes.conf is empty and has no backup: the server starts as a new node",
            ),
            Self::AlreadyRight { backup } => write!(f, "own address is right already{backup}"),
            Self::Rewritten { from, to, shards, others, backup } => {
                match from.parse() == Ok(*to) {
                    true => f.write_str("own address is right already")?,
                    false => write!(f, "own address changed from \"{from}\" to {to}")?,
                }
                if *shards > 0 {
                    write!(f, "; replicas put into the shard of their master: {shards}")?;
                }
                if *others > 0 {
                    write!(f, "; other nodes that had this address, which is taken out: {others}")?;
                }
                write!(f, "{backup}")
            }
            Self::Restored { why, from, to } => write!(
                f,
                "nodes.conf was damaged ({why}): nodes.conf.bak was put back, \
                 own address changed from \"{from}\" to {to}"
            ),
        }
    }
}

/// What became of `nodes.conf.bak`. `Display` is empty where nothing needs saying.
#[derive(Debug)]
pub enum Backup {
    /// It says what the file said, or it is the file as it was before.
    Kept,
    /// It was not touched, for servers load the file but none leaves it so.
    Doubtful(Doubt),
    /// It could not be renewed; the file itself is right, so the server can start.
    Failed(FileError),
}

impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => Ok(()),
            Self::Doubtful(doubt) => write!(f, "; no backup was made of a doubtful file: {doubt}"),
            Self::Failed(error) => {
                write!(f, "; {error}")?;
                let source = std::error::Error::source(error);
                source.map_or(Ok(()), |source| write!(f, ": {source}"))
            }
        }
    }
}

/// What was wrong with a file that was put back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It was not there, but its backup was: without it the server would be a new node, and the old
    /// one lost. Whoever wants that removes both.
    #[error("it was missing")]
    Missing,
    /// It had no bytes, as after a power cut at its creation.
    #[error("it was empty")]
    ZeroLength,
    /// It had line ends and NULs only.
    #[error("it held nothing but padding")]
    Padding,
    /// Servers refuse to start on it.
    #[error("it was torn: {0}")]
    Torn(ParseError),
    /// Servers would have loaded what was left of it.
    #[error("it was incomplete: {0}")]
    Doubtful(Doubt),
}

/// Whether there is a file, or a backup that would be put back, so that an address is needed.
pub fn is_there(path: &Path) -> bool {
    let has_backup = || Place::of(path).is_ok_and(|place| place.read_backup().is_some());
    path.exists() || has_backup()
}

/// Makes `ip` the own address in the file `path`, and nobody else's, or puts a damaged file back from
/// its backup.
/// Follows a symbolic link to the file and replaces what it points to.
///
/// # Errors
/// One, with nothing changed: the file cannot be read, is not understood and has no whole backup,
/// or cannot be replaced. Only [`FileError::NotDurable`] comes after the change.
pub fn correct(path: &Path, ip: IpAddr, lock: &Lock) -> Result<Outcome, FileError> {
    let place = Place::of(path).map_err(|source| FileError::read(path, source))?;
    debug_assert_eq!(place.lock, lock.path(), "the lock is of another file");
    place.remove_leftovers();
    let Some(original) = place.read_file()? else {
        let Some(backup) = place.read_backup() else { return Ok(Outcome::Absent) };
        let Some(saved) = backup.whole() else { return Ok(Outcome::Absent) };
        return put_back(&place, &backup, &saved, Damage::Missing, ip);
    };
    let (why, error) = match nodes_conf::assess(&original.content) {
        Verdict::Whole(reading) => return set_ip(&place, &original, &reading, None, ip),
        Verdict::Strange(source) => return Err(FileError::Strange { path: place.file, source }),
        Verdict::Doubtful(reading, doubt) => {
            let backup = place.read_backup();
            let saved = backup.as_ref().and_then(Original::whole);
            return match saved.filter(|saved| saved.own_id() == reading.own_id()) {
                Some(saved) => put_back(&place, &original, &saved, Damage::Doubtful(doubt), ip),
                None => set_ip(&place, &original, &reading, Some(doubt), ip),
            };
        }
        Verdict::ZeroLength => (Damage::ZeroLength, None),
        Verdict::Padding => (Damage::Padding, Some(FileError::Blank { path: place.file.clone() })),
        Verdict::Torn(source) => {
            let path = place.file.clone();
            (Damage::Torn(source.clone()), Some(FileError::Torn { path, source }))
        }
    };
    let backup = place.read_backup();
    match (backup.as_ref().and_then(Original::whole), error) {
        (Some(saved), _) => put_back(&place, &original, &saved, why, ip),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(Outcome::ZeroLength),
    }
}

/// Puts [`nodes_conf::NOWHERE`] in the place of another node's address in the file `path`, which
/// becomes the backup where it is whole. Does nothing where that node has no line that is understood.
///
/// # Errors
/// As [`correct`].
pub fn lose_address(path: &Path, id: NodeId, lock: &Lock) -> Result<(), FileError> {
    let place = Place::of(path).map_err(|source| FileError::read(path, source))?;
    debug_assert_eq!(place.lock, lock.path(), "the lock is of another file");
    let Some(original) = place.read_file()? else { return Ok(()) };
    let (reading, is_whole) = match nodes_conf::assess(&original.content) {
        Verdict::Whole(reading) => (reading, true),
        Verdict::Doubtful(reading, _) => (reading, false),
        _ => return Ok(()),
    };
    let Some(parts) = reading.with_ip_of(id, nodes_conf::NOWHERE) else { return Ok(()) };
    replace::write_temp(&place, &original, &parts)?;
    if is_whole {
        replace::keep_as_backup(&place, &original)?;
    }
    replace::put_in_place(&place)
}

/// Corrects a file that a server would load.
fn set_ip(
    place: &Place,
    original: &Original,
    reading: &Reading,
    doubt: Option<Doubt>,
    ip: IpAddr,
) -> Result<Outcome, FileError> {
    let Some(Corrected { parts, shards, others }) = reading.corrected(ip) else {
        let backup = match doubt {
            Some(doubt) => Backup::Doubtful(doubt),
            None => renew_backup(place, original, reading),
        };
        return Ok(Outcome::AlreadyRight { backup });
    };
    replace::write_temp(place, original, &parts)?;
    let backup = match doubt {
        Some(doubt) => Backup::Doubtful(doubt),
        None => {
            replace::keep_as_backup(place, original)?;
            Backup::Kept
        }
    };
    replace::put_in_place(place)?;
    let from = reading.own_ip().to_owned();
    Ok(Outcome::Rewritten { from, to: ip, shards, others, backup })
}

/// Copies the file to its backup, unless the backup says the same.
fn renew_backup(place: &Place, original: &Original, reading: &Reading) -> Backup {
    let backup = place.read_backup().filter(|backup| !original.is_same_file(backup));
    let saved = backup.as_ref().and_then(Original::whole);
    if saved.is_some_and(|saved| saved.says_the_same_as(reading)) {
        return Backup::Kept;
    }
    match replace::copy_to_backup(place, original) {
        Ok(()) => Backup::Kept,
        Err(error) => Backup::Failed(error),
    }
}

/// Puts the backup, with its address corrected, in the place of a damaged file. The backup stays.
fn put_back(
    place: &Place,
    damaged: &Original,
    saved: &Reading,
    why: Damage,
    ip: IpAddr,
) -> Result<Outcome, FileError> {
    match saved.corrected(ip) {
        Some(Corrected { parts, .. }) => replace::write_temp(place, damaged, &parts)?,
        None => replace::write_temp(place, damaged, &[saved.file()])?,
    }
    if !matches!(why, Damage::ZeroLength | Damage::Missing) {
        replace::keep_as_torn(place);
    }
    replace::put_in_place(place)?;
    Ok(Outcome::Restored { why, from: saved.own_ip().to_owned(), to: ip })
}
