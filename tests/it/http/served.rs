//! A served board, and clients that behave or do not.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test that asked for it")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use rejoin::board::Board;
use rejoin::telemetry::metrics::Metrics;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::oneshot;

/// The longest that anything here is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The HTTP server on a thread of its own, as PID 1 has it; ends when dropped.
pub struct Served {
    pub address: SocketAddr,
    pub board: Board,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub fn new() -> Served {
        let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
        let listener = rejoin::http::bind::bind(&[any]).unwrap();
        let port = listener.local_addr().unwrap().port();
        let board = Board::new("redis-0", "the lock");
        let (stop, stopped) = oneshot::channel::<()>();
        let (served, metrics) = (board.clone(), Metrics::default());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let shutdown = async {
                let _ = stopped.await;
            };
            runtime
                .unwrap()
                .block_on(rejoin::http::serve(listener, served, metrics, shutdown))
                .unwrap();
        });
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Served { address, board, stop: Some(stop), thread: Some(thread) }
    }

    /// A connection from 127.0.0.`last`, as another pod would have another address.
    pub fn connect(&self, last: u8) -> TcpStream {
        self.try_connect(last, PATIENCE).unwrap()
    }

    /// The same, unless it takes longer than `time`.
    pub fn try_connect(&self, last: u8, time: Duration) -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0);
        socket.bind(&SockAddr::from(from))?;
        socket.connect_timeout(&SockAddr::from(self.address), time)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Sends `bytes` and reads until the server closes.
    pub fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect(2);
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request without a body, and gives the answer's header and body.
    pub fn request(&self, method: &str, path: &str) -> (String, String) {
        let answer = self.say(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        (head.to_lowercase(), body.to_owned())
    }

    /// Whether the kernel still has the server's end of the connection from port `client`, be it
    /// closed or not (proc_net_tcp of the kernel's documentation: hexadecimal, address:port).
    pub fn has_socket_of(&self, client: u16) -> bool {
        let (server, client) = (format!(":{:04X}", self.address.port()), format!(":{client:04X}"));
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|socket| {
            socket.get(1).is_some_and(|local| local.ends_with(&server))
                && socket.get(2).is_some_and(|remote| remote.ends_with(&client))
        })
    }

    /// Checks that a probe is answered in the time that it has, and how long it took.
    #[track_caller]
    pub fn is_prompt(&self) -> Duration {
        use rejoin::probe::{PROBE_TIME, Probe, ask};
        let start = Instant::now();
        let (code, line) = ask(&[self.address], Probe::Live, PROBE_TIME);
        assert_eq!((code, line.as_str()), (0, "live: the server waits: the lock"));
        start.elapsed()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|result| result.is_ok()) || std::thread::panicking());
    }
}

/// Whether the server has closed or reset the connection, of which nothing was read yet.
pub fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.peek(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}");
        pause();
    }
}

/// Leaves the processor to others for a moment, between two looks at a state or two attacks.
pub fn pause() {
    let _ = poll(&mut [], PollTimeout::from(5u8));
}
