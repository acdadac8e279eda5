//! The lock of our own beside `nodes.conf`.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::unistd::geteuid;

use super::error::LockError;
use super::place::Place;

/// Holds `nodes.conf.rejoin-lock` as long as it lives. Since Redis 7.2 and in all of Valkey the
/// server's own lock falls with its first save, and a second server would start with the same id.
///
/// The lock file is never removed: whoever had opened it before would lock a file without a name.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock for the file `nodes_conf`, which need not exist; its directory must. The lock
    /// is beside the target where that is a symbolic link. Does not wait. Commands that we run do
    /// not inherit it.
    ///
    /// # Errors
    /// See [`LockError`]; a volume that is read-only is one where the lock file is not there yet.
    pub fn acquire(nodes_conf: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Open { path: nodes_conf.to_owned(), source };
        let path = Place::of(nodes_conf).map_err(failed)?.lock;
        let mut file = match open(&path) {
            Ok(file) => file,
            Err(source) => return Err(LockError::Open { path, source }),
        };
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => return Ok(Self { file, path }),
                Err((same, Errno::EINTR)) => file = same,
                Err((_, Errno::EWOULDBLOCK)) => return Err(LockError::Held { path }),
                Err((_, errno)) => {
                    return Err(LockError::Unsupported { path, source: errno.into() });
                }
            }
        }
    }

    /// Leaves the lock to the program that `execve` turns this process into. It then lasts until
    /// that program and every child that it forked (a background save, for one) have ended.
    ///
    /// # Errors
    /// None that the kernel is known to give for an open descriptor.
    pub fn keep_over_exec(&self) -> io::Result<()> {
        fcntl(&*self.file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens the lock file, making it where it is missing. Whoever may read it can lock it: an init
/// container that runs as root and a server that does not may share a volume.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(nix::libc::O_NOFOLLOW);
    let file = match options.clone().write(true).create(true).mode(0o644).open(path) {
        // Made by another user, or the volume is read-only: reading is enough to lock on Linux.
        Err(error) => return options.open(path).map_err(|_| error),
        Ok(file) => file,
    };
    let found = file.metadata()?;
    let is_ours = found.uid() == geteuid().as_raw();
    if is_ours && found.permissions().mode() & 0o444 != 0o444 {
        // A narrow umask would keep the others out. Best effort: this process has its lock.
        let _ = file.set_permissions(Permissions::from_mode(0o644));
    }
    Ok(file)
}
