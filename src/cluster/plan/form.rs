//! Six empty pods become a cluster, each acting for itself.
//!
//! A pod takes a number, meets everybody, and takes its slots or its master. It does so only while
//! it sees every expected pod, every one of them empty, and nobody else; so two halves of a
//! StatefulSet that do not see each other never form two clusters, and a pod that dies half-way
//! goes on where it was.

use std::collections::BTreeMap;

use crate::cluster::model::{Discovery, Pod, View, is_healthy, seat_range};
use crate::config::shape::Shape;
use crate::health::Membership;
use crate::nodes_conf::NodeId;
use crate::redis::Failure;

use super::hold::Pods;
use super::{Meet, Plan, Reason, Replicate, Step, heal};

/// Why forming does not go on.
enum Gate {
    /// Others are not there yet: only so many are.
    Waiting(usize),
    /// All are there, and one is about to do its part; which.
    Soon(String),
    /// Something is wrong; it is held.
    Wrong(Vec<(String, Reason)>),
}

/// The number that ordinal 0 takes; the others count down from it, so that every master's number is
/// above those of the pods that become replicas. Valkey 9 ignores a node that turned replica
/// where its new master's epoch is below its own ("Ignore stale message", `clusterProcessPacket` in
/// `src/cluster_legacy.c`). It does not depend on the shape, which may be corrected before anything
/// is formed.
const FIRST_NUMBER: u64 = 1_000_000;

/// The config epoch that a fresh pod sets: one for each ordinal.
pub(super) fn number_of(ordinal: u32) -> u64 {
    FIRST_NUMBER.saturating_sub(ordinal.into()).max(1)
}

/// The ordinal that a fresh pod's number stands for.
pub(super) fn ordinal_of(number: u64) -> Option<u32> {
    FIRST_NUMBER.checked_sub(number).and_then(|ordinal| u32::try_from(ordinal).ok())
}

/// Adds the next steps of forming.
pub(super) fn plan(view: &View, shape: Shape, ordinal: u32, plan: &mut Plan) {
    let own = &view.own.table;
    let number = number_of(ordinal);
    if own.is_fresh() && own.me().config_epoch == 0 {
        plan.steps.push(Step::SetEpoch(number));
    }
    match gate(view, shape, number) {
        Err(Gate::Waiting(found)) => {
            let what = format!("{found} of {} answer", Pods(shape));
            plan.hold("this pod", Reason::TooFew { found, shape });
            plan.membership = match (&view.discovery, view.out_of_reach()) {
                (Discovery::Failed(why), _) => {
                    Membership::Pending(format!("the resolver failed: {why}"))
                }
                // It exists, and so nobody waits for us to be ready before it is created.
                (_, Some(at)) => Membership::Pending(format!("{what}; {at} does not")),
                _ => Membership::AwaitingPeers(what),
            };
        }
        Err(Gate::Soon(what)) => plan.wait(&what),
        Err(Gate::Wrong(reasons)) => {
            for (about, reason) in reasons {
                plan.wait(&format!("{about}: {reason}"));
                plan.hold(about, reason);
            }
        }
        Ok(()) => {
            plan.wait("the cluster is being formed");
            take_part(view, shape, ordinal, plan);
        }
    }
}

/// The steps of a pod that sees all others.
fn take_part(view: &View, shape: Shape, ordinal: u32, plan: &mut Plan) {
    let own = &view.own.table;
    if ordinal < shape.shards {
        let range = seat_range(ordinal, shape.shards);
        let taken = view.pods().into_iter().find_map(|pod| pod.table.owner_within(&range).cloned());
        match taken {
            None if !own.me().flags.replica => plan.steps.push(Step::AddSlots(range)),
            Some(owner) if owner.id != own.id() => {
                return plan.hold_back(Reason::SlotsTaken { range, owner: owner.id });
            }
            _ => {}
        }
    }
    for pod in view.pods() {
        if let Some(at) = pod.at
            && own.find(pod.id()).is_none()
        {
            plan.steps.push(heal::meet(view, pod, at, Meet::Join));
        }
    }
    if ordinal >= shape.shards && !own.me().flags.replica && own.me().slots.is_empty() {
        let seat = seat_range(ordinal % shape.shards, shape.shards);
        if let Some(owner) = own.owner_of(seat.first)
            && is_healthy(owner)
        {
            plan.steps.push(Step::Replicate { master: owner.id, why: Replicate::Join });
        }
    }
}

