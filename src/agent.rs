//! The second thread: probes, guard, keeper and hand-over on a single-threaded async runtime. All
//! but the probes may panic and are then started anew while the probes go on; so may the thread as
//! a whole, without PID 1 or the server noticing.

use std::future::{pending, poll_fn};
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tracing::error;

use crate::board::Board;
use crate::cluster::Keeper;
use crate::cluster::departure::Departure;
use crate::cluster::observe::Observer;
use crate::cluster::peers::Peers;
use crate::cluster::plan::Settings;
use crate::cluster::report::Identity;
use crate::config::Config;
use crate::config::server::ServerConfig;
use crate::discovery::Finder;
use crate::guard::look::Look;
use crate::guard::{Guard, Voice};
use crate::handover::notice::Notice;
use crate::handover::{self, Handover};
use crate::http;
use crate::init::Handle;
use crate::redis::{Connection, Dialer};
use crate::telemetry::metrics::Metrics;

/// The pause before what panicked is started anew.
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
    /// That the pod is to leave.
    pub notice: Arc<Notice>,
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
            tokio::select! {
                served = probes => served,
                () = self.keep_on() => Ok(()),
            }
        })
    }

    /// Guard, keeper and hand-over, again and again. A bug in them that panics each time must not
    /// take the probes away, for then the kubelet would kill a server that is well.
    async fn keep_on(&self) {
        loop {
            let mut kept = pin!(self.keep());
            poll_fn(|cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| kept.as_mut().poll(cx)));
                polled.unwrap_or(Poll::Ready(()))
            })
            .await;
            error!("the keeper panicked; starting it again");
            self.board.agent_restarted();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn keep(&self) {
        if let Some(guard) = &self.guard {
            guard.stand(self.look(), &self.voice()).await;
        }
        let mut keeper = self.keeper();
        // From the notice on nothing is formed, joined or healed, whatever was going on.
        tokio::select! {
            () = keeper.keep() => {}
            _ = self.notice.given() => {}
        }
        self.handover(keeper.connection()).leave().await;
        keeper.see_off().await;
    }

    fn look(&self) -> Look {
        let dialer = Dialer::new(&self.config.login, &self.server);
        let peers = Peers::new(&self.server, dialer, self.config.pod_ip, self.finder());
        Look::new(&self.server, peers)
    }

    fn voice(&self) -> Voice {
        let (board, metrics) = (self.board.clone(), self.metrics.clone());
        Voice { board, metrics, identity: self.identity() }
    }

    fn finder(&self) -> Option<Finder> {
        let (config, server) = (&self.config, &self.server);
        let port = server.ports().asked;
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

    fn handover(&self, own: Option<Connection>) -> Handover {
        let (config, server) = (&self.config, &self.server);
        let dialer = Dialer::new(&config.login, server);
        let eyes = handover::look::Look::new(server, dialer, config.pod_ip, own);
        let (board, metrics) = (self.board.clone(), self.metrics.clone());
        let notice = Arc::clone(&self.notice);
        Handover::new(notice, eyes, board, metrics, server.manual_failover_timeout)
    }

    fn keeper(&self) -> Keeper {
        let (config, server) = (&self.config, &self.server);
        let dialer = Dialer::new(&config.login, server);
        let observer = Observer::new(server, dialer, config.pod_ip, self.finder());
        let settings = Settings {
            ordinal: config.pod.ordinal,
            shape: config.shape,
            on_lost_shard: config.on_lost_shard,
            ip: config.pod_ip,
            node_timeout: server.node_timeout,
            prefer_home: config.prefer_home,
        };
        Keeper::new(
            server,
            observer,
            settings,
            self.identity(),
            self.board.clone(),
            self.metrics.clone(),
            Departure::new(self.init.clone(), Arc::clone(&self.notice)),
        )
    }
}
