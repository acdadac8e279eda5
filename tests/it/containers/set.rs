//! A StatefulSet in containers: what its manifest says is done as Kubernetes does it, with the
//! engine's means. A pod is a container with its own address on a private network, found through the
//! network's DNS under the name of the headless Service.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::manifests::rendered::{Container as Spec, Files, PodSpec, Rendered};
use crate::support::forward::Forward;
use crate::support::pod::Known;
use crate::support::view::View;
use crate::support::wait::wait_ok;

use crate::support::engine::{Container, Network, docker};

use super::access::{Access, Port, USERS};
use super::kubelet::{Kubelet, Verdict};
use super::secret;

/// The port that every manifest has.
pub const PORT: u16 = 6379;
/// How far the port of a node for a bus is above that for clients, in the documents.
const BUS_NODE_PORT: u16 = 100;
/// The namespace and domain that the pods believe to be in.
const DOMAIN: &str = "default.svc.cluster.local";

/// One pod that exists.
#[derive(Debug)]
pub struct Pod {
    /// Its number.
    pub ordinal: usize,
    /// Its address.
    pub ip: IpAddr,
    /// Its probes. Ended before the container.
    pub kubelet: Option<Kubelet>,
    /// Its container.
    pub container: Container,
    access: Option<Arc<Access>>,
    /// Where the tests ask its server.
    port: u16,
    known: Known,
    /// Held, not read: the ports of its node that lead to it.
    #[expect(dead_code, reason = "it does its work by being there")]
    ports: Vec<Forward>,
    /// Its directories that live as long as it does, each under the name of its volume.
    scratch: TempDir,
}

/// A StatefulSet. Dropping it removes all of it.
#[derive(Debug)]
pub struct Set {
    /// The pods that exist, by ordinal.
    pub pods: BTreeMap<usize, Pod>,
    /// What they are made from; the next pod that is created follows it.
    pub rendered: Rendered,
    /// The version of the server, as the images' tags have it; the next pod has it.
    pub version: String,
    /// Their network.
    pub network: Network,
    /// How the tests get in, where the servers are locked.
    pub access: Option<Arc<Access>>,
    /// What the pods announce of their node, which has the network's first address, by their ordinals.
    /// Their ports of it are open as long as they live.
    pub announced: Option<fn(IpAddr, usize) -> Known>,
    dir: TempDir,
    next_ip: usize,
}

