//! What ends `rejoin` before the server starts, with nothing touched; and what never does.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::{NODES_CONF, is_refused, parts, typed};
use crate::support::block::Block;
use crate::support::server::any_server;

/// A volume, and a server's command line on it that leaves a mark if it ever starts.
struct Volume {
    dir: tempfile::TempDir,
    http: String,
    _block: Block,
}

impl Volume {
    fn new() -> Volume {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("nodes.conf"), NODES_CONF).unwrap();
        let conf =
            format!("cluster-enabled yes\nport 0\nunixsocket started\nlogfile log\ndir {}\n", {
                dir.path().display()
            });
        fs::write(dir.path().join("redis.conf"), conf).unwrap();
        let block = Block::take();
        Volume { dir, http: format!("{}:8080", block.ip(1)), _block: block }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the server under `rejoin` with these settings, which have to be refused.
    #[track_caller]
    fn refuses(&self, env: &[(&str, &str)], words: &[&str]) {
        let server = any_server().bin;
        let mut all = vec![("POD_IP", "10.1.2.3"), ("REJOIN_HTTP", &self.http)];
        all.extend(env);
        is_refused(&typed(self.path(), &[server.to_str().unwrap(), "redis.conf"], &all), 78, words);
        for file in ["started", "log", "nodes.conf.bak", "nodes.conf.rejoin-tmp"] {
            assert!(!self.path().join(file).exists(), "{file} exists");
        }
        assert_eq!(fs::read_to_string(self.path().join("nodes.conf")).unwrap(), NODES_CONF);
    }
}

#[test]
fn wrong_value_of_every_variable_is_one_line_that_names_it() {
    let volume = Volume::new();
    for (name, value) in [
        ("POD_IP", ""),
        ("POD_IP", "10.1.2"),
        ("REJOIN_SHARDS", "three"),
        ("REJOIN_SHARDS", "0"),
        ("REJOIN_REPLICAS", "-1"),
        ("REJOIN_SERVICE", "${SERVICE}"),
        ("REJOIN_PEERS", "a b"),
        ("REJOIN_HTTP", "off"),
        ("REJOIN_HTTP", "8080x"),
        ("REJOIN_HANDOVER_TIMEOUT", "soon"),
        ("REJOIN_LOG", "inof"),
        ("REJOIN_LOG_FORMAT", "xml"),
        ("REJOIN_SHARDS", "3\n4"),
    ] {
        let named = format!("rejoin: {name} is {value:?}: ");
        volume.refuses(&[(name, value)], &[&named, "; "]);
    }
    volume.refuses(
        &[("REJOIN_PASSWORD", "a-secret"), ("REJOIN_PASSWORD_FILE", "/f")],
        &["REJOIN_PASSWORD and REJOIN_PASSWORD_FILE are both set"],
    );
}

#[test]
fn taken_port_of_the_probes_ends_before_anything_is_touched() {
    let volume = Volume::new();
    let _taken = TcpListener::bind(&volume.http).unwrap();
    volume.refuses(&[], &["cannot serve the probes at ", &volume.http, "REJOIN_HTTP"]);
    assert!(!volume.path().join("nodes.conf.rejoin-lock").exists());
}

#[test]
fn lock_held_by_another_ends_before_anything_is_touched() {
    let volume = Volume::new();
    let file = File::create(volume.path().join("nodes.conf.rejoin-lock")).unwrap();
    let _held = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    volume.refuses(&[], &["nodes.conf.rejoin-lock is held", "nothing was touched"]);
}

#[test]
fn other_commands_ignore_every_variable() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = [
        "POD_IP",
        "REJOIN_SHARDS",
        "REJOIN_REPLICAS",
        "REJOIN_SERVICE",
        "REJOIN_PEERS",
        "REJOIN_HTTP",
        "REJOIN_HANDOVER_TIMEOUT",
        "REJOIN_LOG",
        "REJOIN_LOG_FORMAT",
    ]
    .map(|name| (name, " wrong \n"));
    let (code, out, err) =
        parts(&typed(dir.path(), &["sh", "-c", "echo \"$REJOIN_LOG\"; exit 3"], &wrong));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(3), " wrong \n\n", ""));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn probes_with_a_wrong_address_say_so() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["live", "ready", "startup", "status"] {
        let output = typed(dir.path(), &[command], &[("REJOIN_HTTP", "x")]);
        is_refused(&output, 78, &["REJOIN_HTTP is \"x\": "]);
    }
}
