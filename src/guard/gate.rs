//! The seam between the two threads: the main one waits, the agent opens.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::nodes_conf::NodeId;

/// Closed until the server may be started. Nothing but [`Gate::open`] opens it: both ends of the
/// pipe are in here, so that a thread which ends does not look like one that has agreed.
#[derive(Debug)]
pub struct Gate {
    reader: PipeReader,
    writer: PipeWriter,
    open: AtomicBool,
    absent: OnceLock<NodeId>,
}

impl Gate {
    /// A closed gate.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn new() -> io::Result<Gate> {
        let (reader, writer) = io::pipe()?;
        Ok(Gate { reader, writer, open: AtomicBool::new(false), absent: OnceLock::new() })
    }

    /// Lets the server start. A second call does nothing.
    pub fn open(&self) {
        if !self.open.swap(true, Ordering::SeqCst) {
            // One byte always has room, and the other end is ours.
            let _ = (&self.writer).write_all(&[1]);
        }
    }

    /// The same, once the address of this master is out of `nodes.conf`.
    pub fn open_without(&self, master: NodeId) {
        let _ = self.absent.set(master);
        self.open();
    }

    /// The master whose address is to be taken out before the server starts.
    pub fn absent(&self) -> Option<NodeId> {
        self.absent.get().copied()
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }
}

impl AsFd for Gate {
    /// Can be read once the gate is open.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn gate_is_opened_once_and_by_nothing_else() {
        let gate = Gate::new().unwrap();
        assert!(!gate.is_open());
        gate.open();
        gate.open();
        assert!(gate.is_open());
        let Gate { mut reader, writer, .. } = gate;
        drop(writer);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [1]);
    }
}
