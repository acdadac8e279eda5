//! What the user wants of us: flags and variables become [`Config`], and the command line and
//! `redis.conf` become [`server::ServerConfig`]. Pure: the environment, the host and the files are
//! handed in, so nothing here reads any of them.
//!
//! Order of precedence: flag, variable, `redis.conf`, default. A variable that is set but empty
//! counts as unset, as templates leave them; only `POD_IP` is then refused, since an empty one
//! is a broken manifest.

use std::net::IpAddr;
use std::time::Duration;

pub mod http_addr;
pub mod login;
pub mod peers;
pub mod pod;
pub mod secret;
pub mod server;
pub mod shape;

/// How long a master waits for a replica to take over, unless `REJOIN_HANDOVER_TIMEOUT` says
/// otherwise.
pub const HANDOVER_TIMEOUT: Duration = Duration::from_secs(20);

/// All settings of `rejoin` itself, read once at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// `POD_IP`: the pod's own address. `None`: unset, an error only where `nodes.conf` exists.
    pub pod_ip: Option<IpAddr>,
    /// `POD_NAME`, or the host name: who this pod is in its StatefulSet.
    pub pod: pod::PodName,
    /// `REJOIN_SHARDS` and `REJOIN_REPLICAS`: the cluster to be formed. `None`: `REJOIN_SHARDS` is
    /// unset, and so this pod never forms or joins a cluster.
    pub shape: Option<shape::Shape>,
    /// Where the other pods are looked for. `None`: neither variable is set and the pod has no
    /// name in a Service.
    pub peers: Option<peers::Peers>,
    /// `REJOIN_HTTP`: where the probes are served.
    pub http: http_addr::HttpAddr,
    /// `REJOIN_HANDOVER_TIMEOUT`: longest wait for a replica to take over on SIGTERM.
    pub handover_timeout: Duration,
    /// `REJOIN_USERNAME`, `REJOIN_PASSWORD`, `REJOIN_PASSWORD_FILE`: how we log in; where it names
    /// no password, [`server::ServerConfig::login`] finds one in `redis.conf`.
    pub login: login::Login,
    /// `REJOIN_LOG` and `REJOIN_LOG_FORMAT`.
    pub log: LogConfig,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A filter as `tracing` reads it: `info`, `debug`, `rejoin=debug,hyper=warn`.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
