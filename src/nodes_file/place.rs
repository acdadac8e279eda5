//! Where the files are, and reading them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::FileError;
use crate::nodes_conf::{self, NodesConf, Verdict};

/// How many symbolic links are followed, as the kernel counts (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// A `nodes.conf` and its companions, all in one directory so that renames are atomic.
pub(super) struct Place {
    /// `nodes.conf` itself, no symbolic link.
    pub(super) file: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) backup: PathBuf,
    pub(super) lock: PathBuf,
    /// A damaged file that the backup took the place of.
    pub(super) torn: PathBuf,
    /// A new file while it is written.
    pub(super) temp: PathBuf,
    /// A new backup while it is made.
    pub(super) backup_temp: PathBuf,
}

impl Place {
    /// The place of the file that `path` names or links to, whether it exists or not.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let file = resolve(path)?;
        let name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        let beside = |suffix: &str| {
            let mut name = name.clone();
            name.push(suffix);
            file.with_file_name(name)
        };
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self {
            directory,
            backup: beside(".bak"),
            lock: beside(".rejoin-lock"),
            torn: beside(".torn"),
            temp: beside(".rejoin-tmp"),
            backup_temp: beside(".rejoin-bak-tmp"),
            file,
        })
    }

    /// Removes what a killed run has left. What cannot be removed stands in nobody's way until
    /// something is written, and then it is an error.
    pub(super) fn remove_leftovers(&self) {
        let _ = fs::remove_file(&self.temp);
        let _ = fs::remove_file(&self.backup_temp);
    }

    /// The file, if there is one.
    pub(super) fn read_file(&self) -> Result<Option<Original>, FileError> {
        match Original::read(&self.file) {
            Ok(original) => Ok(Some(original)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError::read(&self.file, source)),
        }
    }

    /// The backup, if it is whole. One that cannot be read is as good as none.
    pub(super) fn read_backup(&self) -> Option<(Original, NodesConf)> {
        let backup = Original::read(&self.backup).ok()?;
        match nodes_conf::assess(&backup.content) {
            Verdict::Whole(conf) => Some((backup, conf)),
            _ => None,
        }
    }
}

/// A file as it was found.
pub(super) struct Original {
    pub(super) file: File,
    pub(super) metadata: Metadata,
    pub(super) content: Vec<u8>,
}

impl Original {
    fn read(path: &Path) -> io::Result<Self> {
        // Opening a pipe must not wait for a writer.
        let flags = nix::libc::O_NONBLOCK;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(Self { file, metadata, content })
    }

    /// Whether both are one file under two names.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        is_same_file(&self.metadata, &other.metadata)
    }
}

/// Whether both are one file under two names.
pub(super) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Follows symbolic links, also one whose target does not exist yet.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..=MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        // An absolute target replaces the whole path.
        path = path.with_file_name("").join(target);
    }
    Err(io::Error::from_raw_os_error(nix::libc::ELOOP))
}
