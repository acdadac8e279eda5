//! Real cluster clients, with their default retries, through a rolling restart of all six pods.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::rolling::roll;
use super::*;
use crate::support::left_out::left_out;
use crate::support::process::rest;
use crate::support::running::Running;
use crate::support::server::any_server;

/// How long each pod is away.
const AWAY: Duration = Duration::from_millis(500);

#[test]
fn redis_rs_surfaces_no_error() {
    let mut fleet = formed(&any_server());
    let ended = AtomicBool::new(false);
    let mut client = fleet.client().expect("a whole cluster");
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut count, mut errors) = (0, Vec::new());
            while !ended.load(Ordering::Relaxed) {
                let key = format!("rust-{count}");
                let set = redis::cmd("SET").arg(&key).arg(count).query::<()>(&mut client);
                let get = redis::cmd("GET").arg(&key).query::<u32>(&mut client);
                match set.and(get) {
                    Ok(found) if found == count => {}
                    other => errors.push(format!("{key}: {other:?}")),
                }
                count += 1;
                rest(Duration::from_millis(2));
            }
            (count, errors)
        });
        roll(&mut fleet, AWAY);
        ended.store(true, Ordering::Relaxed);
        let (count, errors) = client.join().expect("it does not panic");
        println!("redis-rs: {count} writes and reads, errors: {errors:?}");
        assert!(count > 100 && errors.is_empty(), "{count}, {errors:?}");
    });
}

#[test]
fn redis_py_surfaces_no_error() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/bin/python");
    if !python.exists() {
        return left_out("redis-py through a rolling restart: see scripts/clients");
    }
    let mut fleet = formed(&any_server());
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/leaving/client.py"));
    command.args(fleet.pods.iter().map(|pod| pod.address().to_string()));
    let access = &fleet.pods[0].access;
    if let (true, Some(user), Some(password)) = (access.tls, &access.user, &access.password) {
        command.env("CLIENT_TLS", fleet.dir());
        command.env("CLIENT_USER", user).env("CLIENT_PASSWORD", password);
    }
    let mut client = Running::start(&mut command);
    client.expect("ready");
    roll(&mut fleet, AWAY);
    client.say("stop");
    let line = client.line();
    println!("redis-py: {line}");
    let mut words = line.split(' ');
    let mut number = || words.next().and_then(|word| word.parse().ok());
    let (ok, errors): (Option<u32>, Option<u32>) = (number(), number());
    assert!(ok.is_some_and(|ok| ok > 100) && errors == Some(0), "{line}");
}
