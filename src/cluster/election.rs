//! The keeper's part in elections: its own server is kept out of one while it may hold another shard's
//! data, by `cluster-replica-no-failover`, and let in again. [`shield`] and [`plan`] decide.

use std::time::{Duration, Instant};

use tracing::debug;

use crate::redis::Failure;

use super::Keeper;
use super::model::{Own, View};
use super::observe::NoFailover;
use super::plan::{self, Step};
use super::shield::{self, Shield};

/// The pause between questions to a replica that may begin to copy a stranger any moment.
const EXPOSED_PAUSE: Duration = Duration::from_millis(10);

impl Keeper {
    /// The pause between two rounds. While a stranger is where the own server looks for its master,
    /// the own server is asked all the while whether it has begun to copy it.
    pub(super) async fn rest(&mut self) {
        let begun = Instant::now();
        while let Some((view, _)) = &self.last
            && plan::is_exposed(view)
            && begun.elapsed() + EXPOSED_PAUSE < self.pause
        {
            tokio::time::sleep(EXPOSED_PAUSE).await;
            match self.observer.own().await {
                Ok(own) if self.keep_back_turned(&own).await => return,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        tokio::time::sleep(self.pause.saturating_sub(begun.elapsed())).await;
    }

    pub(super) async fn raise_shield(&mut self, own: &Own) {
        let last = self.last.as_ref().map(|(view, _)| view);
        if self.shield.rises(last, own) {
            self.shield = Shield::Raised(Instant::now());
            if let Err(why) = self.keep_back().await {
                debug!("has lost its master, and cannot be kept from election: the server {why}");
            }
        }
    }

    /// One that cannot be lowered is tried again in the next round.
    pub(super) async fn lower_shield(&mut self, view: &View) {
        if self.shield.falls(view, Instant::now(), self.settings.node_timeout) {
            // The look at the others took its time.
            let Ok(own) = self.observer.own().await else { return };
            let same = own.replication.stream.id == view.own.replication.stream.id;
            if !same || !shield::holds_copy(&own) {
                return;
            }
            match self.observer.set_no_failover(NoFailover::No).await {
                Ok(()) => self.shield = Shield::Lowered,
                Err(why) => debug!("cannot be elected again yet: the server {why}"),
            }
        }
    }

    /// Keeps the own server from being elected, where it has begun to copy a stranger since the last
    /// look at the others.
    pub(super) async fn keep_back_turned(&mut self, own: &Own) -> bool {
        let last = self.last.as_ref().map(|(view, _)| view);
        let Some(master) = last.and_then(|view| plan::turned_strange(view, own)) else {
            return false;
        };
        let step = Step::KeepBack { master };
        match self.keep_back().await {
            Ok(()) => self.say_done(step.kind(), &step.to_string()),
            // The next round tries again, and says why it could not.
            Err(failure) => debug!("could not {step}: {failure}"),
        }
        true
    }

    async fn keep_back(&mut self) -> Result<(), Failure> {
        // Before it is so, lest nobody knew afterwards who did it.
        self.board.keeps_back();
        self.observer.set_no_failover(NoFailover::Yes).await
    }
}
