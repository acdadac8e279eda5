//! A network namespace of the test's own, with a `resolv.conf` of its own.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use super::left_out::left_out;
use super::process::{alive, run};

/// A network that only this test sees, with its loopback up. The thread that enters it is inside
/// until it is dropped, so it reaches the pods there, and what it starts is inside too; a program
/// that is to see the `resolv.conf` as well is started by [`super::pod::Pod`] with
/// [`Netns::name`].
#[derive(Debug)]
pub struct Netns {
    name: String,
    /// Where the thread was before it entered.
    outside: Option<File>,
}

impl Netns {
    /// Makes the namespace and enters it, or says that `what` is left out where this user or this
    /// machine does not let us.
    pub fn enter(what: &str) -> Option<Self> {
        let mut netns = Self::make(what)?;
        let outside =
            File::open("/proc/thread-self/ns/net").expect("a thread can see its own namespace");
        let entered = File::open(netns.file())
            .map_err(|error| error.to_string())
            .and_then(|it| setns(it, CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string()));
        if let Err(reason) = entered {
            left_out(&format!("{what}: no network namespace can be entered here: {reason}"));
            return None;
        }
        netns.outside = Some(outside);
        Some(netns)
    }

    /// Makes the namespace, or says that `what` is left out.
    pub fn make(what: &str) -> Option<Self> {
        remove_stale();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rejoin-{}-{count}", std::process::id());
        if let Err(reason) = ip(&["netns", "add", &name]) {
            left_out(&format!("{what}: no network namespace can be made here: {reason}"));
            return None;
        }
        let netns = Self { name, outside: None };
        if let Err(reason) = ip(&["-n", &netns.name, "link", "set", "lo", "up"]) {
            left_out(&format!("{what}: no network can be brought up here: {reason}"));
            return None;
        }
        Some(netns)
    }

    /// Its name, as `ip netns exec` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the namespace an address, as of a pod.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[track_caller]
    pub fn add(&self, address: IpAddr) {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let address = format!("{address}/{length}");
        let mut args = vec!["-n", &self.name, "address", "add", &address, "dev", "lo"];
        if length == 128 {
            // Usable at once, without the kernel's search for duplicates.
            args.push("nodad");
        }
        ip(&args).expect("an address can be added");
    }

    /// Takes an address away: what listens there is no longer reached.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn remove(&self, address: IpAddr) {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let address = format!("{address}/{length}");
        ip(&["-n", &self.name, "address", "del", &address, "dev", "lo"])
            .expect("an address can be removed");
    }

    /// Sets the `resolv.conf` that pods see which start from now on.
    ///
    /// # Panics
    /// When `/etc` is not writable.
    pub fn set_resolv_conf(&self, text: &str) {
        fs::create_dir_all(self.etc()).expect("/etc/netns is writable for root");
        fs::write(self.etc().join("resolv.conf"), text).expect("/etc/netns is writable for root");
    }

    /// A `resolv.conf` as Kubernetes writes it: the search domains of a namespace, and `ndots:5`.
    pub fn set_pod_resolv_conf(&self, name_server: IpAddr, namespace: &str) {
        self.set_resolv_conf(&format!(
            "search {namespace}.svc.cluster.local svc.cluster.local cluster.local\n\
             nameserver {name_server}\noptions ndots:5\n"
        ));
    }

    fn file(&self) -> PathBuf {
        PathBuf::from("/var/run/netns").join(&self.name)
    }

    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Some(outside) = &self.outside
            && let Err(error) = setns(outside, CloneFlags::CLONE_NEWNET)
        {
            eprintln!("cannot leave {}: {error}", self.name);
        }
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!("cannot remove {}: {error}", self.name);
        }
        let _ = fs::remove_dir_all(self.etc());
    }
}

/// Removes the namespaces of tests that were killed, since a namespace outlives its maker.
fn remove_stale() {
    let names = fs::read_dir("/var/run/netns").into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let maker = name.strip_prefix("rejoin-").and_then(|rest| rest.split('-').next());
        if maker.and_then(|pid| pid.parse().ok()).is_some_and(|pid| !alive(pid)) {
            // Another test may be faster.
            let _ = ip(&["netns", "delete", &name]);
            let _ = fs::remove_dir_all(PathBuf::from("/etc/netns").join(&name));
        }
    }
}

/// Runs `ip`, from iproute2.
///
/// # Errors
/// What it says.
pub fn ip(args: &[&str]) -> Result<(), String> {
    let output = run(Command::new("ip").args(args));
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "))
}
