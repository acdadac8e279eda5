//! One address in front of another, as a NodePort is.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Who connects to one address is connected to another, until it is dropped; connections that are
/// there by then last as long as their ends.
#[derive(Debug)]
pub struct Forward {
    from: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Forward {
    /// From this address to that one.
    ///
    /// # Panics
    /// When the first is taken.
    pub fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).expect("the address is ours");
        let ended = Arc::new(AtomicBool::new(false));
        let has_ended = Arc::clone(&ended);
        thread::spawn(move || {
            for outer in listener.incoming().map_while(Result::ok) {
                if has_ended.load(Ordering::Relaxed) {
                    return;
                }
                // Where nobody is behind it, who connects is let down at once.
                if let Ok(inner) = TcpStream::connect(to) {
                    join(&outer, &inner).expect("sockets can be duplicated");
                }
            }
        });
        Self { from, ended }
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
    }
}
