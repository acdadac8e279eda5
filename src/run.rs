//! What each command does, from what was typed to an exit code.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::agent::Agent;
use crate::board::Board;
use crate::cli::{self, Action, Cli, CliError, FixTarget};
use crate::config::http_addr::HttpAddr;
use crate::config::server::files::Disk;
use crate::config::server::load::ServerConfigError;
use crate::config::server::{ServerConfig, invocation};
use crate::config::settings::{ConfigError, Env, ProcessEnv, Settings};
use crate::config::{Config, Host};
use crate::exit;
use crate::guard::gate::Gate;
use crate::guard::{self, Bereft, Guard, Subject};
use crate::handover::notice::Notice;
use crate::health::Phase;
use crate::http::bind::{BindError, bind};
use crate::init::{Command, Inherited, Init, InitError, Interceptor, Signal, SpawnError};
use crate::install;
use crate::nodes_file::{self, FileError, Lock, LockError, Outcome};
use crate::probe::{self, Probe, Shown};
use crate::telemetry::logs::logs;
use crate::telemetry::metrics::Metrics;

/// Why a command ends before it has done its work. The source says more, and is printed behind it.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Server(#[from] ServerConfigError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Install(#[from] install::InstallError),
    #[error(transparent)]
    Status(#[from] probe::StatusError),
    #[error("no thread for the guard: check the limit on processes")]
    Thread(#[source] io::Error),
    #[error("no descriptor to wait with: check the limit on open files")]
    Gate(#[source] io::Error),
    #[error("the working directory cannot be used: check that it exists")]
    Cwd(#[source] io::Error),
    #[error("cannot leave the lock of nodes.conf to the command")]
    Keep(#[source] io::Error),
    #[error("{0}")]
    Usage(String),
}

impl Stop {
    fn code(&self) -> u8 {
        match self {
            Stop::Lock(error) => error.exit_code(),
            Stop::File(error) => error.exit_code(),
            Stop::Spawn(error) => error.exit_code(),
            Stop::Init(_) | Stop::Thread(_) | Stop::Gate(_) => exit::NOT_EXECUTABLE,
            Stop::Install(_) | Stop::Cwd(_) | Stop::Keep(_) => exit::IO,
            Stop::Status(_) => exit::NO,
            Stop::Config(_) | Stop::Server(_) | Stop::Bind(_) | Stop::Usage(_) => exit::CONFIG,
        }
    }
}

/// Does what the command line says, and gives the exit code.
pub fn run(inherited: Inherited) -> u8 {
    let done = match cli::parse(std::env::args_os()) {
        Ok(cli) => act(inherited, cli),
        Err(CliError::Shown(text)) => return say(&text, exit::OK),
        Err(CliError::Usage(text)) => Err(Stop::Usage(text)),
    };
    done.unwrap_or_else(|stop| {
        let _ = writeln!(io::stderr(), "rejoin: {}", exit::chain(&stop));
        stop.code()
    })
}

fn act(inherited: Inherited, cli: Cli) -> Result<u8, Stop> {
    let settings = Settings::new(cli.flags, &ProcessEnv);
    if !matches!(cli.action, Action::Run(_)) {
        // No init: Ctrl-C ends it like any other command.
        inherited.restore();
    }
    match cli.action {
        Action::Run(command) => supervise(inherited, command, &settings),
        Action::Exec(command) => exec(&inherited, command, &settings),
        Action::Fix(target) => fix(target, &settings),
        Action::Ready => ask(Probe::Ready, &settings),
        Action::Live => ask(Probe::Live, &settings),
        Action::Startup => ask(Probe::Startup, &settings),
        Action::Status { json } => status(json, &settings),
        Action::Install(path) => {
            let installed = install::install(Path::new(install::OWN_PROGRAM), &path)?;
            Ok(say(&installed.to_string(), exit::OK))
        }
    }
}

fn ask(which: Probe, settings: &Settings<'_>) -> Result<u8, Stop> {
    let addresses = HttpAddr::read(settings)?.dial();
    let (code, reason) = probe::ask(&addresses, which, probe::PROBE_TIME);
    Ok(say(&reason, code))
}

fn status(json: bool, settings: &Settings<'_>) -> Result<u8, Stop> {
    let addresses = HttpAddr::read(settings)?.dial();
    let shown = if json {
        Shown::Json
    } else {
        let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Shown::Table { color }
    };
    let text = probe::status(&addresses, shown, probe::STATUS_TIME)?;
    Ok(say(&text, exit::OK))
}

fn fix(target: FixTarget, settings: &Settings<'_>) -> Result<u8, Stop> {
    let config = Config::read(settings, &host())?;
    let path = match target {
        FixTarget::File(path) => std::path::absolute(path).map_err(Stop::Cwd)?,
        FixTarget::Server(command) => match server_config(&command)? {
            Some(server) if server.cluster_enabled => server.nodes_conf,
            Some(_) => return Ok(say("cluster-enabled is off: nothing to fix", exit::OK)),
            None => {
                let name = command[0].display();
                return Err(Stop::Usage(format!("{name} is no Redis or Valkey server")));
            }
        },
    };
    let (_lock, outcome) = correct(&path, &config)?;
    Ok(say(&format!("{}: {outcome}", path.display()), exit::OK))
}

fn exec(
    inherited: &Inherited,
    command: Vec<OsString>,
    settings: &Settings<'_>,
) -> Result<u8, Stop> {
    let mut command = command;
    if let Some(server) = server_config(&command)?.filter(|server| server.cluster_enabled) {
        let config = Config::read(settings, &host())?;
        let (lock, outcome) = correct(&server.nodes_conf, &config)?;
        let _ = writeln!(io::stderr(), "rejoin: {}: {outcome}", server.nodes_conf.display());
        announce(&mut command, &server, config.pod_ip);
        lock.keep_over_exec().map_err(Stop::Keep)?;
        // The lock goes on in the program that we become.
        std::mem::forget(lock);
    }
    Err(Stop::Spawn(inherited.exec(&to_run(command)?)))
}

/// PID 1. A command that is no server is only started and looked after.
fn supervise(
    inherited: Inherited,
    mut command: Vec<OsString>,
    settings: &Settings<'_>,
) -> Result<u8, Stop> {
    let Some(server) = server_config(&command)? else {
        let init = Init::new(inherited)?;
        let child = init.spawn(&to_run(command)?)?;
        return Ok(init.run(child, None));
    };
    let mut config = Config::read(settings, &host())?;
    config.login = config.login.with_absolute_file().map_err(Stop::Cwd)?;
    logs(&config.log);
    if let Some(shape) = config.shape.filter(|shape| shape.replicas > 0 && !shape.elects()) {
        warn!("with fewer than 3 masters no successor can be elected: {} shards", shape.shards);
    }
    for note in &server.notes {
        warn!("not understood in the server's configuration, {}: {}", note.at, note.what);
    }
    let acl = server.aclfile.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    if server.drops_transactions(acl.as_deref()) {
        warn!(
            "the ACL user default may not do everything: servers before Valkey 9 read the append-only \
             file as that user, and drop transactions; give it the rules `off ~* &* +@all`"
        );
    }
    let listener = bind(&config.http.bind())?;
    let mut lock = None;
    if server.cluster_enabled {
        let (held, outcome) = correct(&server.nodes_conf, &config)?;
        info!("{}: {outcome}", server.nodes_conf.display());
        if config.pod_ip.is_none() {
            warn!("POD_IP is not set: the next start will need it, since nodes.conf exists then");
        }
        lock = Some(held);
        announce(&mut command, &server, config.pod_ip);
    }
    let board = Board::new(&config.pod.name, "the server to be started");
    let init = Init::new(inherited)?;
    let notice = Notice::new(hold_limit(&server, config.handover_timeout));
    let (guard, gate) = guard(&server, &config)?;
    let nodes_conf = server.nodes_conf.clone();
    let agent = Agent {
        config,
        server,
        board: board.clone(),
        metrics: Metrics::default(),
        listener,
        init: init.handle(),
        notice: Arc::clone(&notice),
        guard,
    };
    // Without anything to wait for, the server comes first: the agent takes its time.
    let agent = match gate {
        None => Some(agent),
        Some(gate) => {
            agent.start().map_err(Stop::Thread)?;
            if let Err(signal) = init.wait_until(gate.as_fd()) {
                return Ok(ended_early(signal));
            }
            if let (Some(master), Some(lock)) = (gate.absent(), &lock) {
                nodes_file::lose_address(&nodes_conf, master, lock)?;
            }
            None
        }
    };
    let child = init.spawn(&to_run(command)?)?;
    board.set_phase(Phase::Running(Instant::now()));
    info!("started the server as process {}", child.pid());
    let mut interceptor = Some(leaving(board, Arc::clone(&notice)));
    if let Some(agent) = agent
        && let Err(error) = agent.start()
    {
        // To end here would kill the server. Without probes the kubelet ends it, in good order.
        error!(
            "no thread for the probes, so none is answered: {error}; check the limit on processes"
        );
        // Nobody would hand over.
        interceptor = None;
    }
    let code = init.run(child, interceptor);
    if let Some(passed) = notice.passed() {
        info!("the server has stopped {:.1} s after the signal", passed.elapsed().as_secs_f64());
    }
    drop(lock);
    Ok(code)
}

/// The guard that a server needs which would start without what it had, and the gate that it opens.
/// A new one that nobody can be asked about needs none.
fn guard(
    server: &ServerConfig,
    config: &Config,
) -> Result<(Option<Guard>, Option<Arc<Gate>>), Stop> {
    let subject = match guard::subject(server, config.pod_ip) {
        Some(Subject::Bereft(Bereft::New(_))) if config.peers.is_none() => None,
        subject => subject,
    };
    let Some(subject) = subject else { return Ok((None, None)) };
    let gate = Arc::new(Gate::new().map_err(Stop::Gate)?);
    let guard = Guard::new(subject, server.node_timeout, Arc::clone(&gate));
    Ok((Some(guard), Some(gate)))
}

/// A signal came before there was a server to pass it to.
fn ended_early(signal: Signal) -> u8 {
    info!("ended by {signal} before the server was started");
    signal.exit_code()
}

/// From the first SIGTERM or SIGINT on the pod is not ready, and the agent hands over.
fn leaving(board: Board, notice: Arc<Notice>) -> Interceptor {
    Box::new(move |_signal, release| {
        board.set_phase(Phase::Leaving(Instant::now()));
        notice.give(release);
    })
}

/// How long the signal is held for a hand-over; `None`: there is none.
fn hold_limit(server: &ServerConfig, timeout: Duration) -> Option<Duration> {
    (server.cluster_enabled && !timeout.is_zero()).then_some(timeout)
}

fn server_config(command: &[OsString]) -> Result<Option<ServerConfig>, Stop> {
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let extra = ProcessEnv.var(invocation::EXTRA_FLAGS);
    Ok(ServerConfig::read(command, extra.as_deref(), &cwd, &Disk)?)
}

/// Takes the lock and corrects the own address. `POD_IP` is needed only where there is a file.
fn correct(path: &Path, config: &Config) -> Result<(Lock, Outcome), Stop> {
    let lock = Lock::acquire(path)?;
    let outcome = match config.pod_ip {
        Some(ip) => nodes_file::correct(path, ip, &lock)?,
        None if nodes_file::is_there(path) => return Err(ConfigError::NoPodIp.into()),
        None => Outcome::Absent,
    };
    Ok((lock, outcome))
}

/// Has the server announce the pod's address, unless the user has it announce another.
fn announce(command: &mut Vec<OsString>, server: &ServerConfig, ip: Option<IpAddr>) {
    if let (Some(ip), None) = (ip, &server.announce.ip) {
        *command = invocation::with_option(command, "cluster-announce-ip", &ip.to_string());
    }
}

fn to_run(command: Vec<OsString>) -> Result<Command, Stop> {
    Command::from_args(command).ok_or_else(|| Stop::Usage("no command to run".to_owned()))
}

fn host() -> Host {
    let name = nix::unistd::gethostname().unwrap_or_default();
    Host {
        name: name.to_string_lossy().into_owned(),
        hosts: std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
    }
}

/// Prints to standard output; nobody reading it is no reason to fail.
fn say(text: &str, code: u8) -> u8 {
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
    code
}
