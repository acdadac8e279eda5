//! A name server of the test's own, whose answers change while it runs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};

/// What the server says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These addresses: the IPv4 ones as A, the others as AAAA. None at all: the name exists and
    /// has no address (NOERROR without records).
    Addresses(Vec<IpAddr>),
    /// The name does not exist (NXDOMAIN). So is every name that was never given an answer.
    NoSuchName,
    /// The server cannot tell (SERVFAIL).
    ServFail,
    /// Nothing comes back at all.
    Silence,
}

#[derive(Debug, Default)]
struct Zone {
    /// By full name in lower case, without the last dot.
    answers: BTreeMap<String, Answer>,
    /// For every name, whatever `answers` holds.
    trouble: Option<Answer>,
    questions: Vec<(String, String)>,
}

/// The longest answer over UDP to whoever has not said that it takes longer ones (RFC 1035, 4.2.1).
const UDP_MAX: usize = 512;

/// A name server over UDP, and over TCP for what is too long for that; dropping it ends it.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dns {
    /// Starts a server in the network namespace of this thread.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn start(address: SocketAddr) -> Self {
        let socket = match UdpSocket::bind(address) {
            Ok(socket) => socket,
            Err(error) => panic!("cannot serve names on {address}: {error}"),
        };
        let address = socket.local_addr().expect("a bound socket has an address");
        let listener =
            TcpListener::bind(address).expect("whose UDP port it is has the TCP port too");
        listener.set_nonblocking(true).expect("a listener need not block");
        // Only so that the thread sees its end, and who has come by TCP.
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("50 ms is a time");
        let zone = Arc::new(Mutex::new(Zone::default()));
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (zone, ended) = (Arc::clone(&zone), Arc::clone(&ended));
            move || serve(&socket, &listener, &zone, &ended)
        });
        Self { address, zone, ended, thread: Some(thread) }
    }

    /// The address it serves on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers so for this full name from now on.
    pub fn set(&self, name: &str, answer: Answer) {
        self.zone().answers.insert(key(name), answer);
    }

    /// Answers as for a headless Service with these pods, each with its name and address:
    /// `SERVICE` has them all, `POD.SERVICE` the one. A pod that was published before and is not
    /// among them keeps its own name until that is set otherwise.
    pub fn publish(&self, service: &str, pods: &[(String, IpAddr)]) {
        self.set(service, Answer::Addresses(pods.iter().map(|(_, ip)| *ip).collect()));
        for (name, ip) in pods {
            self.set(&format!("{name}.{service}"), Answer::Addresses(vec![*ip]));
        }
    }

    /// Answers so for every name, whatever was set, until it is given `None`.
    pub fn set_trouble(&self, trouble: Option<Answer>) {
        self.zone().trouble = trouble;
    }

    /// Every question since the start: full name in lower case, and type, as in `AAAA`.
    pub fn questions(&self) -> Vec<(String, String)> {
        self.zone().questions.clone()
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().expect("the server does not panic")
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, listener: &TcpListener, zone: &Mutex<Zone>, ended: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !ended.load(Ordering::Relaxed) {
        // A client that went away is none of our business.
        if let Ok((stream, _)) = listener.accept() {
            let _ = answer_stream(stream, zone);
        }
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let Some(mut answer) = answer_to(&buffer[..length], zone) else { continue };
        let Ok(mut bytes) = answer.to_vec() else { continue };
        if bytes.len() > UDP_MAX {
            answer.answers.clear();
            answer.metadata.truncation = true;
            bytes = answer.to_vec().unwrap_or_default();
        }
        let _ = socket.send_to(&bytes, from);
    }
}

/// One question and its answer, each behind its length in two bytes.
fn answer_stream(mut stream: TcpStream, zone: &Mutex<Zone>) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut question)?;
    let answer = answer_to(&question, zone).and_then(|answer| answer.to_vec().ok());
    let answer = answer.unwrap_or_default();
    let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat())
}

fn answer_to(question: &[u8], zone: &Mutex<Zone>) -> Option<Message> {
    let question = Message::from_vec(question).ok()?;
    reply(&mut *zone.lock().ok()?, &question)
}

fn reply(zone: &mut Zone, question: &Message) -> Option<Message> {
    let query = question.queries.first()?.clone();
    let name = key(&query.name().to_string());
    zone.questions.push((name.clone(), query.query_type().to_string()));
    let answer = zone.trouble.as_ref().or_else(|| zone.answers.get(&name));
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.authoritative = true;
    reply.metadata.recursion_desired = question.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = match answer {
        Some(Answer::Silence) => return None,
        Some(Answer::ServFail) => ResponseCode::ServFail,
        Some(Answer::NoSuchName) | None => ResponseCode::NXDomain,
        Some(Answer::Addresses(_)) => ResponseCode::NoError,
    };
    if let Some(Answer::Addresses(addresses)) = answer {
        let wanted = addresses.iter().filter_map(|ip| match (ip, query.query_type()) {
            (IpAddr::V4(ip), RecordType::A) => Some(RData::A(A(*ip))),
            (IpAddr::V6(ip), RecordType::AAAA) => Some(RData::AAAA(AAAA(*ip))),
            _ => None,
        });
        reply.add_answers(wanted.map(|data| Record::from_rdata(query.name().clone(), 5, data)));
    }
    reply.add_query(query);
    Some(reply)
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
