//! Where connections wait between being accepted and being served.
//!
//! To accept a connection costs far less than to serve it, and whoever has a question has asked it
//! by then. So in a flood of silent connections the kernel's queue is emptied quickly (without room
//! in it, the kernel drops the first packet of a probe), those that have asked are served at once,
//! and of the others most are closed before they have cost anything.

use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};

use tracing::debug;

use super::guests::Room;

/// Connections that are accepted before those that have asked are served.
const BATCH: usize = 256;

/// So much of a connection is looked at to see whether its header is whole. A kubelet's has 130
/// bytes; a longer one waits until there is no flood.
const GLANCE: usize = 1024;

/// What is left in the kernel's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Nothing.
    Empty,
    /// Perhaps something: there is a flood.
    HasMore,
}

/// Accepted connections that are not served yet.
#[derive(Debug)]
pub struct Lobby {
    /// Those that had to leave [`Lobby::waiting`], but had asked by then.
    asking: Vec<(IpAddr, TcpStream)>,
    waiting: Room<TcpStream>,
}

impl Lobby {
    /// Room for `max` that have not asked.
    pub fn new(max: usize) -> Lobby {
        Lobby { asking: Vec::new(), waiting: Room::new(max) }
    }

    /// Lets in `first`, which was accepted already, and some of `queue`, all unless there is
    /// a flood.
    ///
    /// # Errors
    /// That of accept(2), where it is not about one connection but about the listener or this
    /// process. Who came in before stays in.
    pub fn accept(
        &mut self,
        first: TcpStream,
        peer: IpAddr,
        queue: &TcpListener,
    ) -> io::Result<Queue> {
        self.put(peer, first);
        for _ in 0..BATCH {
            match queue.accept() {
                Ok((stream, peer)) => {
                    // A socket that cannot even be set up is closed here.
                    if stream.set_nonblocking(true).is_ok() {
                        self.put(peer.ip(), stream);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Queue::Empty),
                Err(error) if is_the_clients(&error) => {
                    debug!(%error, "a client was gone too soon");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Queue::HasMore)
    }

    fn put(&mut self, peer: IpAddr, stream: TcpStream) {
        if let Some((peer, gone)) = self.waiting.put(peer, stream)
            && has_asked(&gone)
        {
            self.asking.push((peer, gone));
        }
    }

    /// Those that have asked, to be served one after the other.
    pub fn asking(&mut self) -> Vec<(IpAddr, TcpStream)> {
        let mut asking = std::mem::take(&mut self.asking);
        asking.extend(self.waiting.take(has_asked));
        asking
    }

    /// All others.
    pub fn others(&mut self) -> Vec<(IpAddr, TcpStream)> {
        self.waiting.take(|_| true)
    }
}

/// Whether a whole header has arrived.
fn has_asked(stream: &TcpStream) -> bool {
    let mut start = [0; GLANCE];
    let length = stream.peek(&mut start).unwrap_or(0);
    start[..length].windows(4).any(|end| end == b"\r\n\r\n")
}

/// Whether the error belongs to the connection that was to be accepted, not to the listener
/// (accept(2), "Error handling").
pub fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Ipv4Addr;

    use super::*;

    /// Clients from 127.0.0.1 that send these, and the lobby with room for two that they came to;
    /// gives who was found asking and who else stayed, by port.
    fn visit(sent: &[&str]) -> (Vec<usize>, Vec<usize>) {
        let queue = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut lobby = Lobby::new(2);
        let mut clients = Vec::new();
        for text in sent {
            let mut client = TcpStream::connect(queue.local_addr().unwrap()).unwrap();
            client.write_all(text.as_bytes()).unwrap();
            clients.push(client);
        }
        queue.set_nonblocking(true).unwrap();
        let (first, peer) = queue.accept().unwrap();
        first.set_nonblocking(true).unwrap();
        assert_eq!(lobby.accept(first, peer.ip(), &queue).unwrap(), Queue::Empty);
        let place = |stream: &TcpStream| {
            let port = stream.peer_addr().unwrap();
            clients.iter().position(|client| client.local_addr().unwrap() == port).unwrap()
        };
        let places = |streams: Vec<(IpAddr, TcpStream)>| {
            streams.iter().map(|(_, stream)| place(stream)).collect()
        };
        (places(lobby.asking()), places(lobby.others()))
    }

    #[test]
    fn whoever_has_asked_stays_and_is_served_first() {
        let ask = "GET /livez HTTP/1.1\r\n\r\n";
        assert_eq!(visit(&["", ask]), (vec![1], vec![0]));
        assert_eq!(visit(&[ask, "", "", "", "GET /livez"]), (vec![0], vec![3, 4]));
        assert_eq!(visit(&[ask, ask, ask, ask]), (vec![0, 1, 2, 3], vec![]));
        assert_eq!(visit(&["", "", "", ""]), (vec![], vec![2, 3]));
    }
}
