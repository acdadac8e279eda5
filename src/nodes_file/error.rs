//! What can go wrong with the files, and the exit code for it.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit;
use crate::nodes_conf::ParseError;

/// Why `nodes.conf` was not corrected. Unless said otherwise nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is there and cannot be read.
    #[error("cannot read {path}: check its owner and mode")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged, and there is nothing to put back.
    #[error(
        "{path} is damaged and there is no whole .bak beside it: nothing was changed; \
         put back a copy of it, for without one this node loses its id and its slots"
    )]
    Torn {
        /// The file.
        path: PathBuf,
        /// Where it is not understood.
        source: ParseError,
    },
    /// The file holds nothing but padding, and there is nothing to put back.
    #[error(
        "{path} holds line ends and NULs only, and there is no whole .bak beside it: nothing was \
         changed; put back a copy of it, for without one this node loses its id and its slots"
    )]
    Blank {
        /// The file.
        path: PathBuf,
    },
    /// The file is complete, but a newer server may have written it.
    #[error(
        "{path} is complete but not understood: nothing was changed; a newer rejoin may know its \
         format, and if it is damaged, put back the .bak beside it by hand"
    )]
    Strange {
        /// The file.
        path: PathBuf,
        /// Where it is not understood.
        source: ParseError,
    },
    /// The file cannot be replaced.
    #[error(
        "cannot replace {path}, failed to {step}: old file kept; \
         check free space and that the volume is writable"
    )]
    Replace {
        /// The file.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The file was replaced, but a power cut now may bring the old one back.
    #[error("replaced {path} but cannot sync its directory: check the health of the volume")]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FileError {
    /// The exit code: [`exit::CONFIG`] where a person has to decide, else [`exit::IO`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Torn { .. } | Self::Blank { .. } | Self::Strange { .. } => exit::CONFIG,
            Self::Read { .. } | Self::Replace { .. } | Self::NotDurable { .. } => exit::IO,
        }
    }

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }
}

/// Why the lock was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another `rejoin`, or a server that one has turned into, uses the same volume.
    #[error(
        "{path} is held: another pod or container runs a server on this nodes.conf; \
         nothing was touched; stop the other one first"
    )]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file cannot be opened or made.
    #[error("cannot open {path}: check that its directory exists and that the volume is writable")]
    Open {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The volume has no locks. Redis would not start on it either (`clusterLockConfig`).
    #[error("cannot lock {path}: use a volume that supports flock")]
    Unsupported {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LockError {
    /// The exit code: [`exit::CONFIG`] for a lock that is held, else [`exit::IO`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Held { .. } => exit::CONFIG,
            Self::Open { .. } | Self::Unsupported { .. } => exit::IO,
        }
    }
}
