//! What the keeper remembers from one look to the next, for the decisions that need it: a replica
//! takes over only from a master that has been nowhere for a while, and takes its home back only when
//! nothing has happened for a while; and one that may have copied a stranger is not to be elected.
//! A copy of the master that the own one took over from has the same history, so it is told from a
//! stranger's.
//!
//! It only ever delays. A keeper that starts anew remembers nothing, and so waits longer, or holds.

use std::time::{Duration, Instant};

use crate::nodes_conf::{NodeId, SlotRange};

use super::model::{Own, Past, View};
use super::plan::{copied_master, meets_stranger, misses_a_link, missing_master};

/// How much time one look vouches for, at most. Of a pod that was frozen between two looks nobody
/// knows what it would have seen.
const LONGEST_GAP: Duration = Duration::from_secs(2);

/// What was seen until now.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The last copy that was seen to be made.
    copied: Option<Copied>,
    /// A stranger was seen where the own server looks for its master, after that.
    strayed: bool,
    missing: Option<Missing>,
    ordered: Option<Instant>,
    unlinked_since: Option<Instant>,
    /// Since when nothing has changed and nothing was to be done.
    calm_since: Option<Instant>,
}

/// What the own server was seen to copy, and who else had it then.
#[derive(Clone, Debug)]
struct Copied {
    master: NodeId,
    /// The id of its stream.
    stream: String,
    slots: Vec<SlotRange>,
    /// Its replicas, which may take over from it.
    heirs: Vec<NodeId>,
}

impl Copied {
    fn of(master: NodeId, own: &Own) -> Copied {
        let heirs = own.table.others().iter().filter(|node| node.master == Some(master));
        Copied {
            master,
            stream: own.replication.stream.id.clone(),
            slots: own.table.find(master).map(|line| line.slots.clone()).unwrap_or_default(),
            heirs: heirs.map(|node| node.id).collect(),
        }
    }

    /// Whether the own server still has it, and its master is that one.
    fn is_masters(&self, own: &Own) -> bool {
        own.table.me().master == Some(self.master) && own.replication.stream.id == self.stream
    }

    /// Whether the own server still has it, and its master has taken over from that one: it was a
    /// replica of it and has all its slots. The stream is the same, or the successor's that went on
    /// from it: whoever has another history gives a full copy, which ends both ids.
    fn is_predecessors(&self, own: &Own) -> bool {
        let replication = &own.replication;
        let continued = replication.earlier.as_ref() == Some(&self.stream);
        let master = own.table.me().master.and_then(|id| own.table.find(id));
        (continued || replication.stream.id == self.stream)
            && master.is_some_and(|master| {
                let took_over = !self.slots.is_empty() && master.slots == self.slots;
                took_over && self.heirs.contains(&master.id)
            })
    }
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
        if is_master {
            self.copied = None;
        }
        // Whose data the own server holds. Replication itself knows no ids.
        if let Some(master) = copied_master(view) {
            self.copied = Some(Copied::of(master, &view.own));
            self.strayed = false;
        }
        self.missing = missing_master(view).map(|master| {
            let before = self.missing.filter(|before| before.master == master);
            let length = before.map_or(Duration::ZERO, |before| {
                before.length + now.duration_since(before.looked).min(LONGEST_GAP)
            });
            Missing { master, length, looked: now }
        });
        self.unlinked_since = misses_a_link(view).then(|| self.unlinked_since.unwrap_or(now));
        let has = |whose: fn(&Copied, &Own) -> bool| {
            self.copied.as_ref().is_some_and(|copied| whose(copied, &view.own))
        };
        view.past = Past {
            missing: self.missing.map(|missing| missing.length),
            ordered: self.ordered.map(|ordered| now.duration_since(ordered)),
            is_copy: has(Copied::is_masters),
            is_dated: has(Copied::is_predecessors),
            strayed: self.strayed,
            kept_back: false,
            unlinked: self.unlinked_since.map_or(Duration::ZERO, |since| now.duration_since(since)),
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
}

#[cfg(test)]
pub(super) mod tests;
