//! The probes of the built binary around a real server, in every state that a server can be in.
//!
//! Each state is looked at in both ways that Kubernetes has: over HTTP and by the exec probes.

#![allow(clippy::unwrap_used, reason = "what is missing here fails the test, as it should")]

mod ending;
mod idle;
mod odd;
pub(crate) mod panics;
mod refusing;
mod tls;
mod working;

use std::net::TcpStream;
use std::time::Duration;

use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::server::Server;
use crate::support::wait::wait_ok;

/// Longer than anything here takes, the half minute of a silence included.
const LIMIT: Duration = Duration::from_secs(60);

/// What the probes of a healthy pod of a cluster say.
const WELL: [&str; 3] = [
    "live: the server answered OK",
    "ready: a master, cluster_state is ok",
    "started: the server answered OK",
];

/// The probes, as exec probes and as paths.
const PROBES: [(&str, &str); 3] =
    [("live", "/livez"), ("ready", "/readyz"), ("startup", "/startupz")];

/// A cluster of one pod, not started.
fn alone(server: &Server) -> Fleet {
    Fleet::new(&Recipe { replicas: 0, ..Recipe::wrapped(server, 1) })
}

/// The same, never locked down: for logins of the test's own, and for what is said in plain text.
fn open_alone(server: &Server) -> Fleet {
    Fleet::new(&Recipe { replicas: 0, ..Recipe::wrapped(server, 1) }.open())
}

/// A cluster of one pod that is well.
#[track_caller]
fn well(server: &Server) -> Fleet {
    started(alone(server))
}

/// The same, never locked down.
#[track_caller]
fn open_well(server: &Server) -> Fleet {
    started(open_alone(server))
}

#[track_caller]
fn started(mut fleet: Fleet) -> Fleet {
    fleet.start_all();
    wait_says(&fleet.pods[0], WELL);
    fleet
}

/// A cluster of a master and its replica, both ready: the master first.
#[track_caller]
fn pair(server: &Server) -> Fleet {
    let fleet = Fleet::started(&Recipe::wrapped(server, 1));
    fleet.wait_whole(LIMIT);
    let replica = ["live: ", "ready: a replica, cluster_state is ok", "started: "];
    wait_says(&fleet.pods[0], WELL);
    wait_says(&fleet.pods[1], replica);
    fleet
}

/// Waits until the lines of live, ready and startup begin like this, in both ways.
#[track_caller]
fn wait_says(pod: &Pod, starts: [&str; 3]) {
    let what = format!("{} to say {starts:?}", pod.name());
    wait_ok(LIMIT, &what, || says(pod, starts));
}

/// Whether the lines of live, ready and startup begin like this, in both ways.
fn says(pod: &Pod, starts: [&str; 3]) -> Result<(), String> {
    let lines = lines(pod)?;
    let same = lines.iter().zip(starts).all(|(line, start)| line.starts_with(start));
    if same { Ok(()) } else { Err(format!("{lines:?}")) }
}

/// The lines of live, ready and startup, checked to be the same over HTTP and by the exec probe,
/// and to go with the HTTP status and the exit code.
fn lines(pod: &Pod) -> Result<Vec<String>, String> {
    PROBES
        .iter()
        .map(|(command, path)| {
            let http = pod.http(path)?;
            let exec = pod.rejoin(&[command]);
            let line = String::from_utf8_lossy(&exec.stdout).into_owned();
            let yes = !line.starts_with("not ");
            let codes = (http.status, exec.status.code());
            let expected = if yes { (200, Some(0)) } else { (503, Some(1)) };
            let (one, other) = (without_numbers(&http.body), without_numbers(&line));
            let sound = codes == expected && one == other && exec.stderr.is_empty();
            let lines = line.matches('\n').count();
            if sound && lines == 1 {
                Ok(line.trim_end().to_owned())
            } else {
                Err(format!("{path}: {codes:?}, {:?} and {line:?}", http.body))
            }
        })
        .collect()
}

/// A line without the ages and counts in it, which differ from one moment to the next.
fn without_numbers(line: &str) -> String {
    line.chars()
        .filter(|c| !c.is_ascii_digit() && *c != '.')
        .collect::<String>()
        .replace("attempts", "attempt")
}

/// A connection to the server that says nothing.
fn hold(pod: &Pod) -> TcpStream {
    TcpStream::connect(pod.address()).expect("the server listens")
}
