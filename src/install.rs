//! `rejoin install PATH`: copies this program into a volume, so that a stock Redis image can run
//! it. An init container with our image does it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// This program, whatever its name and even if the file was replaced since it started.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// The name of the copy where a directory is given.
const NAME: &str = "rejoin";

/// The mode of the copy: any user of the other container may run it.
const MODE: u32 = 0o755;

/// What was installed; its `Display` is the line for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The copy.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

impl std::fmt::Display for Installed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "installed {} ({} bytes, mode {MODE:04o})", self.path.display(), self.bytes)
    }
}

/// Why nothing was installed. Whatever was at the path before is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {path}, nothing was installed: {remedy}")]
pub struct InstallError {
    /// What was tried: `read`, `create`, `write`, `replace`.
    pub step: &'static str,
    /// The file it was tried on.
    pub path: PathBuf,
    /// What to do.
    pub remedy: &'static str,
    /// What the system says.
    pub source: io::Error,
}

/// Copies `program` to `path`, a file name or an existing directory. The copy appears under its
/// name whole or not at all: a file beside it is written, synced and renamed.
///
/// # Errors
/// Where the program cannot be read, or the directory is missing, read-only or full.
pub fn install(program: &Path, path: &Path) -> Result<Installed, InstallError> {
    // `is_dir` follows links; a slash at the end asks for a directory, and so must find one.
    let as_dir = path.is_dir() || path.as_os_str().as_bytes().ends_with(b"/");
    let path = if as_dir { path.join(NAME) } else { path.to_owned() };
    let error = |step, path: &Path, remedy| {
        let path = path.to_owned();
        move |source| InstallError { step, path, remedy, source }
    };
    let mut source =
        File::open(program).map_err(error("read", program, "check that /proc is mounted"))?;
    let name = path.file_name().unwrap_or(NAME.as_ref()).to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.tmp-{}", std::process::id()));
    // In a container we always have the same process id, so a crash leaves this very name.
    let _ = fs::remove_file(&temporary);
    let mut copy =
        OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary).map_err(
            error("create", &temporary, "check that the directory exists and is writable"),
        )?;
    let written = io::copy(&mut source, &mut copy)
        .and_then(|bytes| {
            // Again, since the umask has taken bits from it.
            copy.set_permissions(Permissions::from_mode(MODE))?;
            copy.sync_all()?;
            Ok(bytes)
        })
        .map_err(error("write", &temporary, "check that the volume has space"))
        .and_then(|bytes| {
            let remedy = "check that it is no directory and no mount point";
            fs::rename(&temporary, &path).map_err(error("replace", &path, remedy))?;
            Ok(bytes)
        });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map(|bytes| Installed { path, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").permissions().mode() & 0o7777
    }

    #[test]
    fn copy_in_a_directory_has_our_name_and_can_be_run_by_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let installed = install(Path::new(OWN_PROGRAM), dir.path()).expect("installed");
        assert_eq!(installed.path, dir.path().join("rejoin"));
        assert_eq!(mode(&installed.path), 0o755);
        let own = fs::read(OWN_PROGRAM).expect("readable");
        assert_eq!(installed.bytes, own.len() as u64);
        assert!(fs::read(&installed.path).expect("readable") == own);
        assert_eq!(names(dir.path()), ["rejoin"]);
        let line = installed.to_string();
        assert!(line.ends_with(&format!("/rejoin ({} bytes, mode 0755)", own.len())), "{line}");
    }

    #[test]
    fn file_of_that_name_is_replaced_and_a_stale_temporary_is_no_hindrance() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fix-ip.sh");
        let stale = dir.path().join(format!(".fix-ip.sh.tmp-{}", std::process::id()));
        fs::write(&path, "old").expect("a file");
        fs::write(&stale, "torn").expect("a file");
        let program = dir.path().join("program");
        fs::write(&program, "new").expect("a file");
        let installed = install(&program, &path).expect("installed");
        assert_eq!(installed, Installed { path: path.clone(), bytes: 3 });
        assert_eq!(fs::read(&path).expect("readable"), b"new");
        assert_eq!(mode(&path), 0o755);
        assert_eq!(names(dir.path()), ["fix-ip.sh", "program"]);
    }

    #[test]
    fn missing_directory_or_program_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = Path::new(OWN_PROGRAM);
        for path in ["none/", "none/rejoin"] {
            let error = install(program, &dir.path().join(path)).expect_err("an error");
            assert_eq!((error.step, error.source.kind()), ("create", io::ErrorKind::NotFound));
        }
        let error = install(&dir.path().join("none"), dir.path()).expect_err("an error");
        assert_eq!(error.step, "read");
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn failed_copy_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        // A directory opens and cannot be read.
        let error = install(dir.path(), &dir.path().join("x")).expect_err("an error");
        assert_eq!(error.step, "write");
        fs::create_dir_all(dir.path().join("rejoin/full")).expect("a directory");
        let error = install(Path::new(OWN_PROGRAM), dir.path()).expect_err("an error");
        assert_eq!(error.step, "replace");
        assert_eq!(names(dir.path()), ["rejoin"]);
    }
}
