//! Clusters that were made by other set-ups, on the volumes that those leave.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;

use crate::manifests::{of_a_reader, own};
use crate::support::wait::wait_ok;

use crate::support::engine::{Network, versions};

use super::load::{assert_keys, write_keys};
use super::set::PORT;
use super::{LIMIT, Rendered, Set, come_back, each_version};

const KEYS: usize = 200;

/// Makes one cluster of servers that run, as people do by hand.
fn create_by_hand(set: &Set) {
    for pod in set.pods.values() {
        wait_ok(LIMIT, "the server", || pod.ask(&["PING"]));
    }
    let addresses: Vec<String> =
        set.pods.values().map(|pod| SocketAddr::new(pod.ip, PORT).to_string()).collect();
    let mut command = vec!["redis-cli", "--cluster", "create"];
    command.extend(addresses.iter().map(String::as_str));
    command.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    set.pods[&0].container.exec(&command).expect("it is made");
    set.wait_whole();
}

/// What a YAML block of `docs/migrating.md` renders to: the first below this heading.
fn of_the_docs(heading: &str) -> Option<Rendered> {
    let text = fs::read_to_string(own("docs/migrating.md")).expect("it is there");
    let (_, below) = text.split_once(&format!("\n## {heading}\n")).expect("it has the heading");
    let (_, block) = below.split_once("```yaml\n").expect("it has a block");
    let (block, _) = block.split_once("```").expect("the block ends");
    Some(Rendered::read(heading, &of_a_reader(block)?))
}

/// Our manifest turned into somebody else's: their names and command, without probes and rules.
fn theirs(ours: &Rendered, command: &[&str], mount_path: &str) -> Rendered {
    let mut theirs = ours.clone();
    let pod = &mut theirs.set.spec.template.spec;
    let container = &mut pod.containers[0];
    container.image = "redis:8".to_owned();
    container.command = command.iter().map(|word| (*word).to_owned()).collect();
    container.startup_probe = None;
    container.readiness_probe = None;
    container.liveness_probe = None;
    container.security_context = Default::default();
    let data = &mut container.volume_mounts[0];
    data.mount_path = mount_path.to_owned();
    data.sub_path = None;
    theirs
}

#[test]
fn cluster_of_fix_ip_goes_over_by_a_rolling_update_and_then_survives_new_addresses() {
    let file = fs::read_to_string(own("k8s/overlays/drop-in/fix-ip.yaml")).expect("it is there");
    // As YAML 1.1 has it, and so Kubernetes.
    let before =
        Rendered::read("fix-ip.yaml", &file.replace("defaultMode: 0755", "defaultMode: 493"));
    let Some(after) = Rendered::of("k8s/overlays/drop-in") else { return };
    each_version(&versions(), |version| {
        let mut set = Set::new(before.clone(), version, Network::new());
        set.create_all();
        create_by_hand(&set);
        write_keys(&set, KEYS);
        set.rendered = after.clone();
        for ordinal in (0..6).rev() {
            set.replace(ordinal);
            set.wait_ready(ordinal);
        }
        set.wait_whole();
        assert_keys(&set, KEYS);
        come_back(&mut set, KEYS);
    });
}

#[test]
fn volumes_of_the_bitnami_chart_are_taken_over() {
    let Some(ours) = of_the_docs("From the Bitnami chart") else { return };
    let command = [
        "redis-server",
        "--cluster-enabled",
        "yes",
        "--dir",
        "/bitnami/redis/data",
        "--cluster-config-file",
        "/bitnami/redis/data/nodes.conf",
        "--appendonly",
        "yes",
        "--protected-mode",
        "no",
    ];
    let theirs = theirs(&ours, &command, "/bitnami/redis");
    each_version(&versions(), |version| {
        let mut set = Set::new(theirs.clone(), version, Network::new());
        for ordinal in 0..6 {
            let data = set.volume(ordinal).join("data");
            fs::create_dir_all(&data).expect("the test's directory is writable");
            fs::write(data.join("nodes.sh"), "declare -A host_2_ip_array\n").expect("it is ours");
            for path in [data.join("nodes.sh"), data] {
                chown(path, Some(1001), Some(1001)).expect("the tests run as root");
            }
        }
        go_over(&mut set, &ours);
    });
}

#[test]
fn volumes_of_a_plain_set_that_ran_as_root_are_taken_over() {
    let Some(ours) = of_the_docs("From a plain StatefulSet") else { return };
    let command = ["redis-server", "--cluster-enabled", "yes", "--appendonly", "yes"];
    let command = [&command[..], &["--dir", "/data", "--protected-mode", "no"]].concat();
    let mut theirs = theirs(&ours, &command, "/data");
    theirs.set.spec.template.spec.security_context = Default::default();
    each_version(&versions(), |version| {
        let mut set = Set::new(theirs.clone(), version, Network::new());
        go_over(&mut set, &ours);
    });
}

/// Forms a cluster as it was, deletes it, and applies ours to its volumes.
fn go_over(set: &mut Set, ours: &Rendered) {
    set.create_all();
    create_by_hand(set);
    write_keys(set, KEYS);
    let ids = |set: &Set| -> Vec<String> {
        set.pods.values().map(|pod| pod.ask(&["CLUSTER", "MYID"]).expect("its id")).collect()
    };
    let before = ids(set);
    set.rendered = ours.clone();
    come_back(set, KEYS);
    assert_eq!(ids(set), before, "{}", set.version);
}
