//! The least HTTP client that can ask a probe.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code, as in 200.
    pub status: u16,
    /// Everything before the body, without the status line.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Asks for `path` and waits 5 s at most.
///
/// # Errors
/// When nobody listens, the answer is late, or it is no HTTP; the text says which.
pub fn get(address: SocketAddr, path: &str) -> Result<Response, String> {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

/// Sends the bytes of a request as they are and reads the answer to its end.
///
/// # Errors
/// As [`get`].
pub fn request(address: SocketAddr, request: &str) -> Result<Response, String> {
    let limit = Duration::from_secs(5);
    let read = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error| format!("{address}: {error}"))?;
    parse(&text).ok_or_else(|| format!("{address}: no HTTP: {text:?}"))
}

fn parse(text: &str) -> Option<Response> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let (first, head) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, head: head.to_owned(), body: body.to_owned() })
}
