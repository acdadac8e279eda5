//! Clients that write to a cluster without a pause, and know what was acknowledged and when.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::Connection;

use super::fleet::Fleet;
use super::lock::Access;
use super::pod::PORT;
use super::process::rest;

/// How long a connection or a reply is waited for: longer than a healthy server takes on a busy
/// machine, and far shorter than a failover.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many keys are looked for at once.
const LOOKED_FOR: usize = 1000;

/// How fast one writer writes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many writes it sends at once; it takes them for acknowledged when all are.
    pub batch: usize,
    /// Between an acknowledgement and what is sent next.
    pub pause: Duration,
}

impl Pace {
    /// A write, and another one so long after its acknowledgement.
    pub fn one_by_one(pause: Duration) -> Self {
        Self { batch: 1, pause }
    }
}

/// One writer for each shard. Dropping it ends them.
#[derive(Debug)]
pub struct Writers {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Written>>,
}

/// What one writer has written.
#[derive(Debug)]
pub struct Written {
    /// The hash tag of all its keys.
    pub tag: String,
    /// When each write was acknowledged; the number of the write is in its key and is its value.
    pub acknowledged: Vec<Instant>,
}

impl Writers {
    /// Starts one writer for each shard.
    ///
    /// # Panics
    /// When the cluster does not say whose slots are whose.
    pub fn start(fleet: &Fleet, pace: Pace) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let addresses: Vec<SocketAddr> = fleet
            .pods
            .iter()
            .map(|pod| pod.ip)
            .chain(fleet.spare.iter().copied())
            .map(|ip| (ip, PORT).into())
            .collect();
        let threads = tags(fleet).into_iter().map(|tag| {
            let (ended, addresses) = (Arc::clone(&ended), addresses.clone());
            let access = fleet.pods[0].access.clone();
            std::thread::spawn(move || {
                let mut client = Client { access, addresses, at: 0, connection: None };
                let mut written = Written { tag, acknowledged: Vec::new() };
                while !ended.load(Ordering::Relaxed) {
                    client.write(&mut written, pace.batch);
                    rest(pace.pause);
                }
                written
            })
        });
        let threads = threads.collect();
        Self { ended, threads }
    }

    /// Ends them.
    ///
    /// # Panics
    /// When one of them has panicked.
    pub fn end(mut self) -> Vec<Written> {
        self.ended.store(true, Ordering::Relaxed);
        let written = |thread: JoinHandle<Written>| thread.join().expect("a writer does not panic");
        self.threads.drain(..).map(written).collect()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Written {
    /// The longest time between two acknowledgements.
    pub fn longest_gap(&self) -> Duration {
        let gaps = self.acknowledged.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }

    /// How many acknowledged writes are not there.
    ///
    /// # Errors
    /// What the cluster says to who looks.
    pub fn lost(&self, fleet: &Fleet) -> Result<usize, String> {
        let mut client = fleet.client().map_err(|error| error.to_string())?;
        let numbers: Vec<usize> = (0..self.acknowledged.len()).collect();
        let mut lost = 0;
        for numbers in numbers.chunks(LOOKED_FOR) {
            let keys: Vec<String> = numbers.iter().map(|n| key(&self.tag, *n)).collect();
            let found: Vec<Option<usize>> =
                redis::cmd("MGET").arg(keys).query(&mut client).map_err(|it| it.to_string())?;
            lost += numbers.iter().zip(found).filter(|(n, found)| Some(**n) != *found).count();
        }
        Ok(lost)
    }
}

fn key(tag: &str, number: usize) -> String {
    format!("{{{tag}}}:{number}")
}

/// One hash tag in the slots of each master.
///
/// # Panics
/// When the cluster does not say whose slots are whose.
pub fn tags(fleet: &Fleet) -> Vec<String> {
    let pod = &fleet.pods[0];
    let slot = |tag: &String| -> u16 {
        let text = pod.text(&["CLUSTER", "KEYSLOT", &key(tag, 0)]).expect("it answers");
        text.parse().expect("a slot")
    };
    let view = pod.view().expect("its view");
    let mut masters: Vec<_> = view.nodes.values().filter(|node| node.slot_count() > 0).collect();
    masters.sort_by_key(|master| *master.slots[0].start());
    masters
        .into_iter()
        .map(|master| {
            let is_its = |slot: u16| master.slots.iter().any(|range| range.contains(&slot));
            let tags = (0..1000).map(|n| format!("writer-{n}"));
            tags.into_iter().find(|tag| is_its(slot(tag))).expect("every share has a tag")
        })
        .collect()
}

/// A client with one connection, which follows redirects and otherwise tries one pod after the
/// other.
struct Client {
    access: Access,
    addresses: Vec<SocketAddr>,
    at: usize,
    connection: Option<Connection>,
}

impl Client {
    /// Makes one attempt at the next writes.
    fn write(&mut self, written: &mut Written, count: usize) {
        let first = written.acknowledged.len();
        let mut sets = redis::pipe();
        for number in first..first + count {
            sets.cmd("SET").arg(key(&written.tag, number)).arg(number).ignore();
        }
        let Some(mut connection) = self.connection.take().or_else(|| self.connect()) else {
            self.at = (self.at + 1) % self.addresses.len();
            return;
        };
        match sets.query::<()>(&mut connection) {
            Ok(()) => {
                written.acknowledged.extend(std::iter::repeat_n(Instant::now(), count));
                self.connection = Some(connection);
            }
            Err(error) => {
                let to = error.redirect_node().and_then(|(to, _)| to.parse().ok());
                let known = self.addresses.iter().position(|at| Some(*at) == to);
                self.at = known.unwrap_or((self.at + 1) % self.addresses.len());
            }
        }
    }

    fn connect(&self) -> Option<Connection> {
        let client = self.access.client(self.addresses[self.at]).ok()?;
        let connection = client.get_connection_with_timeout(PATIENCE).ok()?;
        connection.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(connection)
    }
}

/// Whether each shard has a replica in sync, as that one says: its master may be stopped. The master
/// itself says so later, once it has reaped the child that sent the copy (`serverCron`, ten times a
/// second) and was told of it (`replconf ack`, once a second).
///
/// # Errors
/// A shard that has none, or a pod that does not answer.
pub fn every_shard_has_a_copy(fleet: &Fleet) -> Result<(), String> {
    let infos = fleet.pods.iter().map(|pod| Ok((pod, pod.text(&["INFO", "replication"])?)));
    let infos: Vec<_> = infos.collect::<Result<_, String>>()?;
    let masters = || infos.iter().filter(|(_, info)| info.contains("role:master"));
    if masters().count() != fleet.recipe().shards {
        return Err(format!("{} masters", masters().count()));
    }
    let lone = masters().find(|(master, _)| {
        let host = format!("master_host:{}\r\n", master.ip);
        let linked = |info: &str| info.contains(&host) && info.contains("master_link_status:up");
        !infos.iter().any(|(_, info)| linked(info))
    });
    lone.map_or(Ok(()), |(pod, info)| Err(format!("{} has no replica in sync: {info}", pod.name())))
}
