//! A keeper that panics, and other parts of the agent; the agent as a whole.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::{LIMIT, WELL, lines, started, wait_says};
use crate::forming::{status, wait_all_ready};
use crate::guard::{assert_keys, recipe, wait_role, write_keys};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::process::run;
use crate::support::server::any_server;
use crate::support::wait::{wait_for, wait_ok};

/// The program whose keeper panics at each line of its log while a file is there.
pub(crate) fn brittle() -> PathBuf {
    let examples = Path::new(env!("CARGO_BIN_EXE_rejoin")).with_file_name("examples");
    let path = examples.join("brittle");
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

/// Has these modules panic in every pod while the file is there that is given back.
fn break_at(fleet: &mut Fleet, target: &str) -> PathBuf {
    let file = fleet.dir().join("panic");
    for pod in &mut fleet.pods {
        pod.rejoin = brittle();
        pod.env.insert("BRITTLE".to_owned(), file.display().to_string());
        pod.env.insert("BRITTLE_TARGET".to_owned(), target.to_owned());
    }
    file
}

/// Waits until the pod has begun anew so often since its start. It is alive all the same.
#[track_caller]
fn wait_restarts(pod: &Pod, count: u64) {
    wait_ok(LIMIT, &format!("{count} panics"), || {
        let now = status(pod)?.agent_restarts;
        if now >= count { Ok(()) } else { Err(format!("{now} restarts")) }
    });
    assert_eq!(pod.http("/livez").unwrap().status, 200);
}

fn restarts(pod: &Pod) -> u64 {
    status(pod).expect("the probes are served").agent_restarts
}

/// Asks over a connection that has begun before a panic: so the probes were not begun anew.
fn answer_over_a_panic(pod: &Pod) -> Result<(), String> {
    let before = restarts(pod);
    let mut stream = TcpStream::connect(pod.http_address()).map_err(|error| error.to_string())?;
    let mut send = |text: &str| stream.write_all(text.as_bytes());
    send("GET /livez HTTP/1.1\r\n").map_err(|error| error.to_string())?;
    wait_for(LIMIT, "another panic", || {
        let _ = pod.redis(&["CLIENT", "KILL", "TYPE", "normal"]);
        restarts(pod) > before
    });
    send("Host: x\r\n\r\n").map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    // A header may take two seconds, which may be over.
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(format!("{answer:?}")) }
}

