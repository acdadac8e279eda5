//! One pod: a server, with `rejoin` around it or bare, with a directory, an address and a log of
//! its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use redis::{RedisResult, Value};

use super::http::{self, Response};
use super::lock::Access;
use super::process::{self, descendants, kill_tree, send, spawn, stat};
use super::server::Server;
use super::view::View;
use super::wait::{wait_for, wait_ok};

/// The client port of every pod, if not said otherwise; the bus port is 10000 above.
pub const PORT: u16 = 7000;
/// The port of the probes.
pub const HTTP_PORT: u16 = 8080;

/// What runs in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `rejoin redis-server redis.conf`.
    Wrapped,
    /// `redis-server redis.conf`, as rivals run it.
    Bare,
    /// `fix-ip.sh redis-server redis.conf`: the script that `rejoin` replaces.
    Script,
}

/// What a server tells of its address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Known {
    /// Its address and port.
    #[default]
    AsItIs,
    /// This one instead.
    At(SocketAddr),
    /// This one instead, but only to clients.
    ToClients(SocketAddr),
}

impl Known {
    /// Where clients are sent for a server with this address.
    pub fn instead_of(self, own: SocketAddr) -> SocketAddr {
        match self {
            Known::AsItIs => own,
            Known::At(at) | Known::ToClients(at) => at,
        }
    }

    /// Whether clients are shown what the servers use.
    pub fn is_shown(self) -> bool {
        !matches!(self, Known::ToClients(_))
    }
}

/// One pod. Dropping it kills what runs in it; if that happens because a test fails, its log is
/// printed.
#[derive(Debug)]
pub struct Pod {
    /// The number at the end of its name.
    pub ordinal: usize,
    /// Its address; the next start uses it.
    pub ip: IpAddr,
    /// The server that runs in it.
    pub server: Server,
    /// With or without `rejoin`.
    pub program: Program,
    /// The program under test.
    pub rejoin: PathBuf,
    /// The environment of the next start, which sees nothing of ours but `PATH`.
    pub env: BTreeMap<String, String>,
    /// Further lines of `redis.conf` at the next start; later ones win.
    pub conf: Vec<String>,
    /// Further arguments after `redis.conf` at the next start.
    pub args: Vec<String>,
    /// How [`Pod::redis`] speaks to the server.
    pub access: Access,
    /// The port that it does so at.
    pub port: u16,
    /// What its server tells of its address.
    pub known: Known,
    /// The network namespace that it runs in.
    pub netns: Option<String>,
    dir: PathBuf,
    child: Option<Child>,
}

impl Pod {
    /// A pod that has never run, with a directory of its own below `dir`.
    ///
    /// # Panics
    /// When the directory cannot be made.
    pub fn new(program: Program, server: &Server, dir: &Path, ordinal: usize, ip: IpAddr) -> Self {
        let name = format!("redis-{ordinal}");
        let dir = dir.join(&name);
        fs::create_dir_all(dir.join("data")).expect("the test's directory is writable");
        let env = BTreeMap::from([
            ("POD_NAME".to_owned(), name),
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
        ]);
        Self {
            ordinal,
            ip,
            server: server.clone(),
            program,
            rejoin: rejoin(),
            env,
            conf: Vec::new(),
            args: Vec::new(),
            access: Access::default(),
            port: PORT,
            known: Known::default(),
            netns: None,
            dir,
            child: None,
        }
    }

    /// Its name, as in `redis-0`.
    pub fn name(&self) -> String {
        format!("redis-{}", self.ordinal)
    }

    /// Its volume: what is here outlives a restart.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The configuration file of the server, written at each start.
    pub fn conf_file(&self) -> PathBuf {
        self.dir.join("redis.conf")
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        (self.ip, self.port).into()
    }

    /// The address of the probes.
    pub fn http_address(&self) -> SocketAddr {
        (self.ip, HTTP_PORT).into()
    }

