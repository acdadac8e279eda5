//! A member that has just come back: whether the others still take it for what it takes itself for,
//! and who would wait for whom where they are not there.
//!
//! A StatefulSet of the `OrderedReady` policy makes a pod only when all before it are ready. After
//! all have gone, the first ones cannot have a cluster, nor a replica its master, before the later
//! ones are there; so they must be ready without. A rolling update must stop at a pod that is cut
//! off, though: its server says `cluster_state:ok` for as long as the node timeout, and a master that
//! was replaced meanwhile takes itself for one.

use crate::cluster::model::{Discovery, View};

/// Where a member stands that was not confirmed since it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Most masters answer, its own among them, and nobody knows better of its slots.
    Confirmed,
    /// What it waits for cannot come while nobody creates more pods.
    Lone(String),
    /// It may not be what it takes itself for.
    Doubted(String),
}

/// Where this pod stands. Without any way to find others only the own server can be believed.
pub fn standing(view: &View) -> Standing {
    if view.discovery == Discovery::Off {
        return Standing::Confirmed;
    }
    let table = &view.own.table;
    let masters: Vec<_> = table.owners().collect();
    let present = masters.iter().filter(|node| view.pod(node.id).is_some()).count();
    let lone =
        |what| if view.is_complete() { Standing::Lone(what) } else { Standing::Doubted(what) };
    if present * 2 <= masters.len() {
        return lone(format!("{present} of the {} masters answer", masters.len()));
    }
    let master = table.me().master.filter(|master| view.pod(*master).is_none());
    match (master, replaced(view)) {
        (Some(master), _) if view.own.state_ok => {
            Standing::Doubted(format!("its master {master} does not answer"))
        }
        (Some(master), _) => lone(format!("its master {master} is no pod yet")),
        (None, Some(why)) => Standing::Doubted(why),
        (None, None) => Standing::Confirmed,
    }
}

/// A pod that knows a later owner of our slots. Its server tells ours as soon as the two are linked.
fn replaced(view: &View) -> Option<String> {
    let me = view.own.table.me();
    let slot = me.slots.first()?.first;
    view.pods().into_iter().find_map(|pod| {
        let owner = pod.table.owner_of(slot).filter(|owner| owner.id != me.id)?;
        (owner.config_epoch > me.config_epoch).then(|| format!("{} has its slots now", owner.id))
    })
}
