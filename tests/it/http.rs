//! The probes over HTTP, asked by well-behaved and by hostile clients.

mod limits;
mod served;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rejoin::health::{Answer, Membership, Observation, Phase, Role};
use rejoin::http::CONNECTIONS_MAX;
use rejoin::probe::{PROBE_TIME, Probe, STATUS_TIME, Shown, ask, status};
use rejoin::status::{Node, Status};

use served::{Served, is_closed, until};

/// Makes `served` the board of a healthy master.
fn all_is_well(served: &Served, status: Status) {
    let now = Instant::now();
    served.board.set_phase(Phase::Running(now));
    let observation = Observation {
        last_answer: Some((now, Answer::Ok)),
        role: Some(Role::Master),
        membership: Membership::NotWanted,
        ..Observation::unknown(now, Phase::Running(now))
    };
    served.board.publish(observation, status);
}

/// A status of many megabytes, more than all buffers of a connection take.
fn large() -> Status {
    let flags = vec!["x".repeat(1000)];
    let node = Node { flags, ..Node::default() };
    Status { nodes: vec![node; 8000], ..Status::default() }
}

#[test]
fn every_route_answers_in_its_own_type() {
    let served = Served::new();
    for (path, code, kind, part) in [
        ("/livez", 200, "text/plain", "live: the server waits: the lock\n"),
        ("/readyz", 503, "text/plain", "not ready: the server waits: the lock\n"),
        ("/startupz", 503, "text/plain", "not started: the server waits: the lock\n"),
        ("/readyz?verbose", 503, "text/plain", "not ready"),
        ("/metrics", 200, "application/openmetrics-text", "rejoin_probe{probe=\"live\"} 1\n"),
        ("/status", 200, "application/json", "\"phase\": \"waiting: the lock\""),
        ("/", 404, "text/plain", "no such path"),
        ("/livez/", 404, "text/plain", "no such path"),
        ("/../etc/passwd", 404, "text/plain", "no such path"),
    ] {
        let (head, body) = served.request("GET", path);
        assert!(head.starts_with(&format!("http/1.1 {code} ")), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {kind}")), "{path}: {head}");
        assert!(head.contains("connection: close"), "{path}: {head}");
        assert!(body.contains(part), "{path}: {body}");
    }
}

#[test]
fn head_is_answered_without_a_body() {
    let served = Served::new();
    let (head, body) = served.request("HEAD", "/readyz");
    assert!(head.starts_with("http/1.1 503 "), "{head}");
    assert!(head.contains("content-length: 38"), "{head}");
    assert_eq!(body, "");
}

#[test]
fn other_methods_get_405_and_what_is_allowed() {
    let served = Served::new();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "INVENTED"] {
        let (head, _) = served.request(method, "/livez");
        assert!(head.starts_with("http/1.1 405 "), "{method}: {head}");
        assert!(head.contains("allow: get, head"), "{method}: {head}");
    }
    let (head, _) = served.request("POST", "/nowhere");
    assert!(head.starts_with("http/1.1 404 "), "{head}");
}

#[test]
fn exec_probes_print_the_reason_and_exit_by_it() {
    let served = Served::new();
    let asked = |probe| ask(&[served.address], probe, PROBE_TIME);
    assert_eq!(asked(Probe::Live), (0, "live: the server waits: the lock".to_owned()));
    assert_eq!(asked(Probe::Ready), (1, "not ready: the server waits: the lock".to_owned()));
    all_is_well(&served, Status::default());
    assert_eq!(asked(Probe::Ready).0, 0);
    assert_eq!(asked(Probe::Startup).0, 0);
    served.board.set_phase(Phase::Leaving(Instant::now()));
    assert!(asked(Probe::Ready).1.starts_with("not ready: leaving since 0."));
}

#[test]
fn next_address_is_asked_where_nobody_listens_at_the_first() {
    let served = Served::new();
    let nobody = ([127, 0, 0, 1], 1).into();
    assert_eq!(ask(&[nobody, served.address], Probe::Live, PROBE_TIME).0, 0);
    let (code, line) = ask(&[nobody], Probe::Ready, PROBE_TIME);
    assert_eq!(code, 1);
    assert!(line.starts_with("not ready: no rejoin answers at 127.0.0.1:1: connection refused"));
}

