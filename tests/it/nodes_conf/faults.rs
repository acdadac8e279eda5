//! A kill or a failing call at any step of `rejoin fix` leaves whole files.

use std::fs;
use std::path::Path;
use std::process::Command;

use rejoin::nodes_conf::{Verdict, assess, with_own_ip};

use super::fixture;
use super::tracer::{Ended, Fault, fix_with, server_arguments};

const IP: &str = "10.9.8.7";

/// What is in the directory at the start.
struct Start {
    file: Vec<u8>,
    backup: Option<Vec<u8>>,
}

impl Start {
    fn lay_out(&self, directory: &Path) {
        fs::write(directory.join("nodes.conf"), &self.file).expect("write");
        if let Some(backup) = &self.backup {
            fs::write(directory.join("nodes.conf.bak"), backup).expect("write");
        }
    }
}

fn read(directory: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(directory.join(name)).ok()
}

fn is_whole(content: &[u8]) -> bool {
    matches!(assess(content), Verdict::Whole(_))
}

/// Runs `rejoin fix` to its end and says what it said.
#[track_caller]
fn fix(directory: &Path) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    command.arg("fix").args(server_arguments(directory)).env("POD_IP", IP);
    #[allow(clippy::disallowed_methods, reason = "a test has no init that could spawn")]
    let output = command.output().expect("rejoin runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ended { status: output.status, stderr, struck: false }
}

/// No file of ours but these may be left.
#[track_caller]
fn assert_tidy(directory: &Path, allowed: &[&str], context: &str) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        assert!(allowed.contains(&name.as_str()), "{context}: {name} was left");
    }
}

const ALL: &[&str] = &["nodes.conf", "nodes.conf.bak", "nodes.conf.rejoin-lock", "nodes.conf.torn"];

/// Kills `rejoin fix` at every stop. `repaired` is what `nodes.conf` is to be in the end.
#[track_caller]
fn killed_at_every_stop(start: &Start, repaired: &[u8], fault: fn(usize) -> Fault) {
    for stop in 0.. {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        start.lay_out(directory);
        let ended = fix_with(directory, IP, fault(stop));
        let context = format!("killed at stop {stop}: {}", ended.stderr);
        let file = read(directory, "nodes.conf").expect("nodes.conf is there");
        assert!(file == start.file || file == repaired, "{context}: neither old nor new");
        match read(directory, "nodes.conf.bak") {
            Some(backup) => assert!(is_whole(&backup), "{context}: torn backup"),
            None => assert!(start.backup.is_none(), "{context}: lost backup"),
        }
        let next = fix(directory);
        assert!(next.status.success(), "{context}; then {}", next.stderr);
        assert_eq!(read(directory, "nodes.conf").as_deref(), Some(repaired), "{context}");
        let backup = read(directory, "nodes.conf.bak").expect("a backup");
        assert!(is_whole(&backup), "{context}: torn backup at last");
        assert_tidy(directory, ALL, &context);
        if !ended.struck {
            assert!(ended.status.success(), "{}", ended.stderr);
            assert!(stop > 40, "killed only {stop} times");
            return;
        }
    }
}

fn corrected(file: &[u8]) -> Vec<u8> {
    with_own_ip(file, IP.parse().expect("an address")).expect("a whole file").into_owned()
}

#[test]
fn kill_during_first_rewrite_leaves_old_or_new() {
    let file = fixture("redis-6.2-formed-master.conf");
    let repaired = corrected(&file);
    killed_at_every_stop(&Start { file, backup: None }, &repaired, Fault::KillAt);
}

#[test]
fn kill_during_later_rewrite_leaves_old_or_new_and_a_whole_backup() {
    let file = fixture("redis-6.2-failed-over.conf");
    let backup = Some(fixture("redis-6.2-formed-master.conf"));
    let repaired = corrected(&file);
    killed_at_every_stop(&Start { file, backup }, &repaired, Fault::KillAt);
}

#[test]
fn kill_during_restoring_leaves_torn_or_repaired_and_the_backup() {
    let backup = fixture("redis-6.2-formed-master.conf");
    let file = backup[..300].to_vec();
    let repaired = corrected(&backup);
    killed_at_every_stop(&Start { file, backup: Some(backup) }, &repaired, Fault::KillAt);
}

#[test]
fn kill_during_renewal_of_backup_leaves_a_whole_backup() {
    let file = corrected(&fixture("redis-6.2-failed-over.conf"));
    let backup = Some(fixture("redis-6.2-formed-master.conf"));
    let repaired = file.clone();
    killed_at_every_stop(&Start { file, backup }, &repaired, Fault::KillAt);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn kill_where_volume_has_no_hard_links_leaves_old_or_new_and_a_whole_backup() {
    let file = fixture("redis-6.2-failed-over.conf");
    let backup = Some(fixture("redis-6.2-formed-master.conf"));
    let repaired = corrected(&file);
    killed_at_every_stop(&Start { file, backup }, &repaired, Fault::NoLinksKillAt);
}

/// Lets each call that changes the volume fail in turn.
#[cfg(target_arch = "x86_64")]
#[track_caller]
fn failing_at_every_change(start: &Start, repaired: &[u8], errno: nix::errno::Errno) {
    for change in 0.. {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        start.lay_out(directory);
        let ended = fix_with(directory, IP, Fault::Fail(change, errno));
        let context = format!("{errno} at change {change}: {}", ended.stderr);
        let file = read(directory, "nodes.conf").expect("nodes.conf is there");
        match ended.status.code() {
            Some(0) => assert!(file == repaired, "{context}: not repaired"),
            Some(74) if ended.stderr.contains("replaced") => assert!(file == repaired, "{context}"),
            Some(74) => assert!(file == start.file, "{context}: not the old file"),
            other => panic!("{context}: exit code {other:?}"),
        }
        let errors = usize::from(ended.status.code() != Some(0));
        assert_eq!(ended.stderr.lines().count(), errors, "{context}");
        match read(directory, "nodes.conf.bak") {
            Some(backup) => assert!(is_whole(&backup), "{context}: torn backup"),
            None => assert!(start.backup.is_none(), "{context}: lost backup"),
        }
        assert_tidy(directory, ALL, &context);
        if !ended.struck {
            assert!(change > 5, "only {change} changes");
            return;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn full_volume_gives_one_error_with_code_74_and_changes_nothing() {
    let file = fixture("redis-6.2-failed-over.conf");
    let backup = Some(fixture("redis-6.2-formed-master.conf"));
    let repaired = corrected(&file);
    failing_at_every_change(&Start { file, backup }, &repaired, nix::errno::Errno::ENOSPC);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn read_only_volume_gives_one_error_with_code_74_and_changes_nothing() {
    let backup = fixture("redis-6.2-formed-master.conf");
    let file = backup[..300].to_vec();
    let repaired = corrected(&backup);
    let start = Start { file, backup: Some(backup) };
    failing_at_every_change(&start, &repaired, nix::errno::Errno::EROFS);
}
