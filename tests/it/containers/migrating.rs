//! Clusters that were made by other set-ups, on the volumes that those leave.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::process::Command;

use crate::manifests::rendered::Variable;
use crate::manifests::{block, of_a_reader, output_of, own, validate};
use crate::support::wait::wait_ok;

use crate::support::engine::{Network, versions};

use super::load::{assert_keys, write_keys};
use super::set::{PORT, ask};
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

const PAGE: &str = "docs/migrating.md";

/// What the YAML below this heading renders to.
fn of_the_docs(heading: &str) -> Option<Rendered> {
    Some(Rendered::read(heading, &of_a_reader(&block(PAGE, heading, "yaml"))?))
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

/// What the chart `bitnami/redis-cluster` makes of a release called `my` with its defaults, as
/// `values.yaml`, `templates/redis-statefulset.yaml` and `templates/secret.yaml` of
/// github.com/bitnami/charts have it, the same from 2020 to 2024. The page says nothing else.
mod chart {
    /// The name of the StatefulSet, and of the Secret with the password.
    pub const NAME: &str = "my-redis-cluster";
    /// The headless Service.
    pub const SERVICE: &str = "my-redis-cluster-headless";
    /// The claim, whose name becomes `redis-data-my-redis-cluster-0` and so on.
    pub const CLAIM: &str = "redis-data";
    /// Where the claim is mounted, all of it, and where `redis.conf` has data and `nodes.conf`.
    pub const PLACE: &str = "/bitnami/redis/data";
    /// The user, the group, and the group of the volume.
    pub const USER: u32 = 1001;
    /// The key of the password in the Secret; a password is made where none is given.
    pub const PASSWORD: &str = "redis-password";
}

/// The chart's pods: its names, user and volume, and the command that its image comes to
/// (`redis-cluster/run.sh` and what `librediscluster.sh` puts into `redis.conf`, in
/// github.com/bitnami/containers).
fn of_the_chart(ours: &Rendered, password: &str) -> Rendered {
    let mut command = vec!["redis-server", "--cluster-enabled", "yes", "--dir", chart::PLACE];
    command.extend(["--cluster-config-file", "/bitnami/redis/data/nodes.conf"]);
    command.extend(["--appendonly", "yes", "--cluster-announce-ip", "$(POD_IP)"]);
    command.extend(["--masteruser", "default", "--masterauth", password]);
    command.extend(["--requirepass", password]);
    let mut theirs = theirs(ours, &command, chart::PLACE);
    theirs.set.metadata.name = chart::NAME.to_owned();
    theirs.set.spec.service_name = chart::SERVICE.to_owned();
    theirs.set.spec.volume_claim_templates[0].metadata.name = chart::CLAIM.to_owned();
    let pod = &mut theirs.set.spec.template.spec;
    let rights = &mut pod.security_context;
    let user = Some(chart::USER);
    (rights.run_as_user, rights.run_as_group, rights.fs_group) = (user, user, user);
    pod.volumes.clear();
    let container = &mut pod.containers[0];
    container.volume_mounts.truncate(1);
    container.volume_mounts[0].name = chart::CLAIM.to_owned();
    // For redis-cli, from the Secret.
    let password = Some(password.to_owned());
    container.env.push(Variable {
        name: "REDISCLI_AUTH".to_owned(),
        value: password,
        value_from: None,
    });
    theirs
}

/// What the page's commands apply, where Kubernetes has the chart's Secret with this password.
fn secret_of_the_docs(heading: &str, password: &str) -> Option<String> {
    let block = block(PAGE, heading, "sh");
    let asked = format!("get secret {} -o jsonpath={{.data.{}}}", chart::NAME, chart::PASSWORD);
    let kubectl = format!(
        "kubectl() {{ case \"$*\" in '{asked}') printf %s '{password}' | base64 ;; \
         'apply -f -') cat ;; *) echo \"kubectl $*\" >&2; exit 1 ;; esac; }}\n"
    );
    let applied = output_of(Command::new("sh").arg("-euc").arg(kubectl + &block));
    let said = validate(&applied)?;
    assert!(said.contains("secret/redis-password"), "{said}");
    Some(applied)
}

#[test]
fn volumes_and_password_of_the_bitnami_chart_are_taken_over() {
    // With what means something in a shell, in redis.conf or in YAML.
    let password = "a b#c: $d";
    let heading = "## From the Bitnami chart";
    let Some(ours) = of_the_docs(heading) else { return };
    let Some(secret) = secret_of_the_docs(heading, password) else { return };
    let ours = ours.with_secret(&secret);
    let mut theirs = of_the_chart(&ours, password);
    let of_theirs = (chart::PASSWORD.to_owned(), password.to_owned());
    theirs.secrets = [(chart::NAME.to_owned(), [of_theirs].into())].into();
    let refused = |set: &Set| {
        let said = ask(set.pods[&0].address(), &["PING"]).expect_err("refused");
        assert!(said.contains("NOAUTH"), "{}: {said}", set.version);
    };
    each_version(&versions(), |version| {
        let mut set = Set::new(theirs.clone(), version, Network::new());
        for ordinal in 0..6 {
            let volume = set.volume(ordinal);
            fs::create_dir(&volume).expect("the test's directory is writable");
            let hosts = volume.join("nodes.sh");
            fs::write(&hosts, "declare -A host_2_ip_array=()\n").expect("it is ours");
            chown(hosts, Some(chart::USER), Some(chart::USER)).expect("the tests run as root");
        }
        set.create_all();
        refused(&set);
        // The tests get in with the password of the chart's Secret, before and after.
        go_over(&mut set, &ours);
        refused(&set);
    });
}

#[test]
fn volumes_of_a_plain_set_that_ran_as_root_are_taken_over() {
    let Some(ours) = of_the_docs("## From a plain StatefulSet") else { return };
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
