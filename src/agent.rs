//! The second thread: probes, guard and keeper on a single-threaded async runtime. It may panic
//! and is then started anew, without PID 1 or the server noticing.

use std::future::pending;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use tracing::error;

use crate::board::Board;
use crate::cluster::Keeper;
use crate::cluster::departure::Departure;
use crate::cluster::observe::Observer;
use crate::cluster::plan::Settings;
use crate::cluster::report::Identity;
use crate::config::Config;
use crate::config::server::ServerConfig;
use crate::discovery::Finder;
use crate::guard::look::Look;
use crate::guard::{Guard, Voice};
use crate::http;
use crate::init::Handle;
use crate::redis::Dialer;
use crate::telemetry::metrics::Metrics;

/// The pause before the agent is started anew.
const PAUSE: Duration = Duration::from_secs(1);

/// All that the agent needs, so that it can be started any number of times.
#[derive(Debug)]
pub struct Agent {
    /// Our own settings.
    pub config: Config,
    /// The server's.
    pub server: ServerConfig,
    /// What the probes read.
    pub board: Board,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the probes are served; bound before the server started.
    pub listener: TcpListener,
    /// How the init is asked to signal the server.
    pub init: Handle,
    /// What is to be seen to before the server starts, where there is anything.
    pub guard: Option<Guard>,
}

impl Agent {
    /// Starts the thread. It ends with the process only.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(self) -> io::Result<()> {
        thread::Builder::new().name("agent".to_owned()).spawn(move || self.run()).map(drop)
    }

    fn run(self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.once())) {
                Ok(Ok(())) => error!("the agent ended; starting it again"),
                Ok(Err(why)) => error!("the agent failed: {why}; starting it again"),
                Err(_) => error!("the agent panicked; starting it again"),
            }
            self.board.agent_restarted();
            thread::park_timeout(PAUSE);
        }
    }

    fn once(&self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = self.listener.try_clone()?;
        runtime.block_on(async {
            let probes = http::serve(listener, self.board.clone(), self.metrics.clone(), pending());
            let keeper = async {
                if let Some(guard) = &self.guard {
                    guard.stand(self.look(), &self.voice()).await;
                }
                self.keeper().keep().await;
                Ok(())
            };
            tokio::try_join!(probes, keeper).map(drop)
        })
    }

    fn look(&self) -> Look {
        let dialer = Dialer::new(&self.config.login, &self.server);
        Look::new(&self.server, dialer, self.config.pod_ip, self.finder())
    }

    fn voice(&self) -> Voice {
        let (board, metrics) = (self.board.clone(), self.metrics.clone());
        Voice { board, metrics, identity: self.identity() }
    }

    fn finder(&self) -> Option<Finder> {
        let (config, server) = (&self.config, &self.server);
        let port = if server.port == 0 { server.tls_port } else { server.port };
        config.peers.clone().map(|peers| Finder::new(peers, port, config.pod_ip))
    }

    fn identity(&self) -> Identity {
        Identity {
            pod: self.config.pod.name.clone(),
            ordinal: self.config.pod.ordinal,
            shape: self.config.shape,
            server_version: None,
        }
    }

    fn keeper(&self) -> Keeper {
        let (config, server) = (&self.config, &self.server);
        let dialer = Dialer::new(&config.login, server);
        let observer = Observer::new(server, dialer, config.pod_ip, self.finder());
        let settings =
            Settings { ordinal: config.pod.ordinal, shape: config.shape, ip: config.pod_ip };
        Keeper::new(
            server,
            observer,
            settings,
            self.identity(),
            self.board.clone(),
            self.metrics.clone(),
            Departure::new(self.init.clone()),
        )
    }
}
