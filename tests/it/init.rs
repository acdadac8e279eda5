//! The init, on real processes: as PID 1 of a namespace of its own and as an ordinary process.

mod ending;
mod seam;
mod signals;
mod terminal;
mod transparent;
mod tree;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::support::left_out::left_out;
use crate::support::process::run;
use crate::support::running::{PATIENCE, Running};
use crate::support::wait::wait_for;

/// The program under test.
const REJOIN: &str = env!("CARGO_BIN_EXE_rejoin");

/// The children and seams that these tests need, built as an example beside the program.
fn helper() -> PathBuf {
    let path = PathBuf::from(REJOIN).with_file_name("examples").join("init_helper");
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

/// Waits for what costs little to look at.
#[track_caller]
fn wait_until(what: &str, state: impl FnMut() -> bool) {
    wait_for(PATIENCE, what, state);
}

/// Where the init runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// As an ordinary process: it must become a subreaper.
    Plain,
    /// As PID 1 of a new process namespace.
    Pid1,
}

const UNSHARE: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

/// Both places, or only the first where namespaces cannot be made; that is said then.
fn places() -> Vec<Place> {
    let mut probe = Command::new("unshare");
    if run(probe.args(UNSHARE).arg("true")).status.success() {
        return vec![Place::Plain, Place::Pid1];
    }
    left_out("the init as PID 1: no permission for a process namespace (unshare --pid)");
    vec![Place::Plain]
}

/// The command line of an init in that place, to be followed by the child's.
fn command_in(place: Place) -> Command {
    match place {
        Place::Plain => Command::new(REJOIN),
        Place::Pid1 => {
            let mut command = Command::new("unshare");
            command.args(UNSHARE).arg(REJOIN);
            command
        }
    }
}

/// Starts a child under an init in that place.
#[track_caller]
fn start_in(place: Place, child: &[&OsStr]) -> Running {
    let mut running = Running::start(command_in(place).args(child));
    if place == Place::Pid1 {
        running.descend();
    }
    running
}

/// Starts the helper in a role under an init in that place.
#[track_caller]
fn start_helper(place: Place, role: &[&str]) -> Running {
    let helper = helper();
    let mut child = vec![helper.as_os_str()];
    child.extend(role.iter().map(OsStr::new));
    start_in(place, &child)
}

/// Starts a shell script under an init in that place.
#[track_caller]
fn start_script(place: Place, script: &str) -> Running {
    start_in(place, &[OsStr::new("sh"), OsStr::new("-c"), OsStr::new(script)])
}
