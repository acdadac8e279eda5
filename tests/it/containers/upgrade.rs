//! One version after another in one cluster, as a rolling update brings it.

use crate::support::engine::{Network, versions};

use super::load::{Load, assert_keys, assert_none_lost, write_keys};
use super::{Rendered, Set, each_version, formed};

const KEYS: usize = 300;

const FROM: &str = "redis-7.0";
const TO: [&str; 2] = ["redis-8.0", "valkey-8.1"];

#[test]
fn cluster_is_upgraded_pod_by_pod() {
    let versions = versions();
    let Some(rendered) = Rendered::of("k8s") else { return };
    let has = |name: &str| versions.iter().any(|version| version == name);
    if !has(FROM) {
        return;
    }
    let to: Vec<String> = TO.into_iter().filter(|to| has(to)).map(str::to_owned).collect();
    each_version(&to, |to| upgrade(Set::new(rendered.clone(), FROM, Network::new()), to));
}

fn upgrade(set: Set, to: &str) {
    let from = set.version.clone();
    let mut set = formed(set);
    write_keys(&set, KEYS);
    let load = Load::start(&set);
    set.version = to.to_owned();
    // From the last to the first: replicas are first, and a newer one can copy from an older master.
    for ordinal in (0..6).rev() {
        let ended = set.replace(ordinal);
        assert_eq!(ended.code, 0, "redis-{ordinal} from {from} to {to}: {}", ended.log);
        // Kubernetes waits for the pods that are new. An old replica of a new master cannot copy
        // from it, and waits for its own turn.
        set.wait_ready(ordinal);
        assert_keys(&set, KEYS);
    }
    set.wait_whole();
    let seen = load.end();
    println!("{from} to {to}: {seen:?}");
    assert_none_lost(&set, &seen);
    assert_keys(&set, KEYS);
}