    /// Writes `redis.conf` and starts the pod.
    ///
    /// # Panics
    /// When it runs already, or cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name());
        let conf = self.conf_file();
        fs::write(&conf, self.conf_text()).expect("the test's directory is writable");
        let mut command = match self.program {
            Program::Wrapped => {
                let mut command = self.command(&self.rejoin);
                command.arg(&self.server.bin);
                command
            }
            Program::Bare => self.command(&self.server.bin),
            Program::Script => {
                let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
                let mut command = self.command(&benches.join("fix-ip.sh"));
                command.arg(&self.server.bin);
                command
            }
        };
        let log = File::options().append(true).create(true).open(self.log_file());
        let log = log.expect("the test's directory is writable");
        command.arg(conf).args(&self.args);
        command.stdout(log.try_clone().expect("a file can be duplicated")).stderr(log);
        command.stdin(std::process::Stdio::null());
        self.child = Some(spawn(&mut command));
    }

    /// SIGTERM, then waits up to 60 s for the end.
    ///
    /// # Panics
    /// When it does not run or does not end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit(Duration::from_secs(60))
    }

    /// Sends a signal to the pod's first process.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Kills everything in the pod at once, as the end of a container does.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn kill(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the pod runs");
        kill_tree(&mut child)
    }

    /// Waits for the pod's first process to end by itself.
    ///
    /// # Panics
    /// When it does not run, or `limit` has passed.
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name();
        let child = self.child.as_mut().expect("the pod runs");
        let status = wait_ok(limit, &format!("the end of {name}"), || {
            child.try_wait().expect("a child of ours can be waited for").ok_or("still running")
        });
        self.child = None;
        status
    }

    /// The id of the pod's first process.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the pod runs").id()
    }

    /// Whether the pod's first process has been started and was not seen to end.
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// The id of the server itself, once there is one.
    pub fn server_pid(&self) -> Option<u32> {
        let own = self.child.as_ref()?.id();
        let named = |pid: &u32| stat(*pid).is_some_and(|stat| stat.name.ends_with("-server"));
        std::iter::once(own).chain(descendants(own)).find(named)
    }

    /// All that the pod has written to stdout and stderr, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// What it has written since the log had this length, in bytes.
    pub fn log_since(&self, length: usize) -> String {
        self.log().split_off(length)
    }

    /// Asks the probes' port.
    ///
    /// # Errors
    /// As [`http::get`].
    pub fn http(&self, path: &str) -> Result<Response, String> {
        http::get(self.http_address(), path)
    }

    /// Sends one command to the server over a new connection, and waits 5 s at most.
    ///
    /// # Errors
    /// What the server or the network says.
    pub fn redis(&self, args: &[&str]) -> RedisResult<Value> {
        let limit = Duration::from_secs(5);
        let client = self.access.client(self.address())?;
        let mut connection = client.get_connection_with_timeout(limit)?;
        connection.set_read_timeout(Some(limit))?;
        connection.set_write_timeout(Some(limit))?;
        let (name, args) = args.split_first().expect("a command has a name");
        redis::cmd(name).arg(args).query(&mut connection)
    }

    /// The same as text, numbers included.
    ///
    /// # Errors
    /// What the server or the network says, with the pod's name.
    pub fn text(&self, args: &[&str]) -> Result<String, String> {
        self.redis(args)
            .and_then(|value| redis::from_redis_value(value).map_err(Into::into))
            .map_err(|error| format!("{}: {args:?}: {error}", self.name()))
    }

    /// One field of an answer in lines, such as `INFO`'s or `CLUSTER INFO`'s.
    ///
    /// # Errors
    /// As [`Pod::text`], or that the field is missing.
    pub fn field(&self, args: &[&str], field: &str) -> Result<String, String> {
        let text = self.text(args)?;
        let value = |line: &str| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned);
        text.lines()
            .find_map(value)
            .ok_or_else(|| format!("{}: no {field} in {text:?}", self.name()))
    }

    /// The cluster as this pod sees it.
    ///
    /// # Errors
    /// As [`Pod::text`].
    pub fn view(&self) -> Result<View, String> {
        View::parse(&self.text(&["CLUSTER", "NODES"])?)
    }

    /// Waits until the server answers `PING`.
    #[track_caller]
    pub fn wait_answers(&self, limit: Duration) {
        wait_for(limit, &format!("{} to answer", self.name()), || self.text(&["PING"]).is_ok());
    }

    /// Runs a command of `rejoin` in the pod, as `kubectl exec` would, to its end.
    pub fn rejoin(&self, args: &[&str]) -> Output {
        process::run(self.command(&self.rejoin).args(args))
    }

    /// A command with the pod's environment, in its network.
    fn command(&self, program: &Path) -> Command {
        let mut command = match &self.netns {
            Some(netns) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", netns]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.env_clear().current_dir(self.data());
        command.env("POD_IP", self.ip.to_string());
        command.env("REJOIN_HTTP", self.http_address().to_string());
        command.envs(&self.env);
        command
    }

    fn conf_text(&self) -> String {
        let ip = self.ip;
        let mut lines = vec![
            format!("dir {}", self.data().display()),
            format!("bind {ip}"),
            format!("port {PORT}"),
            "protected-mode no".to_owned(),
            "cluster-enabled yes".to_owned(),
            "appendonly yes".to_owned(),
            "save \"\"".to_owned(),
        ];
        if self.server.is_at_least((7, 0)) {
            // On loopback the kernel would pick 127.0.0.1, and peers believe the source address.
            lines.push(format!("bind-source-addr {ip}"));
            lines.push("enable-debug-command yes".to_owned());
        }
        lines.extend(self.conf.iter().cloned());
        lines.join("\n") + "\n"
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(80);
            eprintln!("--- log of {} on {} (last 80 lines) ---", self.name(), self.ip);
            log.lines().skip(skipped).for_each(|line| eprintln!("{line}"));
        }
        if let Some(child) = &mut self.child {
            kill_tree(child);
        }
    }
}

/// The program under test: the one that `REJOIN_PROGRAM` names; or the one that Cargo names for
/// tests and benchmarks; or, for an example, the one beside its own directory.
pub fn rejoin() -> PathBuf {
    if let Some(path) = std::env::var_os("REJOIN_PROGRAM") {
        return path.into();
    }
    match option_env!("CARGO_BIN_EXE_rejoin") {
        Some(path) => path.into(),
        None => {
            let own = std::env::current_exe().expect("/proc is mounted");
            let build = own.parent().and_then(Path::parent).expect("examples lie two levels deep");
            build.join("rejoin")
        }
    }
}
