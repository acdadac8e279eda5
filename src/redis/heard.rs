//! What a server says before it is asked, as it hangs up: that it has no room for another client,
//! or takes none from outside (protected mode). Nobody waits for a reply then, so the client would
//! drop the line and report a broken connection, as of a server that is dead.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::health::Answer;

use super::tls;

/// Longest first line that is kept, in bytes. Those of a farewell are below 500.
const LINE_MAX: usize = 512;

/// Longest part of a line that is shown, in bytes.
const SHOWN_MAX: usize = 60;

/// The bytes that replies begin with (the RESP2 and RESP3 protocols).
const TYPES: &[u8] = b"+-:$*_#,(!=%~>|";

/// The first line that came over a connection, as far as it has come.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstLine(Arc<Mutex<Vec<u8>>>, Arc<OnceLock<tls::Alert>>);

impl FirstLine {
    /// What a connection that broke was told, where that is why it broke: the server lives.
    pub(super) fn farewell(&self) -> Option<Answer> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.is_empty() {
            return Some(Answer::HungUp);
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = line.strip_prefix('-')?.lines().next()?;
        match Answer::from_error(line) {
            Answer::MaxClients => Some(Answer::MaxClients),
            refused if line.starts_with("DENIED") => Some(refused),
            _ => None,
        }
    }

    /// What was heard, fit for one line, where no server of this protocol begins so.
    pub(super) fn nonsense(&self) -> Option<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *bytes.first()?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let shown = &line[..line.len().min(SHOWN_MAX)];
        (!TYPES.contains(&first)).then(|| shown.escape_ascii().to_string())
    }

    /// Why the other end ended TLS, where it did. With TLS 1.3 the handshake is over for us before it
    /// has seen our certificate, so this comes instead of a reply (RFC 8446, section 2, figure 1).
    pub(super) fn alert(&self) -> Option<tls::Alert> {
        self.1.get().copied()
    }

    fn note(&self, read: &Poll<io::Result<()>>) {
        if let Poll::Ready(Err(error)) = read
            && let Some(alert) = tls::alert(error)
        {
            let _ = self.1.set(alert);
        }
    }

    fn add(&self, bytes: &[u8]) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.contains(&b'\n') {
            let room = LINE_MAX.saturating_sub(line.len());
            line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}

/// A stream that remembers the first line that came over it.
pub(super) struct Heard<S> {
    stream: S,
    first: FirstLine,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Heard<S> {
    pub(super) fn new(stream: S) -> (Heard<S>, FirstLine) {
        let first = FirstLine::default();
        (Heard { stream, first: first.clone() }, first)
    }

    /// Reads what is there already: whoever cannot write any more does not read either.
    fn hear_out(&mut self, cx: &mut Context<'_>) {
        let mut bytes = [0; LINE_MAX];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        self.first.add(buffer.filled());
        self.first.note(&read);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.first.add(&buffer.filled()[before..]);
        self.first.note(&read);
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Err(_))) {
            self.hear_out(cx);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn farewell(pieces: &[&str]) -> Option<Answer> {
        let first = FirstLine::default();
        pieces.iter().for_each(|piece| first.add(piece.as_bytes()));
        first.farewell()
    }

    #[test]
    fn farewells_are_told_from_answers() {
        let full = "-ERR max number of clients reached\r\n";
        assert_eq!(farewell(&[full]), Some(Answer::MaxClients));
        assert_eq!(farewell(&["-ERR max number of clients ", "reached\r\n"]), {
            Some(Answer::MaxClients)
        });
        let denied = "DENIED Redis is running in protected mode".to_owned();
        assert_eq!(farewell(&[&format!("-{denied}\r\n")]), Some(Answer::Refused(denied)));
        assert_eq!(farewell(&[]), Some(Answer::HungUp));
    }

    #[test]
    fn connection_that_had_answers_just_broke() {
        for first in ["+OK\r\n", "$3\r\nabc\r\n", "-LOADING x\r\n", "-", "\n"] {
            assert_eq!(farewell(&[first, "-ERR max number of clients reached\r\n"]), None);
        }
        assert_eq!(farewell(&["+PONG\r\n", "-DENIED x\r\n"]), None);
    }

    #[test]
    fn what_is_no_reply_is_shown_on_one_line() {
        let first = FirstLine::default();
        assert_eq!(first.nonsense(), None);
        first.add(b"HTTP/1.1 400 Bad\x07Request\r\nServer: x\r\n");
        assert_eq!(first.nonsense().as_deref(), Some("HTTP/1.1 400 Bad\\x07Request\\r"));
        let reply = FirstLine::default();
        reply.add(b"-ERR x\r\n");
        assert_eq!(reply.nonsense(), None);
    }

    #[test]
    fn endless_line_is_kept_in_bounded_memory() {
        let first = FirstLine::default();
        (0..100).for_each(|_| first.add(&[b'x'; 100]));
        assert_eq!(first.0.lock().unwrap().len(), LINE_MAX);
    }
}
