//! Ids that no pod answers as any more are forgotten, each pod in its own table.

use crate::cluster::model::{Pod, View};
use crate::config::shape::Shape;
use crate::nodes_conf::NodeId;

use super::{Plan, Stage, Step};

/// Forgets an id that is marked as failed or lost, owns no slot in anybody's view, and is not the
/// id of any expected pod, all of which answer. An id that a replica follows stays. So do all
/// while a pod that exists is out of reach.
///
/// Only members count: a pod of another cluster, which a stale name in DNS leads to, must not stand
/// in for one of ours that is out of reach. While a cluster is formed fresh pods count too: they are
/// met only when no ghost is left.
pub(super) fn plan(view: &View, shape: Shape, plan: &mut Plan) {
    if view.out_of_reach().is_some() {
        return;
    }
    let pods = view.pods();
    let own = &view.own.table;
    let unformed = Stage::of(view) == Stage::Unformed;
    let counts =
        |pod: &&Pod<'_>| own.find(pod.id()).is_some() || (unformed && pod.table.is_fresh());
    let mut ids: Vec<NodeId> = pods.iter().filter(counts).map(Pod::id).collect();
    let answers = ids.len();
    ids.sort_unstable();
    ids.dedup();
    if u32::try_from(ids.len()).ok() != Some(shape.expected()) || ids.len() != answers {
        return;
    }
    let in_use = |id: NodeId| {
        pods.iter().any(|pod| {
            pod.table.me().master == Some(id)
                || pod.table.find(id).is_some_and(|node| {
                    !node.slots.is_empty() || (node.connected && !node.flags.fail)
                })
        })
    };
    for node in own.others() {
        let gone = node.flags.fail || node.flags.noaddr;
        if gone && ids.binary_search(&node.id).is_err() && !in_use(node.id) {
            plan.steps.push(Step::Forget(node.id));
        }
    }
}
