//! `rejoin fix`, `rejoin exec`, a link called `fix-ip.sh`, `rejoin install`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{LIMIT, NODES_CONF, command, is_refused, parts, typed};
use crate::support::block::Block;
use crate::support::pod::rejoin;
use crate::support::process::{kill_tree, run, spawn, stat};
use crate::support::server::any_server;
use crate::support::wait::wait_for;

const IP: (&str, &str) = ("POD_IP", "10.1.2.3");

/// The files, sockets and so on that a process has open, but for its standard streams.
fn open_files(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    files
        .filter(|file| file.file_name().to_string_lossy().parse::<u32>().is_ok_and(|fd| fd > 2))
        .filter_map(|file| fs::read_link(file.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect()
}

/// A directory with a `nodes.conf` and a `redis.conf` that names the directory.
fn volume() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("nodes.conf"), NODES_CONF).unwrap();
    let conf = format!("cluster-enabled yes\ndir {}\nport 0\n", dir.path().display());
    fs::write(dir.path().join("redis.conf"), conf).unwrap();
    dir
}

fn nodes_conf(dir: &Path) -> String {
    fs::read_to_string(dir.join("nodes.conf")).unwrap()
}

fn corrected() -> String {
    NODES_CONF.replace("10.9.9.9", "10.1.2.3")
}

#[test]
fn fix_corrects_the_file_of_a_server_s_command_line() {
    for args in [
        &["fix"][..],
        &["fix", "--nodes-conf", "nodes.conf"],
        &["fix", "redis-server", "redis.conf"],
        &["fix", "valkey-server", "redis.conf", "--port", "1"],
        &["--pod-ip", "10.1.2.3", "fix"],
    ] {
        let dir = volume();
        let (code, out, err) = parts(&typed(dir.path(), args, &[IP]));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        let said = "own address changed from \"10.9.9.9\" to 10.1.2.3\n";
        assert!(out.contains("nodes.conf: ") && out.ends_with(said), "{args:?}: {out}");
        assert_eq!(nodes_conf(dir.path()), corrected());
        assert_eq!(fs::read_to_string(dir.path().join("nodes.conf.bak")).unwrap(), NODES_CONF);
        let (code, out, _) = parts(&typed(dir.path(), args, &[IP]));
        assert_eq!(code, Some(0));
        assert!(out.ends_with("own address is right already\n"), "{out}");
    }
}

#[test]
fn fix_without_a_usable_pod_ip_changes_nothing() {
    for (env, words) in [
        (&[][..], ["POD_IP is not set", "status.podIP"]),
        (&[("POD_IP", "")][..], ["POD_IP is \"\"", "status.podIP"]),
        (&[("POD_IP", "redis-0")][..], ["POD_IP is \"redis-0\"", "; "]),
        (&[("POD_IP", "10.0.0.1 10.0.0.2")][..], ["POD_IP is ", "; "]),
    ] {
        for args in [&["fix"][..], &["exec", "redis-server", "redis.conf"]] {
            let dir = volume();
            is_refused(&typed(dir.path(), args, env), 78, &words);
            assert_eq!(nodes_conf(dir.path()), NODES_CONF);
            assert!(!dir.path().join("nodes.conf.bak").exists());
        }
    }
}

#[test]
fn first_boot_needs_no_pod_ip_and_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = parts(&typed(dir.path(), &["fix"], &[]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("first boot"), "{out}");
    assert!(!dir.path().join("nodes.conf").exists());
}

#[test]
fn server_started_without_pod_ip_is_warned_of_its_next_start() {
    let dir = volume();
    fs::remove_file(dir.path().join("nodes.conf")).unwrap();
    // A server of that name that ends at once.
    symlink("/bin/true", dir.path().join("redis-server")).unwrap();
    let block = Block::take();
    let http = format!("{}:8080", block.ip(1));
    let start = || typed(dir.path(), &["./redis-server", "redis.conf"], &[("REJOIN_HTTP", &http)]);
    let (code, _, err) = parts(&start());
    assert_eq!(code, Some(0));
    assert!(err.contains("WARN POD_IP is not set: the next start will need it"), "{err}");
    // A backup would be put back.
    for file in ["nodes.conf.bak", "nodes.conf"] {
        fs::write(dir.path().join(file), NODES_CONF).unwrap();
        is_refused(&start(), 78, &["POD_IP is not set, and nodes.conf needs this pod's address"]);
    }
}

#[test]
fn fix_of_what_is_no_server_is_refused() {
    let dir = volume();
    is_refused(&typed(dir.path(), &["fix", "sh", "-c", "x"], &[IP]), 78, &["sh is no Redis"]);
    assert_eq!(nodes_conf(dir.path()), NODES_CONF);
}