impl Set {
    /// No pods yet.
    pub fn new(rendered: Rendered, version: &str, network: Network) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rejoin-set-")
            .tempdir()
            .expect("the directory for temporary files is writable");
        // A pod's user has to get through.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it is ours");
        let version = version.to_owned();
        let pods = BTreeMap::new();
        let access = Access::of(&rendered).map(Arc::new);
        let announced = None;
        Self { pods, rendered, version, network, access, announced, dir, next_ip: 2 }
    }

    /// Creates every pod that is missing, each on an address that none had before.
    pub fn create_all(&mut self) {
        for ordinal in 0..self.rendered.set.spec.replicas {
            if !self.pods.contains_key(&ordinal) {
                self.create(ordinal);
            }
        }
    }

    /// Creates a pod, on an address that none had before.
    #[track_caller]
    pub fn create(&mut self, ordinal: usize) {
        let ip = self.network.ip(self.next_ip);
        self.next_ip += 1;
        let pod = self.rendered.set.spec.template.spec.clone();
        let scratch = tempfile::tempdir_in(self.dir.path()).expect("the test's directory");
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).expect("it is ours");
        for init in &pod.init_containers {
            let mut args = self.arguments(ordinal, ip, &pod, init, scratch.path());
            args.insert(0, "--network=none".to_owned());
            Container::run(&init.name, &args).expect("the init container succeeds");
        }
        let spec = &pod.containers[0];
        let mut args = self.network_arguments(ordinal, ip);
        args.extend(self.arguments(ordinal, ip, &pod, spec, scratch.path()));
        let what = format!("{} on {} at {ip}", self.name(ordinal), self.version);
        let container = Container::start(&what, &args).expect("the container starts");
        let kubelet = Some(Kubelet::watch(&container.id, ip, spec));
        let (access, port) = (self.access.clone(), Port::of(&self.rendered).number);
        let known = self.announced.map_or(Known::AsItIs, |of| of(self.node(), ordinal));
        let ports = node_ports(known, ip);
        let pod = Pod { ordinal, ip, kubelet, container, access, port, known, ports, scratch };
        self.pods.insert(ordinal, pod);
    }

    /// Replaces what the next pods are made from. The tests get in as into those.
    pub fn apply(&mut self, rendered: Rendered) {
        self.rendered = rendered;
        self.access = Access::of(&self.rendered).map(Arc::new);
    }

    /// Replaces what is in a Secret and what the pods have of it, at once, where the kubelet would
    /// take a minute or two. The tests themselves get in with what is new.
    pub fn renew(&mut self, name: &str, files: Files) {
        for ordinal in self.pods.keys() {
            self.mount(*ordinal, name, &files);
        }
        self.rendered.secrets.insert(name.to_owned(), files);
        self.access = Access::of(&self.rendered).map(Arc::new);
        for pod in self.pods.values_mut() {
            pod.access.clone_from(&self.access);
        }
    }

    /// Replaces what one pod has of a Secret, as if it were another one's. The tests get in as before.
    pub fn mount(&self, ordinal: usize, name: &str, files: &Files) {
        let spec = &self.rendered.set.spec.template.spec;
        for volume in &spec.volumes {
            let of = volume.secret.as_ref().filter(|secret| secret.secret_name == name);
            let Some(secret) = of else { continue };
            let path = self.pods[&ordinal].scratch.path().join(&volume.name);
            secret::put(&path, secret, files, spec.security_context.fs_group);
        }
    }

    /// Deletes a pod as Kubernetes does: SIGTERM, the grace period, SIGKILL, gone.
    #[track_caller]
    pub fn delete(&mut self, ordinal: usize) -> Ended {
        let pod = self.pods.remove(&ordinal).expect("it exists");
        pod.end(&self.grace())
    }

    /// `terminationGracePeriodSeconds`, for the engine.
    fn grace(&self) -> String {
        let grace = self.rendered.set.spec.template.spec.termination_grace_period_seconds;
        grace.unwrap_or(30).to_string()
    }

    /// Does to a container what ends it. Its probes end with it.
    #[track_caller]
    pub fn crash(&mut self, ordinal: usize, words: &[&str]) {
        let pod = self.pods.get_mut(&ordinal).expect("it exists");
        pod.kubelet = None;
        pod.container.act(words);
    }

    /// Starts a container that has ended, as the kubelet does: the same pod, the same address.
    #[track_caller]
    pub fn restart(&mut self, ordinal: usize) {
        let pod = self.pods.get_mut(&ordinal).expect("it exists");
        pod.kubelet = None;
        pod.container.act(&["start"]);
        let spec = self.rendered.container();
        pod.kubelet = Some(Kubelet::watch(&pod.container.id, pod.ip, spec));
    }

    /// Replaces a pod by one on a new address, with its volume.
    #[track_caller]
    pub fn replace(&mut self, ordinal: usize) -> Ended {
        let ended = self.delete(ordinal);
        self.create(ordinal);
        ended
    }

    /// Deletes all pods at once.
    #[track_caller]
    pub fn delete_all(&mut self) -> Vec<Ended> {
        let (pods, grace) = (std::mem::take(&mut self.pods), self.grace());
        let grace = grace.as_str();
        std::thread::scope(|scope| {
            let ends: Vec<_> =
                pods.into_values().map(|pod| scope.spawn(move || pod.end(grace))).collect();
            ends.into_iter().map(|end| end.join().expect("it ends")).collect()
        })
    }

    /// The directory of a pod's claimed volume.
    pub fn volume(&self, ordinal: usize) -> PathBuf {
        let claims = &self.rendered.set.spec.volume_claim_templates;
        let claim = claims.first().map_or("data", |claim| claim.metadata.name.as_str());
        self.claim(ordinal, claim)
    }

    fn claim(&self, ordinal: usize, claim: &str) -> PathBuf {
        self.dir.path().join(format!("{claim}-{}", self.name(ordinal)))
    }

    /// Removes a pod's volume, which it must not be using.
    pub fn lose_volume(&self, ordinal: usize) {
        fs::remove_dir_all(self.volume(ordinal)).expect("it is ours");
    }

    /// The name of a pod.
    pub fn name(&self, ordinal: usize) -> String {
        format!("{}-{ordinal}", self.rendered.set.metadata.name)
    }

    /// The address of the node that all pods are on.
    fn node(&self) -> IpAddr {
        self.network.ip(1)
    }

    fn network_arguments(&self, ordinal: usize, ip: IpAddr) -> Vec<String> {
        let service = format!("{}.{DOMAIN}", self.rendered.set.spec.service_name);
        let name = self.name(ordinal);
        let flag = if ip.is_ipv6() { "--ip6" } else { "--ip" };
        vec![
            format!("--network={}", self.network.name),
            format!("{flag}={ip}"),
            format!("--hostname={name}"),
            format!("--domainname={service}"),
            format!("--network-alias={name}.{service}"),
            format!("--network-alias={service}"),
        ]
    }

    /// All of a container but its network.
    fn arguments(
        &self,
        ordinal: usize,
        ip: IpAddr,
        pod: &PodSpec,
        spec: &Spec,
        scratch: &Path,
    ) -> Vec<String> {
        let mut args = security(pod, spec);
        if let Some(memory) = spec.resources.limits.get("memory") {
            // Mi and Gi of Kubernetes are m and g here; the same again means no swap.
            let memory = memory.to_lowercase().replace('i', "");
            args.extend([format!("--memory={memory}"), format!("--memory-swap={memory}")]);
        }
        let mut command = spec.command.clone();
        for variable in &spec.env {
            let value = match (&variable.value, &variable.value_from) {
                (Some(value), _) => value.clone(),
                (None, Some(from)) => match from.field_ref.field_path.as_str() {
                    "status.podIP" => ip.to_string(),
                    "metadata.name" => self.name(ordinal),
                    "status.hostIP" => self.node().to_string(),
                    "metadata.labels['apps.kubernetes.io/pod-index']" => ordinal.to_string(),
                    other => panic!("a field that nobody knows here: {other}"),
                },
                (None, None) => String::new(),
            };
            args.push(format!("--env={}={value}", variable.name));
            for word in &mut command {
                *word = word.replace(&format!("$({})", variable.name), &value);
            }
        }
        for mount in &spec.volume_mounts {
            let mut source = self.source(ordinal, &mount.name, pod, scratch);
            source.extend(&mount.sub_path);
            let mode = if mount.read_only { "ro" } else { "rw" };
            args.push(format!("--volume={}:{}:{mode}", source.display(), mount.mount_path));
        }
        let (program, rest) = command.split_first().expect("every manifest has a command");
        args.push(format!("--entrypoint={program}"));
        args.push(self.image(&spec.image));
        args.extend(rest.iter().cloned());
        args
    }

    /// The image that stands for one in a manifest.
    fn image(&self, name: &str) -> String {
        match name {
            "redis-rejoin:8" => format!("rejoin-test:{}", self.version),
            "redis:8" => format!("rejoin-test-base:{}", self.version),
            "rejoin:latest" => "rejoin-test:binary".to_owned(),
            other => panic!("an image that nobody knows here: {other}"),
        }
    }

    /// The directory of a volume, made where it is missing.
    fn source(&self, ordinal: usize, volume: &str, pod: &PodSpec, scratch: &Path) -> PathBuf {
        let found = pod.volumes.iter().find(|found| found.name == volume);
        let config = found.and_then(|found| found.config_map.as_ref());
        let secret = found.and_then(|found| found.secret.as_ref());
        let path = match (found, config) {
            (None, _) => self.claim(ordinal, volume),
            (Some(_), _) => scratch.join(volume),
        };
        if found.is_none() && path.exists() {
            own(&path, pod.security_context.fs_group);
        }
        if path.exists() {
            return path;
        }
        fs::create_dir(&path).expect("the test's directory is writable");
        if let Some(config) = config {
            let mode = config.default_mode.unwrap_or(0o644);
            for (name, text) in &self.rendered.config[&config.name] {
                fs::write(path.join(name), text).expect("the test's directory is writable");
                let mode = Permissions::from_mode(mode);
                fs::set_permissions(path.join(name), mode).expect("it is ours");
            }
        } else if let Some(secret) = secret {
            let files = self.rendered.secrets.get(&secret.secret_name).expect("it is there");
            secret::put(&path, secret, files, pod.security_context.fs_group);
        } else if let Some(image) = found.and_then(|found| found.image.as_ref()) {
            // The engine mounts no images. There is one file in that of the binary.
            let args = ["--network=none", &self.image(&image.reference)];
            let container = Container::start("the files of an image", &args).expect("it starts");
            let file = format!("{}:/rejoin", container.id);
            docker(&["cp", &file, &path.display().to_string()]).expect("the image has it");
        } else {
            own(&path, pod.security_context.fs_group);
        }
        path
    }
}