#[test]
fn keeper_that_panics_is_started_anew_while_probes_and_server_go_on() {
    let mut fleet = Fleet::new(&Recipe::wrapped(&any_server(), 1).open());
    let file = break_at(&mut fleet, "rejoin::cluster");
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    let master = &fleet.pods[0];
    wait_says(master, WELL);
    let child = master.server_pid();
    fs::write(&file, "").unwrap();
    // Whatever makes a line of the log: here a link that is gone.
    wait_ok(LIMIT, "three panics", || {
        let _ = master.redis(&["CLIENT", "KILL", "TYPE", "normal"]);
        // Every probe is answered meanwhile, and by what is so.
        let seen = lines(master).unwrap();
        assert!(seen[0].starts_with("live: the server answered OK"), "{seen:?}");
        assert!(seen[1].starts_with("ready: a master, cluster_state is ok"), "{seen:?}");
        let count = restarts(master);
        if count >= 3 { Ok(()) } else { Err(format!("{count} restarts")) }
    });
    wait_ok(LIMIT, "an answer over a panic", || answer_over_a_panic(master));
    // A refused login is a line of the log before it is told to the probes: it never is now, so
    // readiness is in doubt after a while, and nothing is proven against the server.
    let master = &mut fleet.pods[0];
    master.redis(&["CONFIG", "SET", "requirepass", "new"]).unwrap();
    master.access.password = Some("new".to_owned());
    master.redis(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    let doubt = "not ready: the keeper last looked ";
    wait_says(master, ["live: the server answered OK", doubt, "started: "]);
    fs::remove_file(&file).unwrap();
    let refused = "not ready: our login is refused: NOAUTH";
    wait_says(master, ["live: the server answered NOAUTH", refused, "started: "]);
    master.redis(&["CONFIG", "SET", "requirepass", ""]).unwrap();
    master.access.password = None;
    wait_says(master, WELL);
    assert_eq!(master.server_pid(), child, "the server was started once");
    let metrics = master.http("/metrics").unwrap().body;
    let counted = format!("rejoin_agent_restarts_total {}", restarts(master));
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    assert!(master.log().contains("the keeper panicked; starting it again"));
    // The loop goes on: a member that moves is met again.
    fleet.pods[1].kill();
    fleet.swap_address(1);
    fleet.pods[1].start();
    fleet.wait_whole(LIMIT);
}

#[test]
fn guard_that_panics_starts_no_server_and_goes_on_as_soon_as_it_can() {
    let mut fleet = Fleet::new(&Recipe { shards: 1, ..recipe(&any_server()) });
    let file = break_at(&mut fleet, "rejoin::guard");
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    write_keys(&fleet);
    fleet.pods[0].kill();
    fs::write(&file, "").unwrap();
    fleet.pods[0].start();
    wait_restarts(&fleet.pods[0], 3);
    assert!(fleet.pods[0].server_pid().is_none(), "it would be empty");
    // PID 1 hears signals meanwhile.
    assert_eq!(fleet.pods[0].stop().code(), Some(128 + 15));
    fleet.pods[0].start();
    wait_restarts(&fleet.pods[0], 1);
    fs::remove_file(&file).unwrap();
    wait_role(&fleet.pods[0], "slave");
    fleet.wait_whole(LIMIT);
    assert_keys(&fleet);
}

/// A master and its replica, which are well; their hand-over panics while the file is there.
fn brittle_when_leaving(limit: &str) -> (Fleet, PathBuf) {
    let mut recipe = Recipe::wrapped(&any_server(), 1);
    recipe.env.push(("REJOIN_HANDOVER_TIMEOUT".to_owned(), limit.to_owned()));
    let mut fleet = Fleet::new(&recipe);
    let file = break_at(&mut fleet, "rejoin::handover");
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    (fleet, file)
}

#[test]
fn hand_over_that_panics_is_taken_up_again() {
    let (mut fleet, file) = brittle_when_leaving("60s");
    let child = fleet.pods[0].server_pid();
    fs::write(&file, "").unwrap();
    fleet.pods[0].signal(Signal::SIGTERM);
    wait_restarts(&fleet.pods[0], 2);
    assert_eq!(fleet.pods[0].server_pid(), child, "the signal is held back");
    fs::remove_file(&file).unwrap();
    assert!(fleet.pods[0].wait_exit(LIMIT).success());
    assert!(fleet.pods[0].log().contains("has taken over: "));
    wait_role(&fleet.pods[1], "master");
    fleet.pods[0].start();
    fleet.wait_whole(LIMIT);
}

#[test]
fn signal_passes_in_time_although_the_hand_over_panics() {
    let (mut fleet, file) = brittle_when_leaving("2s");
    fs::write(&file, "").unwrap();
    assert!(fleet.pods[0].stop().success());
    let log = fleet.pods[0].log();
    assert!(log.contains("the keeper panicked; starting it again"), "{log}");
    assert!(!log.contains("has taken over: "), "{log}");
    fs::remove_file(&file).unwrap();
    fleet.pods[0].start();
    fleet.wait_whole(LIMIT);
}

/// How many descriptors the pod's first process may have from now on.
#[track_caller]
fn limit_descriptors(pod: &Pod, count: u32) {
    let (pid, count) = (pod.pid().to_string(), format!("--nofile={count}:"));
    let output = run(Command::new("prlimit").args(["--pid", &pid, &count]));
    assert!(output.status.success(), "{output:?}");
}

/// The probes panic where they say that nobody can be let in any more, and then there is no
/// descriptor to begin anew with.
#[test]
fn agent_that_panics_as_a_whole_is_started_anew_while_the_server_goes_on() {
    let mut fleet = Fleet::new(&Recipe { replicas: 0, ..Recipe::wrapped(&any_server(), 1) });
    let file = break_at(&mut fleet, "rejoin::http");
    let mut fleet = started(fleet);
    let pod = &mut fleet.pods[0];
    let child = pod.server_pid();
    fs::write(&file, "").unwrap();
    limit_descriptors(pod, 3);
    let _knocks = TcpStream::connect(pod.http_address()).unwrap();
    for said in ["the agent panicked; starting it again", "the agent failed: "] {
        wait_for(LIMIT, said, || pod.log().contains(said));
    }
    assert_eq!(pod.text(&["PING"]).as_deref(), Ok("PONG"));
    limit_descriptors(pod, 1024);
    wait_says(pod, WELL);
    assert!(restarts(pod) >= 2);
    assert_eq!(pod.server_pid(), child, "the server was started once");
    assert!(pod.stop().success());
}
