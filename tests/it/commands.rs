//! The commands as a user types them, by the built binary.

#![allow(clippy::unwrap_used, reason = "what is missing here fails the test, as it should")]

mod fixing;
mod metrics;
mod refused;
mod secrets;
mod showing;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::rejoin;
use crate::support::process::run;
use crate::support::server::Server;
use crate::support::wait::wait_ok;

const LIMIT: Duration = Duration::from_secs(60);

/// `nodes.conf` of a server that was on another address.
const NODES_CONF: &str = "1111111111111111111111111111111111111111 10.9.9.9:7000@17000 \
                          myself,master - 0 0 0 connected\nvars currentEpoch 0 lastVoteEpoch 0\n";

/// `rejoin` with nothing in its environment but `PATH`, in a directory.
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(rejoin());
    command.env_clear().current_dir(dir).args(args);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Runs it to its end.
fn typed(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    run(command(dir, args).envs(env.iter().copied()))
}

/// The exit code, what was printed, and what was complained about.
fn parts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Checks that a command ended by this code and one line on stderr with these words in it.
#[track_caller]
fn is_refused(output: &Output, code: i32, words: &[&str]) {
    let (seen, out, err) = parts(output);
    assert_eq!((seen, out.as_str()), (Some(code), ""), "{err}");
    assert!(err.starts_with("rejoin: ") && err.lines().count() == 1, "{err}");
    assert!(words.iter().all(|word| err.contains(word)), "{words:?} in {err}");
}

/// A cluster of one pod that is ready.
#[track_caller]
fn ready(server: &Server) -> Fleet {
    let mut fleet = Fleet::new(&Recipe { replicas: 0, ..Recipe::wrapped(server, 1) });
    fleet.start_all();
    wait_ready(&fleet);
    fleet
}

/// Waits until the first pod is ready as a member of a cluster.
#[track_caller]
fn wait_ready(fleet: &Fleet) {
    wait_ok(LIMIT, "a pod that is ready", || match fleet.pods[0].http("/readyz")? {
        answer if answer.body.contains("cluster_state is ok") => Ok(()),
        answer => Err(answer.body),
    });
}