/// Gives a volume to a group as `fsGroup` does with `OnRootMismatch`: all that is in it, where the
/// volume itself is not the group's yet. Without a group it stays as it is.
pub fn own(path: &Path, group: Option<u32>) {
    let Some(group) = group else { return };
    if fs::metadata(path).expect("it is there").gid() == group {
        return;
    }
    let is_dir = path.is_dir();
    for entry in is_dir.then(|| fs::read_dir(path).expect("it is ours")).into_iter().flatten() {
        own(&entry.expect("it can be listed").path(), Some(group));
    }
    let mode = fs::metadata(path).expect("it is there").permissions().mode();
    chown(path, None, Some(group)).expect("the tests run as root where there is an engine");
    let more = if is_dir { 0o2770 } else { 0o660 };
    fs::set_permissions(path, Permissions::from_mode(mode | more)).expect("it is ours");
}

/// Opens the ports of a node that lead to a pod at this address.
fn node_ports(known: Known, ip: IpAddr) -> Vec<Forward> {
    let client = |at: SocketAddr| Forward::start(at, (ip, PORT).into());
    let bus = |at: SocketAddr| {
        Forward::start((at.ip(), at.port() + BUS_NODE_PORT).into(), (ip, PORT + 10_000).into())
    };
    match known {
        Known::AsItIs => Vec::new(),
        Known::ToClients(at) => vec![client(at)],
        Known::At(at) => vec![client(at), bus(at)],
    }
}

