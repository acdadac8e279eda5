//! Many pods that are to be one cluster, and whether they are.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use redis::RedisResult;
use redis::cluster::{ClusterClient, ClusterClientBuilder, ClusterConnection, TlsMode};
use tempfile::TempDir;

use super::block::Block;
use super::lock::{self, Access, Lock};
use super::pod::{PORT, Pod, Program};
use super::process::run;
use super::server::Server;
use super::view::View;
use super::wait::wait_ok;

/// How the pods of a fleet are made.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The server in every pod.
    pub server: Server,
    /// With or without `rejoin`.
    pub program: Program,
    /// Masters, as `REJOIN_SHARDS`.
    pub shards: usize,
    /// Replicas of each master, as `REJOIN_REPLICAS`.
    pub replicas: usize,
    /// `cluster-node-timeout`.
    pub node_timeout: Duration,
    /// `requirepass` and `masterauth` of every server.
    pub password: Option<String>,
    /// Whether the servers are locked down. With a password they are not.
    pub lock: Lock,
    /// Further variables of every pod.
    pub env: Vec<(String, String)>,
    /// Further lines of every `redis.conf`.
    pub conf: Vec<String>,
}

impl Recipe {
    /// Wrapped servers, each master with one replica, and a node timeout of 5 s.
    pub fn wrapped(server: &Server, shards: usize) -> Self {
        Self {
            server: server.clone(),
            program: Program::Wrapped,
            shards,
            replicas: 1,
            node_timeout: Duration::from_secs(5),
            password: None,
            lock: Lock::usual(),
            env: Vec::new(),
            conf: Vec::new(),
        }
    }

    /// The same without `rejoin`.
    pub fn bare(server: &Server, shards: usize) -> Self {
        Self { program: Program::Bare, ..Self::wrapped(server, shards) }
    }

    /// Never locked down: for tests that have logins or certificates of their own, or speak to the
    /// port by themselves.
    pub fn open(self) -> Self {
        Self { lock: Lock::Open, ..self }
    }

    /// The number of pods.
    pub fn pods(&self) -> usize {
        self.shards * (1 + self.replicas)
    }
}

/// The pods of one StatefulSet. Dropping it ends them and removes their directories; if that
/// happens because a test fails, the view and the log of each are printed.
#[derive(Debug)]
pub struct Fleet {
    /// The pods, by their ordinals.
    pub pods: Vec<Pod>,
    /// Addresses that no pod has yet and that `REJOIN_PEERS` lists too, one for each pod.
    pub spare: Vec<IpAddr>,
    /// Addresses that no pod ever has and nothing tells of, those of nodes as it were.
    pub nodes: Vec<IpAddr>,
    recipe: Recipe,
    dir: TempDir,
    /// Held, not read: the addresses are ours as long as it lives.
    block: Option<Block>,
}

impl Fleet {
    /// Pods on loopback addresses of their own; none is started. `REJOIN_PEERS` lists their
    /// addresses and the spare ones.
    pub fn new(recipe: &Recipe) -> Self {
        let block = Block::take();
        let count = recipe.pods();
        assert!(count <= 100, "a block has room for 100 pods");
        let ips: Vec<IpAddr> = (1..=count).map(|n| block.ip(n)).collect();
        let spare: Vec<IpAddr> = (1..=count).map(|n| block.ip(100 + n)).collect();
        let mut fleet = Self::on(recipe, &ips, None);
        let peers: Vec<String> =
            ips.iter().chain(&spare).map(|ip| format!("{ip}:{PORT}")).collect();
        for pod in &mut fleet.pods {
            pod.env.insert("REJOIN_PEERS".to_owned(), peers.join(","));
        }
        fleet.spare = spare;
        fleet.nodes = (201..=212).map(|n| block.ip(n)).collect();
        fleet.block = Some(block);
        fleet
    }

