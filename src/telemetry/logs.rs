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
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};

/// As much as a pipe takes at once when it takes anything (pipe(7), `PIPE_BUF` on Linux).
const PIECE: usize = 4096;

/// How long a full standard error is waited for, unless the line before this one was lost: a
/// reader that is only slow loses nothing of a burst, one that is gone costs this once.
const PATIENCE: Duration = Duration::from_millis(20);

static LOST: AtomicU64 = AtomicU64::new(0);
static STUCK: AtomicBool = AtomicBool::new(false);

/// Sends logs that pass `filter` to standard error from here on: text, coloured on a terminal
/// unless `NO_COLOR` is set, or JSON objects with `timestamp`, `level`, `target`, `message` and
/// the fields of each line. A second call changes nothing.
pub fn logs(config: &LogConfig) {
    let registry = tracing_subscriber::registry().with(config.filter.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Line { to: io::stderr() });
    let _set = match config.format {
        LogFormat::Text => {
            let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(lines.with_ansi(color).with_target(false)).try_init()
        }
        LogFormat::Json => {
            let json = lines.json().flatten_event(true);
            registry.with(json.with_current_span(false).with_span_list(false)).try_init()
        }
    };
}

/// How many lines standard error did not take since the start.
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
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
