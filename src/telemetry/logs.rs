//! Logs: lines to standard error, as text or as JSON.
//!
//! A log line is never worth a probe or a signal: where standard error is closed or full, because
//! nobody reads it, the line is lost and counted, and whoever wrote it goes on.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// As much as a pipe takes at once when it takes anything (pipe(7), `PIPE_BUF` on Linux).
const PIECE: usize = 4096;

/// How long a full standard error is waited for, unless the line before this one was lost: a
/// reader that is only slow loses nothing of a burst, one that is gone costs this once.
const PATIENCE: Duration = Duration::from_millis(20);

static LOST: AtomicU64 = AtomicU64::new(0);
static STUCK: AtomicBool = AtomicBool::new(false);

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not understood.
    #[error("REJOIN_LOG is `{filter}`: {why}; it takes `info`, or `info,rejoin::http=debug`")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// They were set up before.
    #[error("logs are set up already")]
    Twice,
}

/// Sends logs that pass `filter` to standard error from here on: text, coloured on a terminal
/// unless `NO_COLOR` is set, or JSON objects with `timestamp`, `level`, `target`, `message` and
/// the fields of each line.
///
/// # Errors
/// [`LogError`]; a filter that is not understood ends `rejoin` with
/// [`exit::CONFIG`](crate::exit::CONFIG).
pub fn logs(filter: &str, format: LogFormat) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_writer(|| Line { to: io::stderr() });
    let set = match format {
        LogFormat::Text => {
            let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(color).with_target(false).try_init()
        }
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
    };
    set.map_err(|_| LogError::Twice)
}

/// How many lines standard error did not take since the start.
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Reads a filter. Stricter than `EnvFilter`, to which any unknown word is the name of a module
/// that it shows everything of, so that `REJOIN_LOG=inof` would silently show nothing.
fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let wrong = |why: String| LogError::Filter { filter: filter.to_owned(), why };
    for directive in filter.split(',').map(str::trim) {
        let names_ours = directive.split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        let is_word = !directive.contains(['=', '[', '{']);
        let is_level = !directive.is_empty() && directive.parse::<LevelFilter>().is_ok();
        if is_word && !names_ours && !is_level {
            return Err(wrong(format!("`{directive}` is no level")));
        }
    }
    EnvFilter::builder().parse(filter).map_err(|error| wrong(error.to_string()))
}

/// The writer of one line.
struct Line<F> {
    to: F,
}

impl<F: AsFd> Write for Line<F> {
    /// Takes all of `line`, whatever becomes of it: an error here would be printed to the same
    /// standard error, and a failure of that is a panic.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let patience = if STUCK.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        let whole = pour(self.to.as_fd(), line, patience);
        STUCK.store(!whole, Ordering::Relaxed);
        LOST.fetch_add(u64::from(!whole), Ordering::Relaxed);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `line` as far as that takes no longer than `patience` for each [`PIECE`]; whether that
/// was all of it. The descriptor cannot be made non-blocking instead: the server has the same one.
fn pour(to: BorrowedFd<'_>, line: &[u8], patience: Duration) -> bool {
    let mut rest = line;
    while !rest.is_empty() {
        if !has_room(to, patience) {
            return false;
        }
        match nix::unistd::write(to, &rest[..rest.len().min(PIECE)]) {
            Ok(length) => rest = &rest[length..],
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}

fn has_room(to: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut fds = [PollFd::new(to, PollFlags::POLLOUT)];
    match poll(&mut fds, PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO)) {
        Ok(1) => fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Instant;

    use super::*;

    #[test]
    fn levels_modules_and_targets_are_filters() {
        for filter in ["info", "WARN", "off", "info,rejoin::http=debug", "rejoin=trace", "rejoin"] {
            parse(filter).unwrap();
        }
    }

    #[test]
    fn wrong_filter_is_an_error_that_names_it() {
        for filter in ["inof", "info,", "", "rejoin=loud", "info,hyper", "rejoin=[", "a=b=c"] {
            let error = parse(filter).unwrap_err().to_string();
            assert!(error.contains(&format!("REJOIN_LOG is `{filter}`")), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn line_of_any_length_is_written_whole() {
        let (mut reader, writer) = io::pipe().unwrap();
        let line = "x".repeat(3 * PIECE) + "\n";
        assert!(pour(writer.as_fd(), line.as_bytes(), Duration::ZERO));
        drop(writer);
        let mut seen = String::new();
        reader.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, line);
    }

    #[test]
    fn full_pipe_loses_the_line_and_does_not_block() {
        let (_reader, writer) = io::pipe().unwrap();
        let line = [b'x'; PIECE];
        while pour(writer.as_fd(), &line, Duration::ZERO) {}
        let (before, start) = (lines_lost(), Instant::now());
        for _ in 0..100 {
            assert_eq!(Line { to: &writer }.write(&line).unwrap(), PIECE);
        }
        assert!(lines_lost() >= before + 100);
        assert!(start.elapsed() < 50 * PATIENCE, "{:?}", start.elapsed());
    }

    #[test]
    fn reader_that_is_only_slow_loses_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        let slow = std::thread::spawn(move || {
            let mut seen = String::new();
            reader.read_to_string(&mut seen).unwrap();
            seen.lines().count()
        });
        let line = [b'x'; 99].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        let whole = (0..5000).filter(|_| pour(writer.as_fd(), &line, 100 * PATIENCE)).count();
        drop(writer);
        assert_eq!((whole, slow.join().unwrap()), (5000, 5000));
    }

    #[test]
    fn closed_pipe_loses_the_line_and_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        Line { to: &writer }.write_all(b"x\n").unwrap();
    }
}
