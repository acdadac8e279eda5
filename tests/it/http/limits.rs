//! The limits of a connection that SECURITY.md names: what is at one is answered, what is above it is
//! not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rejoin::http::CONNECTIONS_MAX;
use rejoin::status::Status;

use super::served::{Served, is_closed, until};
use super::{all_is_well, large};
use crate::manifests::own;
use crate::support::left_out::left_out;

/// Bytes of a header, with its request line and its end.
const HEADER_MAX: usize = 8 << 10;
const FIELDS_MAX: usize = 32;
/// For the header.
const HEADER_TIME: Duration = Duration::from_secs(2);
/// In all.
const LIFE: Duration = Duration::from_secs(4);

#[test]
fn limits_are_those_of_the_documents() {
    let page = fs::read_to_string(own("SECURITY.md")).unwrap().replace('\n', " ");
    let (header, life) = (HEADER_TIME.as_secs(), LIFE.as_secs());
    for said in [
        format!(" {CONNECTIONS_MAX} connections are served at a time,"),
        format!(" {} KiB and {FIELDS_MAX} fields of header,", HEADER_MAX >> 10),
        format!(" {header} s for it and {life} s in all;"),
    ] {
        assert!(page.contains(&said), "not {said:?}");
    }
}

/// A request of this header is answered, or refused as too large.
#[track_caller]
fn is_answered(served: &Served, header: &str, expected: bool) {
    let answer = served.say(header.as_bytes());
    let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 431 ");
    let is_so = if expected { answer.starts_with("HTTP/1.1 200 ") } else { refused };
    assert!(is_so, "{} bytes: {answer:?}", header.len());
}

#[test]
fn header_of_the_longest_size_is_answered_and_one_byte_more_is_not() {
    let served = Served::new();
    let header = |size: usize| {
        let (start, end) = ("GET /livez HTTP/1.1\r\nX: ", "\r\n\r\n");
        start.to_owned() + &"x".repeat(size - start.len() - end.len()) + end
    };
    is_answered(&served, &header(HEADER_MAX), true);
    is_answered(&served, &header(HEADER_MAX + 1), false);
}

#[test]
fn header_of_the_most_fields_is_answered_and_one_field_more_is_not() {
    let served = Served::new();
    let header = |fields| format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(fields));
    is_answered(&served, &header(FIELDS_MAX), true);
    is_answered(&served, &header(FIELDS_MAX + 1), false);
}

#[test]
fn client_has_its_time_for_the_header_and_for_the_answer_and_no_more() {
    let served = Served::new();
    all_is_well(&served, large());
    let start = Instant::now();
    let (silent, mut unread) = (served.connect(2), served.connect(3));
    unread.write_all(b"GET /status HTTP/1.1\r\n\r\n").unwrap();
    let client = unread.local_addr().unwrap().port();
    // Each one's time starts later than this clock, whatever else the machine does.
    until("the silent one to be let go", || {
        let is_open = served.is_open(client);
        let is_gone = is_closed(&silent);
        assert!(is_open || is_gone, "the one that has asked had no more time");
        is_gone
    });
    assert!(start.elapsed() >= HEADER_TIME, "{:?}", start.elapsed());
    until("the one that does not read to be let go", || !served.is_open(client));
    assert!(start.elapsed() >= LIFE, "{:?}", start.elapsed());
}

/// Asks on a connection that is open, and gives the answer.
fn ask(mut stream: TcpStream) -> String {
    stream.set_nonblocking(false).unwrap();
    let mut answer = Vec::new();
    let _ = stream.write_all(b"GET /livez HTTP/1.1\r\n\r\n");
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// How many of the most connections, and so many more, are answered when they ask after all have
/// come and the oldest have been closed. `None`: that took so long that their time was over.
fn answered(more: usize) -> Option<usize> {
    let served = Served::new();
    all_is_well(&served, Status::default());
    let start = Instant::now();
    // Nobody holds more than another.
    let addresses = (2..).take(CONNECTIONS_MAX + more);
    let mut crowd: Vec<TcpStream> = addresses.map(|last| served.connect(last)).collect();
    until("all to be accepted", || served.queue() == 0);
    let oldest: Vec<TcpStream> = crowd.drain(..more).collect();
    until("the oldest to be closed", || oldest.iter().all(is_closed));
    let answers: Vec<String> = crowd.into_iter().map(ask).collect();
    let answered = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 200 ")).count();
    (start.elapsed() < HEADER_TIME).then_some(answered)
}

#[test]
fn most_connections_are_served_at_a_time_and_one_more_pushes_out_the_oldest() {
    let Some(all) = answered(0) else {
        return left_out("http: connections at a time, since this machine was too busy for it");
    };
    assert_eq!(all, CONNECTIONS_MAX);
    // Where nobody is pushed out, the oldest goes by its time only. A machine may be too busy once.
    let others = (0..5).find_map(|_| answered(1));
    assert_eq!(others, Some(CONNECTIONS_MAX));
}