#[test]
fn probe_of_a_server_that_hangs_ends_in_time() {
    let hung = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let (code, line) = ask(&[hung.local_addr().unwrap()], Probe::Live, PROBE_TIME);
    assert_eq!(code, 1);
    assert!(line.contains("timed out"), "{line}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn status_of_a_thousand_nodes_arrives_as_it_was_written() {
    let served = Served::new();
    let nodes: Vec<Node> =
        (0..1000).map(|n| Node { id: format!("{n:040}"), ..Node::default() }).collect();
    all_is_well(&served, Status { nodes: nodes.clone(), ..Status::default() });
    let shown = |shown| status(&[served.address], shown, STATUS_TIME).unwrap();
    let seen: Status = serde_json::from_str(&shown(Shown::Json)).unwrap();
    assert_eq!(seen.nodes, nodes);
    assert!(seen.probes.ready.ok);
    assert_eq!(seen.phase, "running");
    let table = shown(Shown::Table { color: false });
    for node in &nodes {
        assert!(table.contains(&node.id), "{} in {table}", node.id);
    }
    assert!(!table.contains('\x1b'), "{table}");
}

#[test]
fn table_has_colours_where_they_were_asked_for() {
    let served = Served::new();
    all_is_well(&served, Status::default());
    let text = status(&[served.address], Shown::Table { color: true }, STATUS_TIME).unwrap();
    assert!(text.contains("\x1b[32mlive: "), "{text}");
}

#[test]
fn client_that_asks_nothing_is_let_go() {
    let served = Served::new();
    let mut silent = served.connect(2);
    let start = Instant::now();
    let _ = silent.read(&mut [0; 1024]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn header_that_never_ends_is_cut_off_by_time() {
    let served = Served::new();
    let mut slow = served.connect(2);
    slow.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nX: ").unwrap();
    until("the slow header to be cut off", || {
        let sent = slow.write_all(b"x");
        let read = slow.read(&mut [0; 1024]);
        // Each byte waits for the answer to the one before it, which is its pace.
        let goes_on = matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock);
        sent.is_err() || !goes_on
    });
    served.is_prompt();
}

#[test]
fn header_that_never_ends_is_cut_off_by_length() {
    let served = Served::new();
    for piece in ["x".repeat(1 << 16), "X: y\r\n".repeat(1 << 13)] {
        let mut stream = served.connect(2);
        stream.set_write_timeout(Some(served::PATIENCE)).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
        let sent = (0..1000).take_while(|_| stream.write_all(piece.as_bytes()).is_ok()).count();
        assert!(sent < 100, "{sent} pieces of {} bytes were taken", piece.len());
    }
    served.is_prompt();
}

#[test]
fn garbage_is_refused_and_harms_nobody() {
    let served = Served::new();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"GET\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 4096],
        &[0xff; 4096],
    ] {
        let answer = served.say(garbage);
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(is_refused, "{garbage:?}: {answer}");
        served.is_prompt();
    }
    let body = b"POST /livez HTTP/1.1\r\nContent-Length: 999999999\r\n\r\nx";
    assert!(served.say(body).starts_with("HTTP/1.1 405 "));
    served.is_prompt();
}

#[test]
fn client_that_does_not_read_is_let_go_by_server_and_kernel() {
    let served = Served::new();
    all_is_well(&served, large());
    let mut idle = served.connect(2);
    idle.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let client = idle.local_addr().unwrap().port();
    until("the kernel to know the connection", || served.has_socket_of(client));
    until("the kernel to have dropped the connection", || !served.has_socket_of(client));
    let mut got = Vec::new();
    let _ = idle.read_to_end(&mut got);
    assert!(got.len() < 1 << 20, "{} bytes were kept for it", got.len());
}

#[test]
fn idle_thousands_leave_few_connections_open_and_delay_no_probe() {
    let served = Served::new();
    // From the probe's own address as well as from others.
    let mut crowd: Vec<TcpStream> = Vec::new();
    for number in 0..2000 {
        crowd.push(served.connect([1, 2, 3][number % 3]));
        if number % 100 == 0 {
            served.is_prompt();
        }
    }
    until("all but a few to be closed", || {
        let open = crowd.iter().filter(|stream| !is_closed(stream)).count();
        open <= CONNECTIONS_MAX
    });
    served.is_prompt();
}

#[test]
fn flood_delays_no_probe() {
    let served = Served::new();
    all_is_well(&served, large());
    let over = AtomicBool::new(false);
    let longest = std::thread::scope(|scope| {
        for from in [1, 2, 3, 4] {
            let (served, over) = (&served, &over);
            scope.spawn(move || {
                // Each keeps its last hundred connections: silent ones, and half a request. A
                // thousand a second from each; more would only measure who gets the processor.
                let mut held = std::collections::VecDeque::new();
                for number in 1u64.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    if number % 5 == 0 {
                        served::pause();
                    }
                    // Does not wait for the kernel's next try where its first packet was dropped.
                    let Ok(mut stream) = served.try_connect(from, Duration::from_millis(5)) else {
                        continue;
                    };
                    if from % 2 == 0 {
                        let _ = stream.write_all(b"GET /livez HT");
                    }
                    held.push_back(stream);
                    if held.len() > 100 {
                        held.pop_front();
                    }
                }
            });
        }
        let longest = (0..200).map(|_| prompt_or_end(&served, &over)).max();
        over.store(true, Ordering::Relaxed);
        longest
    });
    println!("longest probe during the flood: {longest:?}");
}

