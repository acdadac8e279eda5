//! The init of a container: what it gets, what it passes on, and what it cleans up.

use std::fs;
use std::time::Duration;

use crate::support::process::{descendants, stat};
use crate::support::wait::wait_ok;

use super::load::{assert_keys, write_keys};
use super::set::Set;
use super::{LIMIT, formed, in_every_version};

const KEYS: usize = 100;

/// Whether a container runs, and how it ended otherwise.
fn state(set: &Set, ordinal: usize) -> String {
    let container = &set.pods[&ordinal].container;
    container.inspect(".State.Status") + " " + &container.inspect(".State.ExitCode")
}

#[track_caller]
fn wait_state(set: &Set, ordinal: usize, expected: &str) {
    wait_ok(LIMIT, &format!("redis-{ordinal} to be {expected:?} on {}", set.version), || {
        let state = state(set, ordinal);
        if state == expected { Ok(()) } else { Err(state) }
    });
}

#[test]
fn signals_of_the_engine_reach_the_server_and_its_end_is_the_containers() {
    in_every_version(|set| {
        let mut set = formed(set);
        write_keys(&set, KEYS);
        // A replica, since what a master does first on SIGTERM is shown elsewhere.
        let replica = *set.pods.keys().last().expect("six");
        for (signal, end) in [
            ("TERM", "exited 0"),
            ("INT", "exited 0"),
            ("KILL", "exited 137"),
            ("VTALRM", "exited 154"),
        ] {
            set.crash(replica, &["kill", "--signal", signal]);
            wait_state(&set, replica, end);
            set.restart(replica);
            set.wait_whole();
        }
        // Redis ignores it, and so does the container.
        set.pods[&replica].container.act(&["kill", "--signal", "HUP"]);
        // A master that is killed with its init comes back as it was, or finds its replica promoted.
        set.crash(0, &["kill"]);
        wait_state(&set, 0, "exited 137");
        set.restart(0);
        set.wait_whole();
        assert_eq!(state(&set, replica), "running 0", "{}", set.version);
        assert_keys(&set, KEYS);
    });
}

#[test]
fn server_killed_for_its_memory_ends_the_container_and_comes_back() {
    in_every_version(|mut set| {
        let limits = &mut set.rendered.container_mut().resources.limits;
        limits.insert("memory".to_owned(), "96Mi".to_owned());
        let mut set = formed(set);
        write_keys(&set, KEYS);
        // A script's memory is not maxmemory's: it grows until the kernel ends the server.
        // In large pieces, so that it is not slowed down by the kernel's last search for pages.
        let script = "local t = {} for n = 1, 1e9 do t[n] = string.rep('x', 2^25) .. n end";
        let died = set.pods[&1].ask(&["EVAL", script, "0"]);
        println!("{}: {died:?}", set.version);
        wait_state(&set, 1, "exited 137");
        assert_eq!(set.pods[&1].container.inspect(".State.OOMKilled"), "true");
        set.restart(1);
        set.wait_whole();
        assert_keys(&set, KEYS);
    });
}

/// The zombies below a process.
fn zombies(pid: u32) -> Vec<String> {
    let is_zombie = |pid: &u32| stat(*pid).filter(|stat| stat.state == 'Z').map(|stat| stat.name);
    descendants(pid).iter().filter_map(is_zombie).collect()
}

#[test]
fn orphans_of_exec_probes_are_reaped() {
    in_every_version(|mut set| {
        set.create(0);
        set.wait_ready(0);
        let container = &set.pods[&0].container;
        let pid = container.pid();
        for _ in 0..20 {
            // As a probe that is given up: what it started is nobody's, and ends later.
            let script = "(sleep 0.2 & sleep 0.3 &) ; exit 0";
            container.exec(&["sh", "-c", script]).expect("it runs");
        }
        wait_ok(Duration::from_secs(10), "the orphans to be gone", || {
            let names = descendants(pid).into_iter().filter_map(stat).map(|stat| stat.name);
            let left: Vec<String> = names.filter(|name| name == "sleep").collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}, {:?}", zombies(pid))) }
        });
        assert_eq!(zombies(pid), Vec::<String>::new(), "{}", set.version);
        // The file system is read-only, and nothing ran as root.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        assert!(status.contains("Uid:\t999\t999\t999\t999"), "{status}");
        assert!(status.contains("Seccomp:\t2"), "{status}");
        assert!(set.pods[&0].container.exec(&["touch", "/usr/x"]).is_err());
    });
}
