//! A program that is no Redis.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::process::rest;

/// Something else than Redis that listens on an address, until it is dropped.
#[derive(Debug)]
pub struct Other {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Other {
    /// Says the same to whoever has asked anything, and keeps the connection.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn on(address: SocketAddr, says: &'static str) -> Self {
        let listener = TcpListener::bind(address).expect("the address is ours");
        listener.set_nonblocking(true).expect("a socket");
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                let mut kept = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((mut stream, _)) => {
                            if !says.is_empty() {
                                let _ = stream.read(&mut [0; 1024]);
                                let _ = stream.write_all(says.as_bytes());
                            }
                            kept.push(stream);
                        }
                        Err(_) => rest(Duration::from_millis(5)),
                    }
                }
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