#[test]
fn torn_file_without_backup_is_refused_and_left_as_it_is() {
    let dir = volume();
    fs::write(dir.path().join("nodes.conf"), &NODES_CONF[..50]).unwrap();
    is_refused(&typed(dir.path(), &["fix"], &[IP]), 78, &["nodes.conf is damaged"]);
    assert_eq!(nodes_conf(dir.path()), NODES_CONF[..50]);
}

#[test]
fn exec_becomes_the_server_and_leaves_it_the_lock() {
    let server = any_server();
    let dir = volume();
    let program = server.bin.to_str().unwrap();
    let mut exec = command(dir.path(), &["exec", program, "redis.conf", "--unixsocket", "sock"]);
    let mut child = spawn(exec.envs([IP]));
    let pid = child.id();
    let cli = |args: &[&str]| {
        let output = run(std::process::Command::new(&server.cli)
            .arg("-s")
            .arg(dir.path().join("sock"))
            .args(args));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    wait_for(LIMIT, "the server to answer", || cli(&["PING"]) == "PONG");
    // The same process, with no child of ours beside it.
    assert!(stat(pid).is_some_and(|stat| stat.name.ends_with("-server")));
    assert!(cli(&["INFO", "server"]).contains(&format!("process_id:{pid}")));
    assert_eq!(cli(&["CONFIG", "GET", "cluster-announce-ip"]), "cluster-announce-ip\n10.1.2.3");
    assert_eq!(cli(&["CLUSTER", "MYID"]), "1".repeat(40));
    let locks = open_files(pid).iter().filter(|file| file.ends_with("rejoin-lock")).count();
    assert_eq!(locks, 1, "the lock, once: {:?}", open_files(pid));
    // As long as it runs nobody else can have the file.
    let other = typed(dir.path(), &["fix"], &[IP]);
    is_refused(&other, 78, &["nodes.conf.rejoin-lock is held", "nothing was touched"]);
    kill_tree(&mut child);
    assert_eq!(typed(dir.path(), &["fix"], &[IP]).status.code(), Some(0));
}

#[test]
fn wrapped_server_has_nothing_of_ours_open() {
    let fleet = super::ready(&any_server());
    let pod = &fleet.pods[0];
    let (ours, its) = (open_files(pod.pid()), open_files(pod.server_pid().unwrap()));
    assert!(ours.iter().any(|file| file.ends_with("nodes.conf.rejoin-lock")), "{ours:?}");
    assert!(!its.iter().any(|file| file.contains("rejoin-lock")), "{its:?}");
    let shared = its.iter().filter(|file| file.starts_with("socket:") && ours.contains(file));
    assert_eq!(shared.count(), 0, "{ours:?} and {its:?}");
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", pod.pid())).unwrap(), Path::new("/"));
}

#[test]
fn exec_of_any_other_command_does_just_that() {
    let dir = volume();
    let env = [("REJOIN_SHARDS", "none of your business"), ("POD_IP", "x")];
    let script = ["exec", "sh", "-c", "echo $0 $POD_IP; exit 3", "--version"];
    let (code, out, err) = parts(&typed(dir.path(), &script, &env));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(3), "--version x\n", ""));
    assert_eq!(nodes_conf(dir.path()), NODES_CONF);
    is_refused(&typed(dir.path(), &["exec", "/nowhere/x"], &[]), 127, &["cannot run /nowhere/x"]);
    is_refused(&typed(dir.path(), &["exec", "/"], &[]), 126, &["cannot run /"]);
}

#[test]
fn link_called_fix_ip_sh_is_rejoin() {
    let dir = volume();
    let link = dir.path().join("fix-ip.sh");
    symlink(rejoin(), &link).unwrap();
    let typed = |args: &[&str]| {
        let mut command = std::process::Command::new(&link);
        parts(&run(command.env_clear().env(IP.0, IP.1).current_dir(dir.path()).args(args)))
    };
    assert_eq!(typed(&["/bin/sh", "-c", "exit 4"]).0, Some(4));
    assert_eq!(nodes_conf(dir.path()), NODES_CONF);
    assert_eq!(typed(&["fix", "redis-server", "redis.conf"]).0, Some(0));
    assert_eq!(nodes_conf(dir.path()), corrected());
}

#[test]
fn installed_copy_works_and_a_wrong_place_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = parts(&typed(dir.path(), &["install", "."], &[]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("installed ./rejoin ("), "{out}");
    let copy = dir.path().join("rejoin");
    let mut command = std::process::Command::new(&copy);
    assert_eq!(run(command.args(["sh", "-c", "exit 5"])).status.code(), Some(5));
    // In place of itself, while it runs.
    let mut again = std::process::Command::new(&copy);
    assert!(run(again.arg("install").arg(&copy)).status.success());
    is_refused(
        &typed(dir.path(), &["install", "/nowhere/x"], &[]),
        74,
        &["nothing was installed", "/nowhere/"],
    );
}
