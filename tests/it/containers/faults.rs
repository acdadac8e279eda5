//! A container that is cut off, and volumes that take nothing more.

use std::fs;

use crate::support::wait::wait_ok;

use crate::support::engine::docker;

use super::load::{assert_keys, write_keys};
use super::set::Set;
use super::{LIMIT, formed, in_every_version};

const KEYS: usize = 100;

/// A master among the pods, and its replica.
fn pair(set: &Set) -> (usize, usize) {
    let view = set.pods[&0].view().expect("its view");
    let pod = |id: &str| {
        let address = &view.nodes[id].address;
        let ordinal = set.pods.values().find(|pod| address.starts_with(&format!("{}:", pod.ip)));
        ordinal.expect("a pod's address").ordinal
    };
    let replica = view.nodes.values().find(|node| node.master.is_some()).expect("a replica");
    (pod(replica.master.as_ref().expect("it has one")), pod(&replica.id))
}

#[test]
fn master_that_is_cut_off_is_replaced_and_comes_back_as_a_replica() {
    in_every_version(|set| {
        let set = formed(set);
        write_keys(&set, KEYS);
        let (master, replica) = pair(&set);
        let network = set.network.name.clone();
        let pod = &set.pods[&master];
        docker(&["network", "disconnect", &network, &pod.container.id]).expect("cut off");
        let promoted = || -> Result<(), String> {
            let view = set.pods[&replica].view()?;
            if view.me().is("master") { Ok(()) } else { Err(format!("{view:?}")) }
        };
        wait_ok(LIMIT, "the replica to be promoted", promoted);
        // It is alive all the time, so the kubelet leaves it alone; `wait_whole` looks at that.
        let service = format!("{}.default.svc.cluster.local", set.rendered.set.spec.service_name);
        let ip = format!("--ip={}", pod.ip);
        let alias = format!("--alias={service}");
        docker(&["network", "connect", &ip, &alias, &network, &pod.container.id]).expect("back");
        wait_ok(LIMIT, "it to be a replica", || {
            let view = set.pods[&master].view()?;
            if view.me().is("slave") { Ok(()) } else { Err(format!("{view:?}")) }
        });
        set.wait_whole();
        assert_keys(&set, KEYS);
    });
}

#[test]
fn pod_on_a_full_volume_says_so_keeps_its_file_and_comes_back_when_there_is_space() {
    in_every_version(|set| {
        let mut set = formed(set);
        write_keys(&set, KEYS);
        set.delete(3);
        // The same files on a disk that has no room for one more.
        let volume = set.volume(3);
        let small = Small::new(&set, &volume);
        let before = fs::read(volume.join("nodes.conf")).expect("it is there");
        small.fill();
        set.create(3);
        let container = &set.pods[&3].container;
        assert_eq!(container.wait(), Ok(74), "{}", container.log());
        let log = container.log();
        assert!(log.contains("check free space"), "{}: {log}", set.version);
        assert_eq!(fs::read(volume.join("nodes.conf")).expect("it is there"), before);
        small.empty();
        set.delete(3);
        set.create(3);
        set.wait_whole();
        assert_keys(&set, KEYS);
        set.delete(3);
    });
}

/// A disk of its own at a volume's place, as a claim has one.
struct Small<'a> {
    path: &'a std::path::Path,
}

impl<'a> Small<'a> {
    fn new(set: &Set, path: &'a std::path::Path) -> Self {
        use nix::mount::{MsFlags, mount};
        let aside = path.with_extension("aside");
        fs::rename(path, &aside).expect("it is ours");
        fs::create_dir(path).expect("its parent is ours");
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("size=48m"))
            .expect("the tests run as root where there is an engine");
        let small = Self { path };
        super::set::own(path, set.rendered.set.spec.template.spec.security_context.fs_group);
        let copied = crate::support::process::run(
            std::process::Command::new("cp").arg("-a").arg(aside.join(".")).arg(path),
        );
        assert!(copied.status.success(), "{copied:?}");
        small
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let chunk = vec![0_u8; 4096];
        let mut file = fs::File::create(self.path.join("fill")).expect("one more file");
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.path.join("fill")).expect("it is ours");
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.path, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn pod_on_a_read_only_volume_says_so_and_does_not_start() {
    in_every_version(|set| {
        let mut set = formed(set);
        set.delete(5);
        let nodes_conf = set.volume(5).join("nodes.conf");
        let before = fs::read(&nodes_conf).expect("it is there");
        let mounts = &mut set.rendered.container_mut().volume_mounts;
        let data = mounts.iter_mut().find(|mount| mount.name == "data").expect("it has one");
        data.read_only = true;
        set.create(5);
        let container = &set.pods[&5].container;
        assert_eq!(container.wait(), Ok(74), "{}", container.log());
        let log = container.log();
        assert!(log.contains("check free space and that the volume is writable"), "{log}");
        assert_eq!(fs::read(&nodes_conf).expect("it is there"), before, "{}", set.version);
    });
}
