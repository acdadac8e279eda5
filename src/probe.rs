//! The exec probes, and the fetching side of `rejoin status`: one small HTTP request to PID 1 of
//! the same pod, without a runtime, since kubelets run this once a second on every pod.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::exit;
use crate::probe::fetch::{FetchError, fetch};

pub mod fetch;

/// Time for one exec probe in all: less than the second that a kubelet allows unless told
/// otherwise, so that its log has our reason instead of its own `timed out`.
pub const PROBE_TIME: Duration = Duration::from_millis(900);

/// Time for `rejoin status` in all.
pub const STATUS_TIME: Duration = Duration::from_secs(5);

/// Longest answer to a probe, in bytes.
const LINE_MAX: usize = 16 * 1024;

/// Longest status, in bytes: a thousand nodes take half a megabyte.
const STATUS_MAX: usize = 16 * 1024 * 1024;

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `rejoin live`, `/livez`.
    Live,
    /// `rejoin ready`, `/readyz`.
    Ready,
    /// `rejoin startup`, `/startupz`.
    Startup,
}

impl Probe {
    /// The path that answers it.
    pub fn path(self) -> &'static str {
        match self {
            Probe::Live => "/livez",
            Probe::Ready => "/readyz",
            Probe::Startup => "/startupz",
        }
    }

    /// What is said where there is no verdict.
    fn negation(self) -> &'static str {
        match self {
            Probe::Live => "not live",
            Probe::Ready => "not ready",
            Probe::Startup => "not started",
        }
    }
}

/// Asks the running `rejoin` at the first of `addresses` that answers, within `time` in all. Gives
/// the exit code, [`exit::OK`] or [`exit::NO`], and the one line that says why.
pub fn ask(addresses: &[SocketAddr], probe: Probe, time: Duration) -> (u8, String) {
    match fetch(addresses, probe.path(), Instant::now() + time, LINE_MAX) {
        Ok(reply) => {
            let code = if reply.code == 200 { exit::OK } else { exit::NO };
            let line = reply.body.lines().next().unwrap_or_default();
            let line: String = line.chars().filter(|c| !c.is_control()).collect();
            match reply.code {
                200 | 503 => (code, line),
                other => (code, format!("{}: HTTP status {other}: {line}", probe.negation())),
            }
        }
        Err(error) => (exit::NO, format!("{}: {}", probe.negation(), exit::chain(&error))),
    }
}

/// `/status` could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nothing answered.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Something answered, but with another status than 200.
    #[error(
        "/status was answered by HTTP status {0}; is it a rejoin of this version that listens there?"
    )]
    Code(u16),
}

/// In what shape the status is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// For a machine.
    Json,
    /// For a person.
    Table {
        /// Whether the terminal shows colours.
        color: bool,
    },
}

/// Fetches the status, ready to be printed, from the running `rejoin` at the first of `addresses`
/// that answers.
///
/// # Errors
/// [`StatusError`]; the caller ends with [`exit::NO`].
pub fn status(
    addresses: &[SocketAddr],
    shown: Shown,
    time: Duration,
) -> Result<String, StatusError> {
    let path = match shown {
        Shown::Json => "/status",
        Shown::Table { color: false } => "/status.txt",
        Shown::Table { color: true } => "/status.txt?color",
    };
    let reply = fetch(addresses, path, Instant::now() + time, STATUS_MAX)?;
    match reply.code {
        200 => Ok(reply.body),
        code => Err(StatusError::Code(code)),
    }
}

/// `error` in words, without the number that the standard library appends.
fn words(error: &io::Error) -> String {
    if fetch::is_timeout(error) {
        return "timed out".to_owned();
    }
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
