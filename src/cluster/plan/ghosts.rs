//! Ids that no pod answers as any more are forgotten, each pod in its own table.

use crate::cluster::model::{Pod, Table, View};
use crate::config::shape::Shape;
use crate::nodes_conf::{Node, NodeId};

use super::{Plan, Stage, Step, lost};

/// Forgets an id that is marked as failed or lost, owns no slot in anybody's view, and is not the
/// id of any expected pod, all of which answer. An id that a replica follows stays. So do all
/// while a pod that exists is out of reach.
///
/// Only members count: a pod of another cluster, which a stale name in DNS leads to, must not stand
/// in for one of ours that is out of reach. While a cluster is formed fresh pods count too: they are
/// met only when no ghost is left.
pub(super) fn plan(view: &View, shape: Shape, plan: &mut Plan) {
    let own = &view.own.table;
    let unformed = Stage::of(view) == Stage::Unformed;
    let Some(ids) = all_answering(view, shape, |pod| {
        own.find(pod.id()).is_some() || (unformed && pod.table.is_fresh())
    }) else {
        return;
    };
    let pods = view.pods();
    let in_use = |id: NodeId| {
        pods.iter().any(|pod| {
            pod.table.me().master == Some(id)
                || pod.table.find(id).is_some_and(|node| {
                    !node.slots.is_empty()
                        || (node.connected && !node.flags.fail)
                        || had_a_copy(pod.table, node)
                })
        })
    };
    for node in own.others() {
        if lost::is_gone(node) && ids.binary_search(&node.id).is_err() && !in_use(node.id) {
            plan.steps.push(Step::Forget(node.id));
        }
    }
}

/// Whether it followed an owner of slots that is gone: it is needed to say what is lost, and its
/// volume would be found again more easily.
fn had_a_copy(table: &Table, node: &Node) -> bool {
    let master = node.master.and_then(|master| table.find(master));
    master.is_some_and(|master| !master.slots.is_empty() && lost::is_gone(master))
}

/// The ids, in order, of the pods that count, where exactly as many as are expected do, no two of
/// them are one, and no pod that exists is out of reach.
pub(super) fn all_answering(
    view: &View,
    shape: Shape,
    counts: impl Fn(&Pod<'_>) -> bool,
) -> Option<Vec<NodeId>> {
    let mut ids: Vec<NodeId> = view.pods().iter().filter(|pod| counts(pod)).map(Pod::id).collect();
    let answers = ids.len();
    ids.sort_unstable();
    ids.dedup();
    let all = u32::try_from(answers).ok() == Some(shape.expected()) && ids.len() == answers;
    (all && view.out_of_reach().is_none()).then_some(ids)
}
