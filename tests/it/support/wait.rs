//! Waiting for a state, never for a time.

use std::fmt::Display;
use std::time::{Duration, Instant};

use super::process::rest;

/// Looks every few milliseconds until `look` gives a value, and gives it back.
///
/// # Panics
/// When `limit` has passed; the message holds what was waited for and the last observation.
#[track_caller]
pub fn wait_ok<T, E: Display>(
    limit: Duration,
    what: &str,
    look: impl FnMut() -> Result<T, E>,
) -> T {
    wait(limit, Duration::from_millis(10), what, look)
}

/// The same for a plain condition, which costs little to look at.
///
/// # Panics
/// When `limit` has passed.
#[track_caller]
pub fn wait_for(limit: Duration, what: &str, mut look: impl FnMut() -> bool) {
    let pause = Duration::from_millis(2);
    wait(limit, pause, what, || if look() { Ok(()) } else { Err("not so") });
}

#[track_caller]
fn wait<T, E: Display>(
    limit: Duration,
    pause: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(last) if start.elapsed() >= limit => {
                panic!("waited {limit:?} for {what}; last seen: {last}")
            }
            Err(_) => rest(pause),
        }
    }
}