    /// Pods on the given addresses, in the network namespace of that name; none is started, and
    /// nothing tells them of each other but the name service.
    pub fn on(recipe: &Recipe, ips: &[IpAddr], netns: Option<&str>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rejoin-fleet-")
            .tempdir()
            .expect("the directory for temporary files is writable");
        lock::write(dir.path());
        let pods = ips.iter().enumerate().map(|(ordinal, ip)| {
            let mut pod = Pod::new(recipe.program, &recipe.server, dir.path(), ordinal, *ip);
            let timeout = recipe.node_timeout.as_millis();
            pod.conf.push(format!("cluster-node-timeout {timeout}"));
            if let Some(password) = &recipe.password {
                pod.conf.push(format!("requirepass {password}\nmasterauth {password}"));
                pod.access.password = Some(password.clone());
            }
            lock_down(recipe, dir.path(), &mut pod);
            pod.conf.extend(recipe.conf.iter().cloned());
            pod.env.insert("REJOIN_SHARDS".to_owned(), recipe.shards.to_string());
            pod.env.insert("REJOIN_REPLICAS".to_owned(), recipe.replicas.to_string());
            pod.env.extend(recipe.env.iter().cloned());
            pod.netns = netns.map(str::to_owned);
            pod
        });
        let pods = pods.collect();
        Self {
            pods,
            spare: Vec::new(),
            nodes: Vec::new(),
            recipe: recipe.clone(),
            dir,
            block: None,
        }
    }

    /// Pods as [`Fleet::new`] makes them, all started.
    pub fn started(recipe: &Recipe) -> Self {
        let mut fleet = Self::new(recipe);
        fleet.start_all();
        fleet
    }

    /// Locks a pod down, or not, as those of the fleet are.
    pub fn lock_alike(&self, pod: &mut Pod) {
        lock_down(&self.recipe, self.dir(), pod);
    }

    /// Starts every pod that does not run.
    pub fn start_all(&mut self) {
        self.pods.iter_mut().filter(|pod| !pod.is_started()).for_each(Pod::start);
    }

    /// Gives a pod its spare address from its next start on; the one it had is its spare now.
    pub fn swap_address(&mut self, ordinal: usize) {
        std::mem::swap(&mut self.pods[ordinal].ip, &mut self.spare[ordinal]);
    }

    /// A pod more, at an address of its own, as those of the fleet are. It is neither started nor one
    /// of them.
    ///
    /// # Panics
    /// When there is none to take after.
    pub fn another(&self, ordinal: usize, ip: IpAddr) -> Pod {
        let like = self.pods.first().expect("a fleet has pods");
        let mut pod = Pod::new(like.program, &like.server, self.dir(), ordinal, ip);
        for (name, value) in &like.env {
            pod.env.entry(name.clone()).or_insert(value.clone());
        }
        pod.conf = like.conf.clone();
        pod.access = like.access.clone();
        pod.netns = like.netns.clone();
        pod
    }

    /// Makes one cluster of bare pods that run, as people do by hand.
    ///
    /// # Panics
    /// When `redis-cli --cluster create` fails.
    #[track_caller]
    pub fn create_by_cli(&self) {
        // The port follows the last colon, for IPv6 too.
        let pods = self.pods.iter().map(|pod| format!("{}:{PORT}", pod.ip));
        let mut args = vec!["create".to_owned()];
        args.extend(pods);
        args.extend(["--cluster-replicas".to_owned(), self.recipe.replicas.to_string()]);
        self.cluster_cli(args.iter().map(String::as_str).chain(["--cluster-yes"]));
    }