/// Whether every expected pod is there, empty, numbered and known to nobody else.
fn gate(view: &View, shape: Shape, number: u64) -> Result<(), Gate> {
    let pods = view.pods();
    let unusable = unusable(view);
    if !unusable.is_empty() {
        return Err(Gate::Wrong(unusable));
    }
    let expected = usize::try_from(shape.expected()).unwrap_or(usize::MAX);
    if pods.len() > expected {
        let reason = Reason::TooMany { found: pods.len(), shape };
        return Err(Gate::Wrong(vec![("this pod".to_owned(), reason)]));
    }
    let wrong = wrong(&pods, shape, number);
    if !wrong.is_empty() {
        return Err(Gate::Wrong(wrong));
    }
    if pods.len() < expected {
        return Err(Gate::Waiting(pods.len()));
    }
    if let Some(pod) =
        pods.iter().find(|pod| pod.table.is_fresh() && pod.table.me().config_epoch == 0)
    {
        return Err(Gate::Soon(format!("{} has not taken its number yet", name(pod))));
    }
    Ok(())
}

/// Addresses that answer, but as nothing that could become a member. One that does not answer, or
/// loads, is not there yet, and that is counted elsewhere.
fn unusable(view: &View) -> Vec<(String, Reason)> {
    use crate::health::Answer;
    let wrong = |failure: &Failure| {
        !matches!(
            failure,
            Failure::Silent(_)
                | Failure::Closed
                | Failure::Said(Answer::Loading | Answer::Busy | Answer::HungUp)
        )
    };
    view.peers
        .iter()
        .filter_map(|peer| {
            let failure = peer.answer.as_ref().err().filter(|failure| wrong(failure))?;
            Some((peer.at.to_string(), Reason::Unusable(failure.clone())))
        })
        .collect()
}

/// Everything about the pods that answer which forbids to form a cluster of them.
fn wrong(pods: &[Pod<'_>], shape: Shape, number: u64) -> Vec<(String, Reason)> {
    let mut wrong = Vec::new();
    let mut seats: BTreeMap<u32, NodeId> = BTreeMap::new();
    for pod in pods {
        let me = pod.table.me();
        let own = pod.at.is_none();
        if pod.table.is_fresh() {
            let epoch = if own && me.config_epoch == 0 { number } else { me.config_epoch };
            let ordinal = ordinal_of(epoch).filter(|ordinal| *ordinal < shape.expected());
            match ordinal {
                _ if epoch == 0 => {}
                Some(_) if own && epoch != number => {
                    wrong.push((name(pod), Reason::ForeignEpoch(epoch)));
                }
                None => wrong.push((name(pod), Reason::ForeignEpoch(epoch))),
                Some(ordinal) => {
                    if let Some(first) = seats.insert(ordinal, me.id) {
                        let reason = Reason::SameOrdinal { ordinal, first, second: me.id };
                        wrong.push((name(pod), reason));
                    }
                }
            }
        }
        if pod.keys > 0 && !me.flags.replica && !sits_in_its_seat(pod, shape) {
            wrong.push((name(pod), Reason::HoldsKeys(pod.keys)));
        }
        for other in pod.table.others() {
            if !pods.iter().any(|pod| pod.id() == other.id) && pods_are_all(pods, shape) {
                wrong.push((name(pod), Reason::Stranger(other.id)));
            }
        }
    }
    wrong
}

fn pods_are_all(pods: &[Pod<'_>], shape: Shape) -> bool {
    u32::try_from(pods.len()).is_ok_and(|found| found >= shape.expected())
}

/// A master that took its slots while this very cluster was formed: its seat's range, no more and
/// no less, with its seat's number. Clients may have written to it already where
/// `cluster-require-full-coverage` is off. A volume from elsewhere does not look like that.
pub(super) fn sits_in_its_seat(pod: &Pod<'_>, shape: Shape) -> bool {
    let me = pod.table.me();
    ordinal_of(me.config_epoch)
        .is_some_and(|seat| seat < shape.shards && me.slots == [seat_range(seat, shape.shards)])
}

fn name(pod: &Pod<'_>) -> String {
    pod.at.map_or_else(|| "this pod".to_owned(), |at| at.to_string())
}
