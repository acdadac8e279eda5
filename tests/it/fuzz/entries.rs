//! What holds for any bytes that come from outside: the entry points of `make fuzz`, which the tests
//! run too.

#![allow(dead_code, reason = "each target of the fuzzer takes one of them")]

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsResponse, ResponseCode};
use hickory_resolver::proto::rr::RData;
use rejoin::board::Board;
use rejoin::cluster::{peers, replies};
use rejoin::config::server::ServerConfig;
use rejoin::config::server::files::Files;
use rejoin::config::server::tokens::{quote, split};
use rejoin::discovery::{candidates, says_there_is_none};
use rejoin::health::{Observation, Phase, Role};
use rejoin::nodes_conf::{NOWHERE, assess, parse, parse_line, with_own_ip};
use rejoin::status::{Node, Status};
use rejoin::telemetry::metrics::Metrics;

/// `nodes.conf`: what is understood is rewritten in the own ip, and where others have it, once.
pub fn nodes_conf(bytes: &[u8]) {
    const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
    let _ = (assess(bytes), parse_line(bytes));
    let Ok(new) = with_own_ip(bytes, IP) else {
        assert!(parse(bytes).is_err(), "a file that is understood is rewritten");
        return;
    };
    let (Ok(old), Ok(rewritten)) = (parse(bytes), parse(&new)) else {
        panic!("what was rewritten is understood, before and after");
    };
    let (id, bus_port) = (old.myself().id, old.myself().address.bus_port);
    let mut expected = old.nodes;
    for node in &mut expected {
        let is_there = node.address.ip.parse() == Ok(IP);
        if node.flags.myself && !is_there {
            node.address.ip = IP.to_string();
        } else if node.id != id && is_there && node.address.bus_port == bus_port {
            node.address.ip = NOWHERE.to_string();
        }
    }
    for (old, new) in expected.iter_mut().zip(&rewritten.nodes) {
        // It may have been put into the shard of its master.
        if old.master.is_some() {
            old.address.aux.clone_from(&new.address.aux);
        }
    }
    assert_eq!(rewritten.nodes, expected);
    assert!(matches!(with_own_ip(&new, IP), Ok(Cow::Borrowed(_))));
}

/// `CLUSTER NODES`: what is understood has one line of its own, and slots that exist.
pub fn cluster_nodes(bytes: &[u8]) {
    let Ok(table) = peers::table(&String::from_utf8_lossy(bytes)) else { return };
    assert!(table.me().flags.myself);
    assert!(table.others().iter().all(|node| !node.flags.myself && !node.flags.handshake));
    assert_eq!(table.find(table.id()).map(|node| node.id), Some(table.id()));
    for node in table.nodes() {
        assert!(node.slots.iter().all(|range| range.first <= range.last && range.last < 16384));
    }
    let _ = (table.assigned(), table.is_whole(), table.is_fresh(), table.live_replicas(table.id()));
}

/// `INFO`: no field is longer than its line.
pub fn info(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let stream = replies::stream(&text);
    if let Role::Replica { link_up, .. } = replies::role(&text) {
        assert!(text.contains("role:slave"));
        assert_eq!(stream.link_up, link_up);
    }
    for value in [Some(stream.id), replies::version(&text)].into_iter().flatten() {
        assert!(!value.contains('\n'), "{value:?}");
    }
    let _ = (stream.offset, replies::keys(&text), replies::followed(&text));
    let _ = (replies::down_for(&text), replies::current_epoch(&text), replies::state_is_ok(&text));
}

/// Files that a configuration may include, cut out of one piece at bytes that UTF-8 does not have.
struct Pieces<'a> {
    pieces: Vec<&'a [u8]>,
    /// Files that may still be read: they may include each other, many times over.
    left: Cell<u32>,
}

impl Files for Pieces<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.left.set(self.left.get().checked_sub(1).ok_or(ErrorKind::NotFound)?);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.parse::<usize>().map_err(|_| ErrorKind::NotFound)?;
        self.pieces.get(number).map(|piece| piece.to_vec()).ok_or(ErrorKind::NotFound.into())
    }

    fn enter(&self, path: &Path) -> io::Result<PathBuf> {
        if path.ends_with("none") { Err(ErrorKind::NotFound.into()) } else { Ok(path.to_owned()) }
    }

    fn glob(&self, base: &Path, _pattern: &str) -> Vec<PathBuf> {
        (0..self.pieces.len()).map(|number| base.join(number.to_string())).collect()
    }
}

