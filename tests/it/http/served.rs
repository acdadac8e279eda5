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
    /// closed or not.
    pub fn has_socket_of(&self, client: u16) -> bool {
        self.sockets().iter().any(|socket| socket.remote == client)
    }

    /// Whether the server has not closed the connection from port `client`.
    pub fn is_open(&self, client: u16) -> bool {
        self.sockets().iter().any(|socket| socket.remote == client && socket.state == ESTABLISHED)
    }

    /// How many connections wait to be accepted.
    pub fn queue(&self) -> u32 {
        let sockets = self.sockets();
        sockets.iter().find(|socket| socket.state == LISTEN).unwrap().received
    }

    /// The kernel's sockets of the server's port.
    fn sockets(&self) -> Vec<Kernels> {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let hex = |text: &str| u32::from_str_radix(text, 16).unwrap();
        let port = |address: &str| u16::try_from(hex(&address[address.len() - 4..])).unwrap();
        let mut all = Vec::new();
        for line in sockets.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if port(words[1]) == self.address.port() {
                let received = words[4].split_once(':').map(|(_, received)| hex(received)).unwrap();
                all.push(Kernels { remote: port(words[2]), state: hex(words[3]), received });
            }
        }
        all
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

/// A line of `/proc/net/tcp` (proc_net_tcp of the kernel's documentation; numbers are hexadecimal).
struct Kernels {
    /// The port of the other side.
    remote: u16,
    state: u32,
    /// `rx_queue`: of one that listens, the connections that wait to be accepted.
    received: u32,
}

const ESTABLISHED: u32 = 1;
const LISTEN: u32 = 10;

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