    /// Runs `redis-cli --cluster` with these words.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn cluster_cli<'a>(&self, args: impl IntoIterator<Item = &'a str>) {
        let mut command = Command::new(&self.recipe.server.cli);
        let access = &self.pods[0].access;
        if let Some(password) = &access.password {
            command.env("REDISCLI_AUTH", password);
        }
        command.args(access.cli(self.dir())).arg("--cluster").args(args);
        let output = run(&mut command);
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    }

    /// What the pods were made by.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// A cluster client that knows every pod's present address.
    ///
    /// # Errors
    /// When none of them tells it where the slots are.
    pub fn client(&self) -> RedisResult<ClusterConnection> {
        self.cluster_client()?.get_connection()
    }

    /// What makes such clients, and knows the spare addresses as well.
    ///
    /// # Errors
    /// When what it is told of the pods makes no sense to it.
    pub fn cluster_client(&self) -> RedisResult<ClusterClient> {
        let access = &self.pods.first().expect("a fleet has pods").access;
        let spare = self.spare.iter().map(|ip| access.to(SocketAddr::new(*ip, PORT)));
        let nodes = self.pods.iter().map(|pod| pod.access.to(pod.address())).chain(spare);
        let mut builder = ClusterClientBuilder::new(nodes.collect::<RedisResult<Vec<_>>>()?);
        if self.pods.iter().any(|pod| pod.access.tls) {
            builder = builder.certs(lock::shown()).tls(TlsMode::Insecure);
        }
        builder.build()
    }

    /// `cluster_state:ok` on every pod.
    ///
    /// # Errors
    /// The first pod that says something else, and what.
    pub fn ok(&self) -> Result<(), String> {
        self.pods.iter().try_for_each(|pod| {
            let state = pod.field(&["CLUSTER", "INFO"], "cluster_state")?;
            expect(state == "ok", || format!("{}: cluster_state:{state}", pod.name()))
        })
    }

    /// One healthy cluster: `cluster_state:ok` on all, every slot owned once, every master with
    /// its number of replicas, every link up, no id but those of the pods, each at its pod's
    /// address, and the same view everywhere.
    ///
    /// # Errors
    /// What is missing first.
    pub fn whole(&self) -> Result<(), String> {
        self.ok()?;
        let first = self.pods.first().ok_or("no pods")?.view()?;
        let owners = first.owners();
        let odd = owners.iter().position(|owners| *owners != 1);
        expect(odd.is_none(), || format!("slot {odd:?} is not owned once"))?;
        expect(first.nodes.len() == self.pods.len(), || {
            format!("{} ids for {} pods", first.nodes.len(), self.pods.len())
        })?;
        for master in first.nodes.values().filter(|node| node.is("master")) {
            let replicas = first.nodes.values().filter(|node| node.master_is(&master.id)).count();
            expect(replicas == self.recipe.replicas && master.slot_count() > 0, || {
                let slots = master.slot_count();
                format!("master {} has {replicas} replicas and {slots} slots", master.address)
            })?;
        }
        self.pods.iter().try_for_each(|pod| {
            let view = pod.view()?;
            expect(view.shared() == first.shared(), || {
                format!("{} and {} differ: {view:?} {first:?}", pod.name(), self.pods[0].name())
            })?;
            sound(pod, &view)
        })
    }

    /// Waits for [`Fleet::whole`].
    ///
    /// # Panics
    /// When `limit` has passed.
    #[track_caller]
    pub fn wait_whole(&self, limit: Duration) {
        wait_ok(limit, "one healthy cluster", || self.whole());
    }

    /// [`Fleet::whole`], now.
    ///
    /// # Panics
    /// When it is not so.
    #[track_caller]
    pub fn assert_whole(&self) {
        if let Err(lack) = self.whole() {
            panic!("no healthy cluster: {lack}");
        }
    }

    /// The pod whose server has this id now.
    pub fn pod_with_id(&self, id: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.text(&["CLUSTER", "MYID"]).is_ok_and(|own| own == id))
    }

    /// The directory that holds everything of the fleet.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

fn lock_down(recipe: &Recipe, dir: &Path, pod: &mut Pod) {
    if recipe.lock == Lock::Locked && recipe.password.is_none() {
        pod.conf.extend(lock::conf(dir, PORT));
        pod.env.extend(lock::env(dir));
        pod.access = Access::locked();
    }
}

/// Whether nothing is wrong in one pod's own view: its address, its links, its replication.
fn sound(pod: &Pod, view: &View) -> Result<(), String> {
    // As servers write it: IPv6 without brackets.
    let known = pod.known.instead_of(pod.address());
    expect(view.me().address == format!("{}:{}", known.ip(), known.port()), || {
        format!("{} calls itself {}", pod.name(), view.me().address)
    })?;
    for node in view.nodes.values() {
        let bad = ["fail", "fail?", "handshake", "noaddr"].iter().find(|flag| node.is(flag));
        expect(bad.is_none() && node.connected && node.moving.is_empty(), || {
            format!("{} sees {node:?}", pod.name())
        })?;
    }
    let Some(master) = view.me().master.as_ref() else { return Ok(()) };
    let info = |field| pod.field(&["INFO", "replication"], field);
    let host = format!("{}:{}", info("master_host")?, info("master_port")?);
    let known = view.nodes.get(master).map(|node| node.address.as_str());
    expect(!pod.known.is_shown() || known == Some(host.as_str()), || {
        format!("{} replicates {host}, but its master is at {known:?}", pod.name())
    })?;
    let link = info("master_link_status")?;
    expect(link == "up", || format!("{}: master_link_status:{link}", pod.name()))
}

fn expect(so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if so { Ok(()) } else { Err(otherwise()) }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pod in &self.pods {
                let view = pod.text(&["CLUSTER", "NODES"]).unwrap_or_else(|error| error);
                eprintln!("--- view of {} ---\n{view}", pod.name());
            }
        }
    }
}
