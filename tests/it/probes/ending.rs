//! Servers that do not answer: not there yet, stopped, dead, leaving.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{LIMIT, WELL, alone, pair, says, wait_says, well};
use crate::support::process::send;
use crate::support::server::{any_server, servers};
use crate::support::wait::wait_ok;

#[test]
fn server_that_does_not_listen_yet_is_alive_but_neither_started_nor_ready() {
    let mut fleet = alone(&any_server());
    let go = fleet.dir().join("go");
    let late = fleet.dir().join("redis-server");
    let pod = &mut fleet.pods[0];
    let real = pod.server.bin.display();
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done", go.display());
    fs::write(&late, format!("#!/bin/sh\n{wait}\nexec {real} \"$@\"\n")).unwrap();
    fs::set_permissions(&late, Permissions::from_mode(0o755)).unwrap();
    pod.server.bin = late;
    pod.start();
    wait_says(
        pod,
        ["live: no answer for ", "not ready: no answer for ", "not started: no answer "],
    );
    assert!(pod.http("/readyz").unwrap().body.to_lowercase().contains("connection refused"));
    fs::write(&go, "").unwrap();
    wait_says(pod, WELL);
}

#[test]
fn stopped_server_is_soon_not_ready_and_after_half_a_minute_not_alive() {
    let fleet = well(&any_server());
    let pod = &fleet.pods[0];
    let server = pod.server_pid().unwrap();
    send(server, Signal::SIGSTOP);
    let start = Instant::now();
    wait_says(pod, ["live: no answer for ", "not ready: no answer for ", "started: "]);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    wait_says(pod, ["not live: no answer for ", "not ready: no answer for ", "started: "]);
    assert!(start.elapsed() >= Duration::from_secs(30), "{:?}", start.elapsed());
    send(server, Signal::SIGCONT);
    wait_says(pod, WELL);
}

#[test]
fn death_of_the_server_is_the_end_of_the_pod() {
    let mut fleet = well(&any_server());
    let pod = &mut fleet.pods[0];
    send(pod.server_pid().unwrap(), Signal::SIGKILL);
    assert_eq!(pod.wait_exit(LIMIT).code(), Some(128 + 9));
    let (code, line) = (pod.rejoin(&["live"]), "not live: no rejoin answers at ");
    assert_eq!(code.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&code.stdout).starts_with(line), "{code:?}");
}

#[test]
fn pod_is_not_ready_from_the_first_sigterm_on() {
    // Since 7.0 a server waits on its way out for replicas that lag.
    for server in servers().iter().filter(|server| server.is_at_least((7, 0))) {
        let mut fleet = pair(server);
        let (master, replicas) = fleet.pods.split_at_mut(1);
        let frozen = replicas[0].server_pid().unwrap();
        send(frozen, Signal::SIGSTOP);
        master[0].redis(&["SET", "a", "b"]).unwrap();
        master[0].signal(Signal::SIGTERM);
        let leaving = ["live: leaving since ", "not ready: leaving since ", "started: "];
        wait_ok(Duration::from_secs(5), "a pod that leaves", || says(&master[0], leaving));
        // It waits for ten seconds, and all the while says so.
        says(&master[0], leaving).unwrap();
        send(frozen, Signal::SIGCONT);
        assert!(master[0].wait_exit(LIMIT).success());
    }
}
