//! The init, on real processes: as PID 1 of a namespace of its own and as an ordinary process.
#![allow(clippy::disallowed_methods, reason = "tests start the program under test from outside")]

mod ending;
mod process;
mod seam;
mod signals;
mod terminal;
mod transparent;
mod tree;

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::init::process::{REJOIN, Running};
use crate::support::left_out::left_out;

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
    probe.args(UNSHARE).arg("true").stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
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
    let helper = crate::init::process::helper();
    let mut child = vec![helper.as_os_str()];
    child.extend(role.iter().map(OsStr::new));
    start_in(place, &child)
}

/// Starts a shell script under an init in that place.
#[track_caller]
fn start_script(place: Place, script: &str) -> Running {
    start_in(place, &[OsStr::new("sh"), OsStr::new("-c"), OsStr::new(script)])
}
