//! `REJOIN_PREFER_HOME`: a first master that has become a replica of its successor takes its slots
//! back, when nothing has happened for a while. It orders that on its own server, which asks its
//! master to pause and takes over without a lost write, as in any hand-over.

use std::time::Duration;

use crate::cluster::model::{Table, View, is_healthy, seat_range};
use crate::nodes_conf::NodeId;

use super::{Plan, Settings, Step};

/// How long nothing must have happened before ordinal 0 goes home. A pod that Kubernetes is about
/// to restart next is told within seconds of the last one's readiness.
const CALM: Duration = Duration::from_secs(30);

/// Added for each ordinal: whoever comes before goes home first, and that is something happening,
/// so that the next one waits anew. No pod has to know the others' ordinals.
const APART: Duration = Duration::from_secs(5);

/// The master whose slots are first of all this pod's, where it has become its replica.
pub fn successor_at_home(table: &Table, settings: &Settings) -> Option<NodeId> {
    let (shape, ordinal) = settings.shape.zip(settings.ordinal)?;
    if !settings.prefer_home || ordinal >= shape.shards {
        return None;
    }
    let owner = table.owner_of(seat_range(ordinal, shape.shards).first)?;
    (table.me().master == Some(owner.id)).then_some(owner.id)
}

/// Whether nothing has happened for long enough.
pub fn is_calm(calm: Duration, settings: &Settings) -> bool {
    calm >= CALM + APART * settings.ordinal.unwrap_or(0)
}

/// Adds the step to a plan that has nothing else to do. All pods of the cluster must answer, see each
/// other well, agree about who has the slots, and none of them may be about to leave, nor have a slot
/// on its way: a failover drops the marks of the master's, and keys that have moved look as if gone.
/// The own server must have its master's data, or that one would pause its writers for 5 s in vain.
pub(super) fn plan(view: &View, settings: &Settings, plan: &mut Plan) {
    let (own, pods) = (&view.own.table, view.pods());
    let Some(master) = successor_at_home(own, settings) else { return };
    let expected = settings.shape.and_then(|shape| usize::try_from(shape.expected()).ok());
    let all_well = pods.iter().all(|pod| {
        let agrees = pod.table.find(master).is_some_and(|line| !line.slots.is_empty());
        let me = pod.table.me();
        let at_rest = me.migrating.is_empty() && me.importing.is_empty() && !me.flags.nofailover;
        agrees && pod.table.nodes().all(is_healthy) && at_rest
    });
    if all_well
        && view.past.is_copy
        && expected == Some(pods.len())
        && is_calm(view.past.calm, settings)
    {
        plan.steps.push(Step::TakeHome { master });
        plan.settled = false;
    }
}
