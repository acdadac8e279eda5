//! A member that comes back before the others, and whether others would wait for it in turn.
//!
//! A StatefulSet of the `OrderedReady` policy makes a pod only when all before it are ready. After
//! all have gone, the first ones cannot have a cluster, nor a replica its master, before the later
//! ones are there; so they must be ready without.

use crate::cluster::model::{Discovery, View};

/// What a member waits for that cannot come while nobody creates more pods: most of the masters, or
/// its own. `None`: there is no such thing, or a pod that does exist is only out of reach, which a
/// rolling update has to stop at.
pub fn waits_for(view: &View) -> Option<String> {
    if view.discovery != Discovery::Done || view.out_of_reach().is_some() || view.own.state_ok {
        return None;
    }
    let table = &view.own.table;
    let masters: Vec<_> = table.nodes().filter(|node| !node.slots.is_empty()).collect();
    let present = masters.iter().filter(|node| view.pod(node.id).is_some()).count();
    if present * 2 <= masters.len() {
        return Some(format!("{present} of the {} masters answer", masters.len()));
    }
    let master = table.me().master.filter(|master| view.pod(*master).is_none())?;
    Some(format!("its master {master} is no pod yet"))
}
