//! What the keeper remembers from one look to the next, for the decisions that need it: a replica
//! takes over only from a master that has been nowhere for a while, and takes its home back only when
//! nothing has happened for a while; and one that may have copied a stranger is not to be elected.
//!
//! It only ever delays. A keeper that starts anew remembers nothing, and so waits longer, or holds.

use std::time::{Duration, Instant};

use crate::nodes_conf::NodeId;

use super::model::{Past, View};
use super::plan::{copied_master, meets_stranger, missing_master};

/// How much time one look vouches for, at most. Of a pod that was frozen between two looks nobody
/// knows what it would have seen.
const LONGEST_GAP: Duration = Duration::from_secs(2);

/// What was seen until now.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The last master that was seen to be copied, and the id of its stream then.
    copied: Option<(NodeId, String)>,
    /// A stranger was seen where the own server looks for its master, after that.
    strayed: bool,
    missing: Option<Missing>,
    ordered: Option<Instant>,
    /// Since when nothing has changed and nothing was to be done.
    calm_since: Option<Instant>,
}

/// A master that has been nowhere in each look so far.
#[derive(Clone, Copy, Debug)]
struct Missing {
    master: NodeId,
    length: Duration,
    looked: Instant,
}

impl Memory {
    /// Adds a look, and tells it what came before.
    pub fn look(&mut self, view: &mut View, now: Instant) {
        let is_master = view.own.table.me().flags.master;
        self.strayed = !is_master && (self.strayed || meets_stranger(view));
        // Whose data the own server holds. Replication itself knows no ids.
        if let Some(master) = copied_master(view) {
            self.copied = Some((master, view.own.replication.stream.id.clone()));
            self.strayed = false;
        }
        self.missing = missing_master(view).map(|master| {
            let before = self.missing.filter(|before| before.master == master);
            let length = before.map_or(Duration::ZERO, |before| {
                before.length + now.duration_since(before.looked).min(LONGEST_GAP)
            });
            Missing { master, length, looked: now }
        });
        let stream = &view.own.replication.stream.id;
        let ours = view.own.table.me().master;
        let is_copy =
            self.copied.as_ref().is_some_and(|(master, id)| Some(*master) == ours && id == stream);
        view.past = Past {
            missing: self.missing.map(|missing| missing.length),
            ordered: self.ordered.map(|ordered| now.duration_since(ordered)),
            is_copy,
            strayed: self.strayed,
            kept_back: false,
            calm: self.calm(now),
        };
    }

    /// A look has left nothing to be done.
    pub fn settled(&mut self, now: Instant) {
        self.calm_since.get_or_insert(now);
    }

    /// Something has changed, or is to be done.
    pub fn disturbed(&mut self) {
        self.calm_since = None;
    }

    /// For how long nothing has happened.
    pub fn calm(&self, now: Instant) -> Duration {
        self.calm_since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    /// The own server did not answer, so nothing was seen.
    pub fn saw_nothing(&mut self) {
        self.missing = None;
    }

    /// The own server was just told to take over.
    pub fn ordered(&mut self, now: Instant) {
        self.ordered = Some(now);
    }

    /// Whether a look may lead to another plan although nothing but time has changed.
    pub fn counts(&self) -> bool {
        self.missing.is_some()
    }
}

#[cfg(test)]
pub(super) mod tests;