/// As [`ask`] within the probe's time; ends the flood before it fails, since that is waited for.
#[track_caller]
fn prompt_or_end(served: &Served, over: &AtomicBool) -> Duration {
    let start = Instant::now();
    let (code, line) = ask(&[served.address], Probe::Live, PROBE_TIME);
    if code != 0 {
        over.store(true, Ordering::Relaxed);
        panic!("{line}, after {:?}", start.elapsed());
    }
    start.elapsed()
}

#[test]
fn readers_that_do_not_read_delay_no_probe() {
    let served = Served::new();
    let _crowd: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = served.connect(2);
            let _ = stream.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n");
            stream
        })
        .collect();
    for _ in 0..20 {
        served.is_prompt();
    }
}

#[test]
fn second_request_on_a_connection_is_not_answered() {
    let served = Served::new();
    let one = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    for requests in [one.repeat(2), one.repeat(1000), format!("{one}garbage"), one.repeat(5000)] {
        let answer = served.say(requests.as_bytes());
        // Where much is left unread the kernel resets the connection, and may drop the answer.
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{answer}");
        served.is_prompt();
    }
}

#[test]
fn thousands_of_requests_delay_no_probe() {
    let served = Served::new();
    let nodes = vec![Node { id: "a".repeat(40), ..Node::default() }; 30];
    all_is_well(&served, Status { nodes, ..Status::default() });
    let over = AtomicBool::new(false);
    let answered: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = [2, 3, 4]
            .map(|from| {
                let (served, over) = (&served, &over);
                scope.spawn(move || {
                    let mut answered = 0;
                    while answered < 700 && !over.load(Ordering::Relaxed) {
                        let Ok(mut stream) = served.try_connect(from, served::PATIENCE) else {
                            continue;
                        };
                        let path = ["/status", "/metrics", "/status.txt"][answered % 3];
                        let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
                        let mut answer = Vec::new();
                        // Some have to go for others.
                        if stream.read_to_end(&mut answer).is_ok() && !answer.is_empty() {
                            answered += 1;
                        }
                    }
                    answered
                })
            })
            .into();
        while clients.iter().any(|client| !client.is_finished()) {
            prompt_or_end(&served, &over);
        }
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(answered, 2100);
}

#[test]
fn address_that_is_given_is_the_only_one_that_is_served() {
    let listener = rejoin::http::bind::bind(&[([127, 0, 0, 3], 0).into()]).unwrap();
    let port = listener.local_addr().unwrap().port();
    TcpStream::connect(("127.0.0.3", port)).unwrap();
    for other in ["127.0.0.1", "127.0.0.2"] {
        let refused = TcpStream::connect((other, port)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{other}");
    }
}
