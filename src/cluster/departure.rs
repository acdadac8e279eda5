//! A server that was told to stop and goes on serving is told again.
//!
//! Redis forgets a SIGTERM that comes while it cannot stop: while its first append-only file is
//! written ("Writing initial AOF, can't exit"), or when its last save failed (`prepareForShutdown`
//! in `src/server.c`). The kubelet sends one only, and then kills. To be told twice does no harm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use crate::board::Board;
use crate::handover::notice::Notice;
use crate::init::{Handle, Signal};

/// How long a server may go on answering after a SIGTERM before it is sent again. One that saves
/// does not answer meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sees to it that a leaving server leaves.
#[derive(Debug)]
pub struct Departure {
    init: Handle,
    notice: Arc<Notice>,
    told: Option<Instant>,
}

impl Departure {
    /// Asks the init to signal, once the signal that the notice holds has passed.
    pub fn new(init: Handle, notice: Arc<Notice>) -> Departure {
        Departure { init, notice, told: None }
    }

    /// Sends SIGTERM again where the last passed long enough ago and the server has just answered.
    pub fn insist(&mut self, board: &Board, now: Instant) {
        let Some(told) = self.told.or(self.notice.passed()) else { return };
        let seen = board.observation();
        let serves = seen.last_answer.is_some_and(|(at, _)| at > told + PATIENCE);
        if serves && now > told + PATIENCE {
            info!("the server was told to stop and still serves: told again");
            self.init.signal_child(Signal::TERM);
            self.told = Some(now);
        }
    }
}