/// `redis.conf`, what it includes, and arguments: the same is read each time, words that are quoted
/// are read back, and places of files are absolute.
pub fn redis_conf(bytes: &[u8]) {
    assert_eq!(split(&quote(bytes)), Ok(vec![bytes.to_vec()]));
    let read = || {
        let pieces = bytes.split(|byte| *byte == 0xff).collect();
        let files = Pieces { pieces, left: Cell::new(20) };
        let command = ["redis-server".into(), "0".into(), "--include".into(), "1".into()];
        ServerConfig::read(&command, None, Path::new("/conf"), &files).map_err(|e| e.to_string())
    };
    let first = read();
    assert_eq!(first, read());
    if let Ok(Some(config)) = first {
        assert!(config.dir.is_absolute() && config.nodes_conf.is_absolute(), "{config:?}");
    }
}

/// An answer of a name server, or a name and a search list: a failure or an address is never taken
/// for "there is none", and only whole names are asked for.
pub fn dns_answer(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (name, search) = text.split_once('\n').unwrap_or((&text, ""));
    let search: Vec<String> = search.lines().map(str::to_owned).collect();
    let names = candidates(name, &search, search.len() % 7);
    assert!(!names.is_empty() && names.iter().all(|name| name.ends_with('.')), "{names:?}");

    let Ok(response) = DnsResponse::from_buffer(bytes.to_vec()) else { return };
    let code = response.response_code;
    let is_address = |data: &RData| matches!(data, RData::A(_) | RData::AAAA(_));
    let query = response.queries.first().map(|query| query.name().clone());
    let named = response.answers.iter().filter(|answer| Some(&answer.name) == query.as_ref());
    let has_address = named.into_iter().any(|answer| is_address(&answer.data));
    let Err(error) = DnsError::from_response(response) else { return };
    if says_there_is_none(&NetError::Dns(error)) {
        assert!(matches!(code, ResponseCode::NoError | ResponseCode::NXDomain), "{code}");
        assert!(!has_address, "an answer was dropped");
    }
}

/// Whether the thread of the probes' server has panicked, which its runtime hides.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The probes' server, on a thread of its own for as long as the process lives.
fn served() -> SocketAddr {
    static SERVED: OnceLock<SocketAddr> = OnceLock::new();
    const NAME: &str = "fuzzed-http";
    *SERVED.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some(NAME) {
                PANICKED.store(true, Ordering::SeqCst);
            }
            before(panic);
        }));
        let listener = rejoin::http::bind::bind(&[(Ipv4Addr::LOCALHOST, 0).into()]);
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let board = Board::new("redis-0", "the lock");
        let now = std::time::Instant::now();
        let node = Node { id: "a".repeat(40), slots: "0-16383".repeat(9), ..Node::default() };
        let status = Status { nodes: vec![node; 6], ..Status::default() };
        board.publish(Observation::unknown(now, Phase::Running(now)), status);
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let never = std::future::pending();
            let serving = rejoin::http::serve(listener, board, Metrics::default(), never);
            runtime.expect("a runtime").block_on(serving).expect("it serves");
        };
        std::thread::Builder::new().name(NAME.to_owned()).spawn(serve).expect("a thread");
        address
    })
}

/// A request, or several: there is one answer at most, of a kind that there is, and an end.
pub fn http_request(bytes: &[u8]) {
    let mut stream = TcpStream::connect(served()).expect("the probes' server takes connections");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("20 s is a time");
    // It may have answered and closed before all is sent.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let is_over = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!is_over, "neither an answer nor an end to {:?}", String::from_utf8_lossy(bytes));
    }
    assert!(!PANICKED.load(Ordering::SeqCst), "{:?}", String::from_utf8_lossy(bytes));
    let answer = String::from_utf8_lossy(&answer);
    let Some(code) = answer.get(9..12) else {
        assert_eq!(answer, "");
        return;
    };
    assert!(answer.starts_with("HTTP/1.1 ") || answer.starts_with("HTTP/1.0 "), "{answer}");
    let codes = ["200", "400", "404", "405", "414", "431", "503", "505"];
    assert!(codes.contains(&code), "{answer}");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
}
