//! Servers that are at work: loading, in a script, without their master, without room on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use super::{LIMIT, WELL, alone, pair, wait_says, well};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::left_out::left_out;
use crate::support::process::run;
use crate::support::server::{any_server, servers};
use crate::support::wait::wait_for;

#[test]
fn loading_server_is_alive_and_started_but_not_ready() {
    for server in servers() {
        if !server.is_at_least((7, 0)) {
            left_out("a server that loads slowly: CONFIG SET while it does is new in 7.0");
            continue;
        }
        let mut fleet = well(&server);
        let pod = &mut fleet.pods[0];
        // About ten seconds at the delay below, in which it answers every third of a second.
        let fill = "for i = 1, 30000 do redis.call('set', '{a}' .. i, i) end";
        pod.redis(&["EVAL", fill, "0"]).unwrap();
        assert!(pod.stop().success());
        pod.conf.push("key-load-delay 300".to_owned());
        pod.start();
        wait_says(
            pod,
            [
                "live: the server answered LOADING",
                "not ready: the server answers LOADING: it reads its data set",
                "started: the server answered LOADING",
            ],
        );
        pod.redis(&["CONFIG", "SET", "key-load-delay", "0"]).unwrap();
        wait_says(pod, WELL);
        assert_eq!(pod.text(&["DBSIZE"]).unwrap(), "30000");
    }
}

#[test]
fn server_in_an_endless_script_is_alive_but_not_ready() {
    for server in servers() {
        let mut fleet = alone(&server);
        fleet.pods[0].conf.push("lua-time-limit 100".to_owned());
        fleet.start_all();
        let pod = &fleet.pods[0];
        wait_says(pod, WELL);
        std::thread::scope(|scope| {
            scope.spawn(|| pod.redis(&["EVAL", "while true do end", "0"]));
            wait_says(
                pod,
                [
                    "live: the server answered BUSY",
                    "not ready: the server answers BUSY: a script runs",
                    "started: the server answered BUSY",
                ],
            );
            pod.redis(&["SCRIPT", "KILL"]).unwrap();
        });
        wait_says(pod, WELL);
    }
}

#[test]
fn replica_that_refuses_to_serve_without_its_master_is_alive_but_not_ready() {
    for server in servers() {
        let mut fleet = pair(&server);
        fleet.pods[1].redis(&["CONFIG", "SET", "replica-serve-stale-data", "no"]).unwrap();
        fleet.pods[0].kill();
        wait_says(
            &fleet.pods[1],
            [
                "live: the server answered MASTERDOWN",
                "not ready: the server answers MASTERDOWN: a replica without its master",
                "started: the server answered MASTERDOWN",
            ],
        );
        fleet.pods[0].start();
        wait_says(&fleet.pods[1], ["live: ", "ready: a replica, cluster_state is ok", "started: "]);
    }
}

#[test]
fn replicas_that_refuse_to_serve_are_seen_and_healed_on_new_addresses() {
    for server in servers() {
        let recipe = Recipe::wrapped(&server, 1);
        let conf = vec!["replica-serve-stale-data no".to_owned()];
        let mut fleet = Fleet::started(&Recipe { conf, ..recipe });
        fleet.wait_whole(LIMIT);
        // Not by SIGTERM, which a server refuses while it writes its first append-only file.
        fleet.pods.iter_mut().for_each(|pod| _ = pod.kill());
        let new = fleet.spare.clone();
        for (pod, ip) in fleet.pods.iter_mut().zip(new) {
            pod.ip = ip;
            pod.start();
        }
        fleet.wait_whole(LIMIT);
    }
}

#[test]
fn replica_without_its_master_is_alive_but_not_ready() {
    let mut fleet = pair(&any_server());
    fleet.pods[0].kill();
    let down = "not ready: a replica whose link to its master is down";
    wait_says(&fleet.pods[1], ["live: the server answered OK", down, "started: "]);
}

#[test]
fn server_on_a_full_disk_is_alive_and_ready() {
    let mut fleet = alone(&any_server());
    let Some(disk) = Disk::mount(&fleet.pods[0].data(), "a full disk") else { return };
    fleet.start_all();
    let pod = &fleet.pods[0];
    wait_says(pod, WELL);
    fs::write(disk.at.join("filler"), vec![0; 64 << 20]).unwrap_err();
    let misconf = || {
        let set = pod.text(&["SET", "a", &"x".repeat(8192)]);
        set.is_err_and(|error| error.contains("MISCONF"))
    };
    wait_for(LIMIT, "the server to notice that its disk is full", misconf);
    // Reads go on, and nobody else has the data: to take the pod away would help nobody.
    wait_says(pod, WELL);
    fs::remove_file(disk.at.join("filler")).unwrap();
    fleet.pods[0].kill();
}

/// A small file system that only this thread and what it starts can see.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts 16 MiB, or says that `what` is left out.
    fn mount(at: &Path, what: &str) -> Option<Disk> {
        let mount = |args: &[&str]| run(Command::new("mount").args(args).arg(at)).status.success();
        let unshared = unshare(CloneFlags::CLONE_NEWNS).is_ok()
            && run(Command::new("mount").args(["--make-rprivate", "/"])).status.success();
        if unshared && mount(&["-t", "tmpfs", "-o", "size=16m", "tmpfs"]) {
            return Some(Disk { at: at.to_owned() });
        }
        left_out(&format!("{what}: no file system can be mounted here"));
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.at));
    }
}
