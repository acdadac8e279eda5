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

/// Between a client's writes.
const PAUSE: Duration = Duration::from_millis(2);

/// What a client did while the pods were restarted.
#[derive(Default)]
struct Course {
    /// Writes that were read back.
    count: u32,
    /// What it surfaced, after its own retries.
    errors: Vec<String>,
}

impl Course {
    fn note(&mut self, result: redis::RedisResult<u32>) {
        match result {
            Ok(found) if found == self.count => {}
            other => self.errors.push(format!("{}: {other:?}", self.count)),
        }
        self.count += 1;
    }
}

fn set(count: u32) -> redis::Cmd {
    let mut set = redis::cmd("SET");
    set.arg(format!("rust-{count}")).arg(count);
    set
}

fn get(count: u32) -> redis::Cmd {
    let mut get = redis::cmd("GET");
    get.arg(format!("rust-{count}"));
    get
}

/// Restarts all pods while a client, which writes and reads until it is told to end, runs beside it.
fn roll_beside(fleet: &mut Fleet, client: impl FnOnce(&AtomicBool) -> Course + Send) -> Course {
    let ended = AtomicBool::new(false);
    let course = std::thread::scope(|scope| {
        let client = scope.spawn(|| client(&ended));
        roll(fleet, AWAY);
        ended.store(true, Ordering::Relaxed);
        client.join().expect("it does not panic")
    });
    println!("redis-rs: {} writes and reads, errors: {:?}", course.count, course.errors);
    assert!(course.count > 100, "{}", course.count);
    course
}

#[test]
fn redis_rs_surfaces_no_error() {
    let mut fleet = formed(&any_server());
    let client = fleet.cluster_client().expect("addresses");
    let course = roll_beside(&mut fleet, |ended| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("threads").block_on(async {
            let mut client = client.get_async_connection().await.expect("a whole cluster");
            let mut course = Course::default();
            while !ended.load(Ordering::Relaxed) {
                let written = set(course.count).query_async::<()>(&mut client).await;
                course.note(match written {
                    Ok(()) => get(course.count).query_async(&mut client).await,
                    Err(error) => Err(error),
                });
                tokio::time::sleep(PAUSE).await;
            }
            course
        })
    });
    assert_eq!(course.errors, [""; 0]);
}

/// On each `MOVED` it asks for the slots over the first connection that it holds, and where that one's
/// server has ended meanwhile it surfaces the error and keeps the connection (`create_new_slots` in
/// its `cluster_handling/sync_connection`, 1.8). So its user makes a new one, which always serves.
#[test]
fn blocking_redis_rs_that_connects_anew_after_an_error_serves_on() {
    let mut fleet = formed(&any_server());
    let client = fleet.cluster_client().expect("addresses");
    let course = roll_beside(&mut fleet, |ended| {
        let mut connection = client.get_connection().expect("a whole cluster");
        let mut course = Course::default();
        while !ended.load(Ordering::Relaxed) {
            let errors = course.errors.len();
            let written = set(course.count).query::<()>(&mut connection);
            course.note(written.and_then(|()| get(course.count).query(&mut connection)));
            if course.errors.len() > errors {
                connection = client.get_connection().expect("pods that answer");
            }
            rest(PAUSE);
        }
        course
    });
    assert!(course.errors.len() <= fleet.pods.len(), "{:?}", course.errors);
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
