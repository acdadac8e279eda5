//! The image itself, without Kubernetes.

use std::fs;
use std::path::Path;

use crate::support::wait::wait_ok;

use crate::support::engine::{Container, docker, versions};

use super::LIMIT;
use super::set::own;

/// The most that the image may add to its base, in bytes.
const ADDED_MAX: u64 = 5 << 20;

fn size(image: &str) -> u64 {
    let size = docker(&["image", "inspect", "--format", "{{.Size}}", image]).expect("it is there");
    size.parse().expect("a number")
}

#[test]
fn image_adds_five_mebibytes_at_most_to_its_base() {
    for version in versions() {
        let image = size(&format!("rejoin-test:{version}"));
        let added = image - size(&format!("rejoin-test-base:{version}"));
        println!("{version}: {added} bytes added");
        assert!((1..=ADDED_MAX).contains(&added), "{version}: {added} bytes");
    }
    if !versions().is_empty() {
        assert!(size("rejoin-test:binary") <= ADDED_MAX);
    }
}

/// Waits until the server in a container answers, and says why the container is ready.
#[track_caller]
fn wait_ready(container: &Container) -> String {
    let ready = wait_ok(LIMIT, "it to be ready", || container.exec(&["rejoin", "ready"]));
    assert_eq!(container.exec(&["redis-cli", "ping"]), Ok("PONG".to_owned()));
    ready
}

/// The user of the server in a container.
fn user(container: &Container) -> String {
    let script = "for p in /proc/[0-9]*; do case $(cat $p/comm) in *-server) \
                  sed -n 's/^Uid:.//p' $p/status; esac; done";
    let text = container.exec(&["sh", "-c", script]).expect("it has a shell");
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn image_runs_as_it_is_and_the_server_not_as_root() {
    for version in versions() {
        let image = format!("rejoin-test:{version}");
        let container = Container::start(&image, &["--network=none", &image]).expect("it starts");
        wait_ready(&container);
        assert_eq!(user(&container), "999", "{version}");
        // The second start finds files that the first has made, as another user.
        container.exec(&["redis-cli", "set", "k", "v"]).expect("it writes");
        container.act(&["restart"]);
        wait_ready(&container);
        assert_eq!(container.exec(&["redis-cli", "get", "k"]), Ok("v".to_owned()), "{version}");
    }
}

/// A server on this volume at an address that only its container has, as a user that nobody knows.
/// As OpenShift deals them out: each namespace has a user of its own, of root's group, whose number
/// is the group of its volumes too.
fn of_a_namespace(version: &str, volume: &Path, id: u32, ip: &str) -> Container {
    own(volume, Some(id));
    let image = format!("rejoin-test:{version}");
    let (user, group) = (format!("--user={id}:0"), format!("--group-add={id}"));
    let ip = format!("--env=POD_IP={ip}");
    let volume = format!("--volume={}:/data", volume.display());
    let rights = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"];
    let options = ["--cluster-enabled", "yes", "--appendonly", "yes"];
    let args = ["--network=none", &user, &group, &ip, &volume, &image, "redis-server"];
    let args = [&rights[..], &args, &options].concat();
    let container = Container::start(&image, &args).expect("it starts");
    wait_ready(&container);
    assert_eq!(self::user(&container), id.to_string(), "{version}");
    container
}

#[test]
fn any_user_will_do_where_the_volume_is_its_groups_and_another_one_after_it() {
    for version in versions() {
        let dir = tempfile::tempdir().expect("the directory for temporary files is writable");
        let container = of_a_namespace(&version, dir.path(), 1_000_650_000, "127.0.0.1");
        let ask = |container: &Container, words: &[&str]| {
            container.exec(&[&["redis-cli"], words].concat()).expect("the server answers")
        };
        ask(&container, &["cluster", "addslotsrange", "0", "16383"]);
        wait_ok(LIMIT, "a write", || match ask(&container, &["set", "k", "v"]) {
            said if said == "OK" => Ok(()),
            said => Err(said),
        });
        container.act(&["stop"]);
        drop(container);
        let container = of_a_namespace(&version, dir.path(), 1_000_660_000, "127.0.0.2");
        assert_eq!(ask(&container, &["get", "k"]), "v", "{version}");
        for nodes in [
            ask(&container, &["cluster", "nodes"]),
            fs::read_to_string(dir.path().join("nodes.conf")).expect("it is there"),
        ] {
            let own = nodes.lines().find(|line| line.contains("myself")).expect("its own line");
            assert!(own.contains(" 127.0.0.2:6379@"), "{version}: {own}");
        }
    }
}
