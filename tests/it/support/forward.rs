//! One address in front of another, as a NodePort is.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::wait::wait_ok;

const LIMIT: Duration = Duration::from_secs(10);

/// Who connects to one address is connected to another, until it is dropped; connections that are
/// there by then last as long as their ends.
#[derive(Debug)]
pub struct Forward {
    /// Where it listens.
    pub from: SocketAddr,
    ended: Arc<AtomicBool>,
    listens: Option<JoinHandle<()>>,
}

impl Forward {
    /// From this address to that one.
    ///
    /// # Panics
    /// When the first is taken.
    pub fn start(from: SocketAddr, to: SocketAddr) -> Self {
        // A process that is just being started elsewhere in here has what was open then until it runs.
        let listener = wait_ok(LIMIT, "a free address", || {
            TcpListener::bind(from).map_err(|error| format!("{from}: {error}"))
        });
        let ended = Arc::new(AtomicBool::new(false));
        let has_ended = Arc::clone(&ended);
        let listens = thread::spawn(move || {
            for outer in listener.incoming().map_while(Result::ok) {
                if has_ended.load(Ordering::Relaxed) {
                    return;
                }
                // Where nobody is behind it, who connects is let down, at once where that is known at once.
                thread::spawn(move || {
                    if let Ok(inner) = TcpStream::connect(to) {
                        join(&outer, &inner).expect("sockets can be duplicated");
                    }
                });
            }
        });
        Self { from, ended, listens: Some(listens) }
    }
}

/// What one says the other hears, both ways.
fn join(one: &TcpStream, other: &TcpStream) -> io::Result<()> {
    for (from, to) in [(one, other), (other, one)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // It waits for a connection.
        let _ = TcpStream::connect(self.from);
        // The address is free then.
        let _ = self.listens.take().map(JoinHandle::join);
    }
}
