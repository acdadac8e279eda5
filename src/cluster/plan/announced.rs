//! Pods that announce addresses which do not lead to them: they can be met, and are lost again.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::model::{Announced, Pod, View, client_address, is_healthy, literal_ip};

use super::heal::is_at;
use super::{Plan, Reason};

/// How long a link may be missing: while a cluster is formed or healed, most are for a moment.
const LINKS: Duration = Duration::from_secs(5);

/// Holds those who do not answer there, where there is no link to it either (then only clients are meant to
/// have no way), and those who do, where the server finds nobody, or somebody else: so their bus is not there.
pub(super) fn plan(view: &View, plan: &mut Plan) {
    for (pod, said) in announcing(view) {
        let is_there = is_at(view, pod.id(), Some(said.ip())) || is_linked(view, pod, said);
        let unlinked = is_unlinked(view, pod, said) && view.past.unlinked >= LINKS;
        if let Some(at) = pod.at.filter(|_| !is_there || unlinked) {
            plan.hold(at, Reason::Announces(said));
        }
    }
}

/// Whether the own server has no link to one that it knows by what that announces.
pub fn misses_a_link(view: &View) -> bool {
    announcing(view).any(|(pod, said)| is_unlinked(view, pod, said))
}

/// Every other pod that announces another address than its own, and which.
fn announcing(view: &View) -> impl Iterator<Item = (Pod<'_>, SocketAddr)> {
    let to_all = matches!(view.announced, Announced::ToAll { .. });
    view.pods().into_iter().filter(move |_| to_all).filter_map(|pod| {
        let said = client_address(pod.table.me())?;
        (pod.at?.ip() != said.ip()).then_some((pod, said))
    })
}

fn is_linked(view: &View, pod: Pod<'_>, said: SocketAddr) -> bool {
    let line = view.own.table.find(pod.id());
    line.is_some_and(|line| literal_ip(line) == Some(said.ip()) && is_healthy(line))
}

/// `noaddr`: somebody else was met there.
fn is_unlinked(view: &View, pod: Pod<'_>, said: SocketAddr) -> bool {
    let line = view.own.table.find(pod.id());
    line.is_some_and(|line| {
        let known = literal_ip(line) == Some(said.ip()) || line.flags.noaddr;
        known && !is_healthy(line)
    })
}
