//! `podManagementPolicy: OrderedReady`: a pod is created only once the one before it is ready.

use std::net::IpAddr;

use crate::support::wait::wait_ok;

use super::names::Named;
use super::{LIMIT, ready};

/// Which pods the Service's name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// All that were created (`publishNotReadyAddresses: true`).
    Created,
    /// Those that are ready.
    Ready,
}

/// Brings the name up to date, as the endpoints controller does.
pub(crate) fn publish(named: &Named, published: Published) {
    let pods = named.fleet.pods.iter().filter(|pod| pod.is_started());
    let is_in = |ready: bool| ready || published == Published::Created;
    let ips: Vec<IpAddr> = pods
        .filter(|pod| is_in(pod.http("/readyz").is_ok_and(|answer| answer.status == 200)))
        .map(|pod| pod.ip)
        .collect();
    named.publish(&ips);
}

#[track_caller]
pub(crate) fn wait_ready(named: &Named, published: Published, ordinal: usize) {
    wait_ok(LIMIT, &format!("redis-{ordinal} to be ready"), || {
        publish(named, published);
        ready(&named.fleet.pods[ordinal])
    });
}

#[track_caller]
pub(crate) fn form_in_order(named: &mut Named, published: Published) {
    for ordinal in 0..named.fleet.pods.len() {
        named.fleet.pods[ordinal].start();
        wait_ready(named, published, ordinal);
    }
    wait_whole(named, published);
}

#[track_caller]
pub(crate) fn wait_whole(named: &Named, published: Published) {
    wait_ok(LIMIT, "one healthy cluster", || {
        publish(named, published);
        named.fleet.whole()
    });
    (0..named.fleet.pods.len()).for_each(|ordinal| wait_ready(named, published, ordinal));
}

#[test]
fn pods_created_in_order_form_where_all_are_published() {
    let Some(mut named) = Named::new("forming in order", "10.77.0.", "redis") else { return };
    form_in_order(&mut named, Published::Created);
}

#[test]
fn pods_created_in_order_form_where_only_ready_ones_are_published() {
    let Some(mut named) = Named::new("forming in order", "10.77.0.", "redis") else { return };
    form_in_order(&mut named, Published::Ready);
}
