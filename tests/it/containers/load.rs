//! Clients: one writer for each shard, and what they have seen. Their own few lines instead of a
//! library's cluster client, whose pauses between tries would be measured with the server's.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue, RedisResult};

use crate::support::process::rest;
use crate::support::wait::wait_ok;

use super::LIMIT;
use super::set::{PORT, Set};

/// One key for each third of the slots, which is a master's share in a set of three.
const KEYS: [&str; 3] = ["load-0", "load-1", "load-3"];

/// Longest wait for a connection or an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// A client of one key at a time, which goes where it is sent.
struct Client {
    known: BTreeSet<SocketAddr>,
    connection: Option<Connection>,
}

impl Client {
    fn new(set: &Set) -> Self {
        let known = set.pods.values().map(|pod| SocketAddr::new(pod.ip, PORT)).collect();
        Self { known, connection: None }
    }

    /// Sends a command where the last one went, or was sent to.
    fn send<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, String> {
        let mut last = String::new();
        // To somebody, then to where that one sends us.
        for _ in 0..2 {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.anybody()?,
            };
            match command.query(&mut connection) {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(error) => {
                    last = error.to_string();
                    let to = error.redirect_node().and_then(|(node, _)| address(node));
                    let Some(to) = to else { break };
                    self.known.insert(to);
                    self.connection = connect(to).ok();
                }
            }
        }
        Err(last)
    }

    /// A pod that answers, which is asked for the others too: they come back on new addresses.
    fn anybody(&mut self) -> Result<Connection, String> {
        for known in self.known.clone() {
            let Ok(mut connection) = connect(known) else { continue };
            let nodes: RedisResult<String> =
                redis::cmd("CLUSTER").arg("NODES").query(&mut connection);
            let Ok(nodes) = nodes else { continue };
            let addresses = nodes.lines().filter_map(|line| line.split([' ', '@']).nth(1));
            self.known = addresses.filter_map(address).collect();
            return Ok(connection);
        }
        Err(format!("nobody answers of {:?}", self.known))
    }
}

/// An address as servers write it: those of IPv6 without brackets.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}

fn connect(address: SocketAddr) -> RedisResult<Connection> {
    let client = redis::Client::open(format!("redis://{address}/"))?;
    let connection = client.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// Writes so many keys.
#[track_caller]
pub fn write_keys(set: &Set, count: usize) {
    if let Some(access) = &set.access {
        let lines: String = (0..count).map(|n| format!("SET key-{n} {n}\n")).collect();
        let answers = wait_ok(LIMIT, "writes", || access.play(set.pods[&0].address(), &lines));
        assert_eq!(answers, vec!["OK"; count], "{}", set.version);
        return;
    }
    let mut client = Client::new(set);
    for n in 0..count {
        let command = redis::cmd("SET").arg(format!("key-{n}")).arg(n).clone();
        wait_ok(LIMIT, "a write", || client.send::<()>(&command));
    }
}

/// Reads them all again.
#[track_caller]
pub fn assert_keys(set: &Set, count: usize) {
    if let Some(access) = &set.access {
        let lines: String = (0..count).map(|n| format!("GET key-{n}\n")).collect();
        let found = wait_ok(LIMIT, "reads", || access.play(set.pods[&0].address(), &lines));
        let written: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        assert_eq!(found, written, "{}", set.version);
        return;
    }
    let mut client = Client::new(set);
    for n in 0..count {
        let command = redis::cmd("GET").arg(format!("key-{n}")).clone();
        let found = wait_ok(LIMIT, "a read", || client.send::<Option<usize>>(&command));
        assert_eq!(found, Some(n), "key-{n} on {}", set.version);
    }
}

/// A writer for each shard, which writes 1, 2, 3 and so on to its key.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Seen>>,
}

/// What one writer has seen.
#[derive(Debug)]
pub struct Seen {
    /// The key.
    pub key: &'static str,
    /// The last number that the server acknowledged.
    pub last: u64,
    /// The longest time between two acknowledgements.
    pub gap: Duration,
    /// Why a write failed, the last time one did.
    pub failed: Option<String>,
}

impl Load {
    /// Starts the writers.
    pub fn start(set: &Set) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = KEYS.map(|key| {
            let (stop, client) = (Arc::clone(&stop), Client::new(set));
            std::thread::spawn(move || write(key, client, &stop))
        });
        Self { stop, writers: writers.into() }
    }

    /// Ends the writers.
    pub fn end(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().map(|writer| writer.join().expect("a writer ends")).collect()
    }
}

fn write(key: &'static str, mut client: Client, stop: &AtomicBool) -> Seen {
    let mut seen = Seen { key, last: 0, gap: Duration::ZERO, failed: None };
    let mut at = Instant::now();
    // A write without an answer may have been made, so its number is not used again.
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        next += 1;
        match client.send::<()>(redis::cmd("SET").arg(key).arg(next)) {
            Ok(()) => {
                seen.last = next;
                seen.gap = seen.gap.max(at.elapsed());
                at = Instant::now();
            }
            Err(error) => seen.failed = Some(error),
        }
        rest(Duration::from_millis(2));
    }
    // Nothing acknowledged since then is a gap too.
    seen.gap = seen.gap.max(at.elapsed());
    seen
}

/// No acknowledged write is lost.
#[track_caller]
pub fn assert_none_lost(set: &Set, seen: &[Seen]) {
    let mut client = Client::new(set);
    for seen in seen {
        let command = redis::cmd("GET").arg(seen.key).clone();
        let found = wait_ok(LIMIT, "a read", || client.send::<u64>(&command));
        assert!(found >= seen.last, "{seen:?}: {found} on {}", set.version);
    }
}