fn security(pod: &PodSpec, spec: &Spec) -> Vec<String> {
    let mut args = Vec::new();
    let (all, own) = (&pod.security_context, &spec.security_context);
    if let Some(user) = all.run_as_user {
        let group = all.run_as_group.unwrap_or(0);
        args.push(format!("--user={user}:{group}"));
    }
    if let Some(group) = all.fs_group {
        args.push(format!("--group-add={group}"));
    }
    if let Some(profile) = &all.seccomp_profile {
        // The engine's own profile, which it uses unless it is told otherwise.
        assert_eq!(profile.kind, "RuntimeDefault");
    }
    if own.allow_privilege_escalation == Some(false) {
        args.push("--security-opt=no-new-privileges".to_owned());
    }
    if own.read_only_root_filesystem {
        args.push("--read-only".to_owned());
    }
    args.extend(own.capabilities.drop.iter().map(|name| format!("--cap-drop={name}")));
    args
}

/// What is left of a pod that was deleted.
#[derive(Debug)]
pub struct Ended {
    /// The container's exit code.
    pub code: i32,
    /// All that it wrote.
    pub log: String,
}

impl Pod {
    /// Ends it within the grace period, or kills it then.
    fn end(mut self, grace: &str) -> Ended {
        self.kubelet = None;
        self.container.act(&["stop", "--time", grace]);
        let code = self.container.wait().expect("it has ended");
        Ended { code, log: self.container.log() }
    }

    /// The server's answer to a command, as text; waits 5 s at most.
    ///
    /// # Errors
    /// What the server or the network says.
    pub fn ask(&self, args: &[&str]) -> Result<String, String> {
        match &self.access {
            Some(access) => access.ask(self.address(), USERS[0], args),
            None => ask(self.address(), args),
        }
    }

    /// Where its server answers.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// What its probes have said so far.
    pub fn verdict(&self) -> Verdict {
        self.kubelet.as_ref().map(Kubelet::verdict).unwrap_or_default()
    }

