//! Keys in a fleet: written and read by a cluster client, counted pod by pod.

use std::time::Duration;

use super::fleet::Fleet;
use super::pod::Pod;
use super::wait::wait_ok;

/// How many keys [`write_keys`] writes: some in each shard.
pub const KEYS: usize = 100;

/// Longer than any replication of so few takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Writes keys and waits until the replicas have them.
///
/// # Panics
/// When the cluster does not take them.
#[track_caller]
pub fn write_keys(fleet: &Fleet) {
    let mut client = fleet.client().expect("a whole cluster");
    for n in 0..KEYS {
        redis::cmd("SET").arg(format!("key-{n}")).arg(n).query::<()>(&mut client).expect("written");
    }
    let copies = (KEYS * (1 + fleet.recipe().replicas)) as u64;
    wait_ok(LIMIT, "every key to have its copies", || {
        let counts: Result<Vec<u64>, String> = fleet.pods.iter().map(keys).collect();
        let sum: u64 = counts?.iter().sum();
        if sum == copies { Ok(()) } else { Err(format!("{sum} copies of {copies}")) }
    });
}

/// All that [`write_keys`] wrote is there.
///
/// # Panics
/// When a key is missing or another.
#[track_caller]
pub fn assert_keys(fleet: &Fleet) {
    let mut client = fleet.client().expect("a whole cluster");
    for n in 0..KEYS {
        let found: Option<usize> =
            redis::cmd("GET").arg(format!("key-{n}")).query(&mut client).expect("read");
        assert_eq!(found, Some(n), "key-{n}");
    }
}

/// How many keys the pod's server holds.
///
/// # Errors
/// As [`Pod::text`].
pub fn keys(pod: &Pod) -> Result<u64, String> {
    let text = pod.text(&["DBSIZE"])?;
    text.parse().map_err(|error| format!("{}: {error}", pod.name()))
}
