//! One version after another in one cluster, as a rolling update brings it.

use crate::support::engine::{Network, versions};
use crate::support::left_out::left_out;

use super::load::write_keys;
use super::{Rendered, Set, each_version, formed, roll};

const KEYS: usize = 300;

const FROM: &str = "redis-7.0";
const TO: [&str; 2] = ["redis-8.0", "valkey-8.1"];

#[test]
fn cluster_is_upgraded_pod_by_pod_and_no_failover_is_waited_for() {
    let versions = versions();
    // Which has said so.
    if versions.is_empty() {
        return;
    }
    let Some(rendered) = Rendered::of("k8s") else { return };
    let has = |name: &str| versions.iter().any(|version| version == name);
    let (to, missing): (Vec<&str>, Vec<&str>) = TO.iter().partition(|to| has(FROM) && has(to));
    for to in missing {
        left_out(&format!("container tests: no image of {FROM} or {to}, for the upgrade of one"));
    }
    let to: Vec<String> = to.into_iter().map(str::to_owned).collect();
    each_version(&to, |to| {
        let mut set = formed(Set::new(rendered.clone(), FROM, Network::new()));
        assert_runs(&set, FROM);
        write_keys(&set, KEYS);
        set.version = to.to_owned();
        // Replicas are first, since a newer one can copy from an older master. An old replica of a
        // new master cannot, and waits for its own turn, as Kubernetes waits for new pods only.
        roll(&mut set, KEYS);
        assert_runs(&set, to);
    });
}

/// Every server says itself that it is of this version.
#[track_caller]
fn assert_runs(set: &Set, version: &str) {
    let (kind, number) = version.split_once('-').expect("as the images' tags have it");
    // The field redis_version is what a Valkey is compatible with.
    let field = format!("{kind}_version");
    for pod in set.pods.values() {
        let said = pod.field(&["INFO", "server"], &field).expect("its version");
        assert!(said.starts_with(&format!("{number}.")), "redis-{}: {said}", pod.ordinal);
    }
}