    /// One field of an answer in lines.
    ///
    /// # Errors
    /// As [`Pod::ask`], or that the field is missing.
    pub fn field(&self, args: &[&str], field: &str) -> Result<String, String> {
        let text = self.ask(args)?;
        let value = |line: &str| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned);
        text.lines().find_map(value).ok_or_else(|| format!("no {field} in {text:?}"))
    }

    /// The cluster as its server sees it.
    ///
    /// # Errors
    /// As [`Pod::ask`].
    pub fn view(&self) -> Result<View, String> {
        View::parse(&self.ask(&["CLUSTER", "NODES"])?)
    }

    /// Whether nothing is wrong in its own view.
    fn sound(&self) -> Result<View, String> {
        let name = format!("redis-{}", self.ordinal);
        let state = self.field(&["CLUSTER", "INFO"], "cluster_state")?;
        expect(state == "ok", || format!("{name}: cluster_state:{state}"))?;
        let view = self.view()?;
        let address = self.known.instead_of(self.address());
        // As servers write it: IPv6 without brackets.
        let address = format!("{}:{}", address.ip(), address.port());
        expect(view.me().address == address, || format!("{name} is not at {address}: {view:?}"))?;
        for node in view.nodes.values() {
            let bad = ["fail", "fail?", "handshake", "noaddr"].iter().any(|flag| node.is(flag));
            expect(!bad && node.connected, || format!("{name} sees {node:?}"))?;
        }
        if let Some(master) = &view.me().master {
            let info = |field| self.field(&["INFO", "replication"], field);
            let host = format!("{}:{}", info("master_host")?, info("master_port")?);
            let known = view.nodes.get(master).map(|node| node.address.as_str());
            let link = info("master_link_status")?;
            let is_there = !self.known.is_shown() || known == Some(host.as_str());
            expect(is_there && link == "up", || {
                format!("{name} replicates {host}, not {known:?}; link {link}")
            })?;
        }
        Ok(view)
    }
}

/// The answer of the server at an address, which is not locked, as text.
///
/// # Errors
/// What the server or the network says.
pub fn ask(address: SocketAddr, args: &[&str]) -> Result<String, String> {
    let limit = Duration::from_secs(5);
    let answer = || -> redis::RedisResult<String> {
        let client = redis::Client::open(format!("redis://{address}/"))?;
        let mut connection = client.get_connection_with_timeout(limit)?;
        connection.set_read_timeout(Some(limit))?;
        connection.set_write_timeout(Some(limit))?;
        let (name, args) = args.split_first().expect("a command has a name");
        redis::cmd(name).arg(args).query(&mut connection)
    };
    answer().map_err(|error| format!("{address}: {args:?}: {error}"))
}

fn expect(so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if so { Ok(()) } else { Err(otherwise()) }
}

impl Set {
    /// One healthy cluster of exactly these pods, each at its address, in every pod's view; each
    /// master with a replica; every container ready, and none that the kubelet would have restarted.
    ///
    /// # Errors
    /// What is missing first.
    pub fn whole(&self) -> Result<(), String> {
        let mut views = Vec::new();
        for pod in self.pods.values() {
            let verdict = pod.verdict();
            let is_well = verdict.ready && verdict.restart.is_none();
            expect(is_well, || format!("redis-{}: {verdict:?}", pod.ordinal))?;
            views.push(pod.sound()?);
        }
        let first = &views[0];
        let is_one = views.iter().all(|view| view.shared() == first.shared());
        expect(is_one, || format!("views differ: {views:?}"))?;
        let count = first.nodes.len();
        expect(count == self.rendered.set.spec.replicas, || format!("{count} ids"))?;
        expect(first.owners().iter().all(|owners| *owners == 1), || "slots".to_owned())?;
        for master in first.nodes.values().filter(|node| node.is("master")) {
            let replicas = first.nodes.values().filter(|node| node.master_is(&master.id)).count();
            expect(replicas == 1, || format!("{replicas} replicas of {master:?}"))?;
        }
        Ok(())
    }

    /// Waits for [`Set::whole`].
    #[track_caller]
    pub fn wait_whole(&self) {
        let what = format!("one healthy cluster on {}", self.version);
        wait_ok(super::LIMIT, &what, || self.whole());
    }

    /// Waits until the kubelet finds a pod ready.
    #[track_caller]
    pub fn wait_ready(&self, ordinal: usize) {
        wait_ok(super::LIMIT, &format!("redis-{ordinal} to be ready"), || {
            let verdict = self.pods[&ordinal].verdict();
            if verdict.ready { Ok(()) } else { Err(format!("{verdict:?}")) }
        });
    }
}
