//! One `GET`, answered whole or not at all within a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub code: u16,
    /// The body, all of it.
    pub body: String,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No address to ask.
    #[error("no address to ask")]
    NoAddress,
    /// No connection.
    #[error("no rejoin answers at {address}: {why}; is it PID 1 of this pod?")]
    Connect {
        /// Who was asked.
        address: SocketAddr,
        /// What the kernel said.
        why: String,
    },
    /// The connection broke, or the time was over, before the answer was whole.
    #[error("no whole answer from {address}: {why}")]
    Broken {
        /// Who was asked.
        address: SocketAddr,
        /// What the kernel said.
        why: String,
    },
    /// The answer is longer than it may be.
    #[error("the answer of {0} is too long")]
    TooLong(SocketAddr),
    /// The answer is no HTTP.
    #[error("what {0} answers is not HTTP; is it rejoin that listens there?")]
    NotHttp(SocketAddr),
}

/// Asks the first of `addresses` that takes a connection for `path`, until `deadline` in all;
/// takes `max` bytes of answer.
///
/// # Errors
/// [`FetchError`], for the last address that was tried.
pub fn fetch(
    addresses: &[SocketAddr],
    path: &str,
    deadline: Instant,
    max: usize,
) -> Result<Reply, FetchError> {
    let mut refused = FetchError::NoAddress;
    for address in addresses {
        match left(deadline).and_then(|time| TcpStream::connect_timeout(address, time)) {
            Ok(stream) => return converse(stream, *address, path, deadline, max),
            Err(error) => {
                refused = FetchError::Connect { address: *address, why: super::words(&error) };
            }
        }
    }
    Err(refused)
}

fn converse(
    mut stream: TcpStream,
    address: SocketAddr,
    path: &str,
    deadline: Instant,
    max: usize,
) -> Result<Reply, FetchError> {
    let broken = |error: io::Error| FetchError::Broken { address, why: super::words(&error) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let sent = left(deadline)
        .and_then(|time| stream.set_write_timeout(Some(time)))
        .and_then(|()| stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = left(deadline)
            .and_then(|time| stream.set_read_timeout(Some(time)))
            .and_then(|()| stream.read(&mut piece));
        match read {
            Ok(0) => break,
            Ok(length) if answer.len() + length > max => return Err(FetchError::TooLong(address)),
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
    if answer.is_empty() {
        sent.map_err(broken)?;
        return Err(broken(io::ErrorKind::UnexpectedEof.into()));
    }
    parse(&answer)
        .ok_or(FetchError::NotHttp(address))?
        .ok_or_else(|| FetchError::Broken { address, why: "closed before the end".to_owned() })
}

/// The time left until `deadline`, never zero.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Reads a whole connection's answer. `None`: not HTTP; `Some(None)`: HTTP that was cut short.
///
/// Only what our own server sends is understood: a `Content-Length`, or all until the end.
fn parse(answer: &[u8]) -> Option<Option<Reply>> {
    let text = String::from_utf8_lossy(answer);
    let code = text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Some(None) };
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())
    });
    match length {
        Some(Some(length)) if body.len() < length => Some(None),
        _ => Some(Some(Reply { code, body: body.to_owned() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(answer: &str, code: u16, body: &str) {
        let expected = Some(Some(Reply { code, body: body.to_owned() }));
        assert_eq!(parse(answer.as_bytes()), expected, "{answer:?}");
    }

    #[test]
    fn whole_answers_are_read() {
        reads("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nyes\n", 200, "yes\n");
        reads("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nno\n", 503, "no\n");
        reads("HTTP/1.0 200 OK\r\n\r\nno length\n", 200, "no length\n");
        reads("HTTP/1.1 404 \r\nX: y\r\n\r\n", 404, "");
    }

    #[test]
    fn answer_cut_short_is_no_answer() {
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nyes\n";
        for end in 12..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..end]), Some(None), "{}", &whole[..end]);
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_answers_are_read_or_refused(tail: Vec<u8>) {
            parse(&tail);
            parse(&[b"HTTP/1.1 200".as_slice(), &tail].concat());
            parse(&[b"HTTP/1.1 200 OK\r\nContent-Length:".as_slice(), &tail].concat());
        }
    }

    #[test]
    fn other_protocols_are_recognised() {
        for answer in ["", "-ERR wrong\r\n", "SSH-2.0-x\r\n", "HTTP/1.", "HTTP/1.1 xx", "HTTP/1.1é"]
        {
            assert_eq!(parse(answer.as_bytes()), None, "{answer:?}");
        }
        assert_eq!(parse(&[0xff; 64]), None);
    }
}
