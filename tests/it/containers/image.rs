//! The image itself, without Kubernetes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::wait::wait_ok;

use crate::support::engine::{Container, docker, versions};

use super::LIMIT;

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

#[test]
fn any_user_will_do_where_the_volume_is_its_groups() {
    for version in versions() {
        let image = format!("rejoin-test:{version}");
        let dir = tempfile::tempdir().expect("the directory for temporary files is writable");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).expect("it is ours");
        let volume = format!("--volume={}:/data", dir.path().display());
        let args = [
            "--network=none",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            // As OpenShift deals them out: a user that nobody knows, of root's group.
            "--user=1000650000:0",
            "--env=POD_IP=127.0.0.1",
            &volume,
            &image,
            "redis-server",
            "--cluster-enabled",
            "yes",
        ];
        let container = Container::start(&image, &args).expect("it starts");
        wait_ready(&container);
        assert_eq!(user(&container), "1000650000", "{version}");
        container.act(&["restart"]);
        wait_ready(&container);
    }
}
