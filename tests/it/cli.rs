//! The built binary as users handle it.

#![allow(clippy::unwrap_used, reason = "what is missing here fails the test, as it should")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rejoin::install::install;

const NOBODY: u32 = 65534;

#[test]
#[allow(clippy::disallowed_methods, reason = "no init runs here, and status() waits")]
fn installed_copy_runs_for_another_user() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let installed = install(Path::new(env!("CARGO_BIN_EXE_rejoin")), dir.path()).unwrap();
    let mut copy = Command::new(&installed.path);
    copy.arg("--version").env_clear();
    if nix::unistd::geteuid().is_root() {
        copy.uid(NOBODY);
    }
    assert!(copy.status().unwrap().success());
}
