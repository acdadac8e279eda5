//! `nodes.conf` on disk: a lock of our own, the own address corrected, a torn file put back.
//!
//! # What a kill or a power cut can leave
//! A new content is written to `nodes.conf.rejoin-tmp` and synced, the present file is kept as
//! `nodes.conf.bak`, then the new one is renamed into place and the directory synced. So at any
//! moment `nodes.conf` is the old file or the new one, and `nodes.conf.bak` is a whole file or, where
//! it never existed, missing. Leftovers have fixed names and are removed by the next run, which the
//! lock keeps from meeting one that is still at work.
//!
//! # When the backup is renewed
//! `nodes.conf.bak` is there for servers before Redis 7.2, which write `nodes.conf` in place: a power
//! cut at that moment tears it. A backup serves the better the newer its epochs and its list of nodes
//! are, whereas a server rewrites the file with nothing but new ping times all day. So it is renewed
//! at each start where the two say something different, ping times and link states apart; that costs
//! one sync, and nothing where nothing happened since. It is a copy of the present file then, for a
//! hard link would be torn together with it. Where the address changes, the present file itself
//! becomes the backup, by a hard link that costs no copying.

mod error;
mod lock;
mod place;
mod replace;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

pub use error::{FileError, LockError};
pub use lock::Lock;

use crate::nodes_conf::{self, Doubt, NodesConf, ParseError, Verdict};
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
    /// The address was corrected.
    Rewritten {
        /// The address that the file had; may be empty or a host name.
        from: String,
        /// The address that it has now.
        to: IpAddr,
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
            Self::Rewritten { from, to, backup } => {
                write!(f, "own address changed from \"{from}\" to {to}{backup}")
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

/// Makes the own address in the file `path` be `ip`, or puts a damaged file back from its backup.
/// Follows a symbolic link to the file and replaces what it points to.
///
/// # Errors
/// One, with nothing changed: the file cannot be read, is not understood and has no whole backup, or
/// cannot be replaced. Only [`FileError::NotDurable`] comes after the change.
pub fn correct(path: &Path, ip: IpAddr, lock: &Lock) -> Result<Outcome, FileError> {
    let place = Place::of(path).map_err(|source| FileError::read(path, source))?;
    debug_assert_eq!(place.lock, lock.path(), "the lock is of another file");
    place.remove_leftovers();
    let Some(original) = place.read_file()? else { return Ok(Outcome::Absent) };
    match nodes_conf::assess(&original.content) {
        Verdict::Whole(conf) => set_ip(&place, &original, &conf, None, ip),
        Verdict::Doubtful(conf, doubt) => match place.read_backup() {
            Some((backup, saved)) if saved.myself().id == conf.myself().id => {
                put_back(&place, &original, &backup, Damage::Doubtful(doubt), ip)
            }
            _ => set_ip(&place, &original, &conf, Some(doubt), ip),
        },
        Verdict::Strange(source) => Err(FileError::Strange { path: place.file, source }),
        Verdict::ZeroLength => match place.read_backup() {
            Some((backup, _)) => put_back(&place, &original, &backup, Damage::ZeroLength, ip),
            None => Ok(Outcome::ZeroLength),
        },
        Verdict::Padding => match place.read_backup() {
            Some((backup, _)) => put_back(&place, &original, &backup, Damage::Padding, ip),
            None => Err(FileError::Blank { path: place.file }),
        },
        Verdict::Torn(source) => match place.read_backup() {
            Some((backup, _)) => put_back(&place, &original, &backup, Damage::Torn(source), ip),
            None => Err(FileError::Torn { path: place.file, source }),
        },
    }
}

/// Corrects a file that a server would load.
fn set_ip(
    place: &Place,
    original: &Original,
    conf: &NodesConf,
    doubt: Option<Doubt>,
    ip: IpAddr,
) -> Result<Outcome, FileError> {
    let new = nodes_conf::with_own_ip(&original.content, ip)
        .map_err(|source| FileError::Torn { path: place.file.clone(), source })?;
    let std::borrow::Cow::Owned(new) = new else {
        let backup = match doubt {
            Some(doubt) => Backup::Doubtful(doubt),
            None => renew_backup(place, original, conf),
        };
        return Ok(Outcome::AlreadyRight { backup });
    };
    replace::write_temp(place, original, &new)?;
    let backup = match doubt {
        Some(doubt) => Backup::Doubtful(doubt),
        None => {
            replace::keep_as_backup(place, original)?;
            Backup::Kept
        }
    };
    replace::put_in_place(place)?;
    Ok(Outcome::Rewritten { from: conf.myself().address.ip.clone(), to: ip, backup })
}

/// Copies the file to its backup, unless the backup says the same.
fn renew_backup(place: &Place, original: &Original, conf: &NodesConf) -> Backup {
    let is_fresh = place.read_backup().is_some_and(|(backup, saved)| {
        !original.is_same_file(&backup) && saved.says_the_same_as(conf)
    });
    if is_fresh {
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
    backup: &Original,
    why: Damage,
    ip: IpAddr,
) -> Result<Outcome, FileError> {
    let not_whole = |source| FileError::Torn { path: place.backup.clone(), source };
    let saved = nodes_conf::parse(&backup.content).map_err(not_whole)?;
    let new = nodes_conf::with_own_ip(&backup.content, ip).map_err(not_whole)?;
    replace::write_temp(place, damaged, &new)?;
    if why != Damage::ZeroLength {
        replace::keep_as_torn(place);
    }
    replace::put_in_place(place)?;
    Ok(Outcome::Restored { why, from: saved.myself().address.ip.clone(), to: ip })
}
