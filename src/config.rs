//! What the user wants of us: flags and variables become [`Config`], and the command line and
//! `redis.conf` become [`server::ServerConfig`]. Pure: the environment, the host and the files are
//! handed in, so nothing here reads any of them.
//!
//! Order of precedence: flag, variable, `redis.conf`, default. A variable that is set but empty
//! counts as unset, as templates leave them; only `POD_IP` is then refused, since an empty one
//! is a broken manifest.

use std::net::IpAddr;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};

use settings::{ConfigError, Settings, Variable};

pub mod duration;
pub mod http_addr;
pub mod login;
pub mod lost_shard;
pub mod peers;
pub mod pod;
pub mod secret;
pub mod server;
pub mod settings;
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
    /// `REJOIN_ON_LOST_SHARD`: what becomes of a shard that no pod has a copy of.
    pub on_lost_shard: lost_shard::OnLostShard,
    /// Where the other pods are looked for. `None`: neither variable is set and the pod has no
    /// name in a Service.
    pub peers: Option<peers::Peers>,
    /// `REJOIN_HTTP`: where the probes are served.
    pub http: http_addr::HttpAddr,
    /// `REJOIN_HANDOVER_TIMEOUT`: longest wait for a replica to take over on SIGTERM.
    pub handover_timeout: Duration,
    /// `REJOIN_PREFER_HOME`: a first master takes its slots back when all is well.
    pub prefer_home: bool,
    /// `REJOIN_USERNAME`, `REJOIN_PASSWORD`, `REJOIN_PASSWORD_FILE`: how we log in; where it names
    /// no password, [`server::ServerConfig::login`] finds one in `redis.conf`.
    pub login: login::Login,
    /// `REJOIN_LOG` and `REJOIN_LOG_FORMAT`.
    pub log: LogConfig,
}

/// What the host says about this pod.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The host name.
    pub name: String,
    /// The contents of `/etc/hosts`; empty where it cannot be read.
    pub hosts: String,
}

impl Config {
    /// Reads all settings. An exec probe needs [`http_addr::HttpAddr::read`] and no more.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn read(settings: &Settings<'_>, host: &Host) -> Result<Config, ConfigError> {
        let pod_ip = settings.get_even_empty(Variable::PodIp)?.map(pod::parse_ip).transpose()?;
        let name = settings.get(Variable::PodName)?.map(|given| given.value);
        let pod = pod::PodName::new(name.as_deref().unwrap_or(&host.name));
        let service = pod::service(&host.hosts, &pod.name, pod_ip);
        let handover_timeout = match settings.get(Variable::HandoverTimeout)? {
            None => HANDOVER_TIMEOUT,
            Some(given) => duration::parse(&given.value).ok_or_else(|| {
                given.refuse("no duration", "set something like 20s, 500ms, 1m30s or 20")
            })?,
        };
        let prefer_home = match settings.get(Variable::PreferHome)? {
            None => false,
            Some(given) => match given.value.trim().to_ascii_lowercase().as_str() {
                "on" => true,
                "off" => false,
                _ => return Err(given.refuse("neither on nor off", "set one of the two")),
            },
        };
        Ok(Config {
            pod_ip,
            pod,
            shape: shape::Shape::read(settings)?,
            on_lost_shard: lost_shard::OnLostShard::read(settings)?,
            peers: peers::Peers::read(settings, service)?,
            http: http_addr::HttpAddr::read(settings)?,
            handover_timeout,
            prefer_home,
            login: login::Login::read(settings)?,
            log: LogConfig::read(settings)?,
        })
    }

    /// The own address, where `nodes.conf` exists and so needs it.
    ///
    /// # Errors
    /// [`ConfigError::NoPodIp`].
    pub fn require_pod_ip(&self) -> Result<IpAddr, ConfigError> {
        self.pod_ip.ok_or(ConfigError::NoPodIp)
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// A filter as `tracing` reads it: `info`, `debug`, `rejoin=debug,hyper=warn`.
    pub filter: Targets,
    /// The form of a line.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            filter: Targets::new().with_default(LevelFilter::INFO),
            format: LogFormat::Text,
        }
    }
}

impl LogConfig {
    /// Reads `REJOIN_LOG` and `REJOIN_LOG_FORMAT`.
    ///
    /// # Errors
    /// Where the filter cannot be read, or the format is neither `text` nor `json`.
    pub fn read(settings: &Settings<'_>) -> Result<LogConfig, ConfigError> {
        let mut log = LogConfig::default();
        if let Some(given) = settings.get(Variable::Log)? {
            log.filter = match filter(&given.value) {
                Some(filter) => filter,
                None => {
                    let remedy = "set something like info or info,rejoin::http=debug";
                    return Err(given.refuse("no log filter", remedy));
                }
            };
        }
        if let Some(given) = settings.get(Variable::LogFormat)? {
            log.format = match &*given.value.trim().to_ascii_lowercase() {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err(given.refuse("no log format", "set text or json")),
            };
        }
        Ok(log)
    }
}

/// Reads a filter. A lone word that is no level is read by `tracing` as the name of a module, and
/// so `REJOIN_LOG=inof` would silence us without a word; only ours is one that makes sense.
fn filter(text: &str) -> Option<Targets> {
    let makes_sense = |part: &str| {
        let names_ours = part.split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        let is_level = !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        part.contains('=') || names_ours || is_level
    };
    let sound = text.split(',').map(str::trim).all(makes_sense);
    text.trim().parse().ok().filter(|_| sound)
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    fn read(env: &[(&str, &str)]) -> Result<Config, String> {
        let env: HashMap<_, _> = env.iter().copied().collect();
        let hosts = "10.0.0.1 redis-3.redis.ns.svc.cluster.local redis-3\n";
        let host = Host { name: "redis-3".to_owned(), hosts: hosts.to_owned() };
        let settings = Settings::new(BTreeMap::new(), &env);
        Config::read(&settings, &host).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_set_gives_the_defaults_of_the_host() {
        let config = read(&[]).expect("a configuration");
        assert_eq!(config.pod_ip, None);
        assert_eq!(config.pod, pod::PodName::new("redis-3"));
        assert_eq!(config.shape, None);
        assert_eq!(config.on_lost_shard, lost_shard::OnLostShard::Hold);
        let service = "redis.ns.svc.cluster.local.".to_owned();
        assert_eq!(config.peers, Some(peers::Peers::Service(service)));
        assert_eq!(config.http, http_addr::HttpAddr::Any(8080));
        assert_eq!(config.handover_timeout, Duration::from_secs(20));
        assert!(!config.prefer_home);
        assert_eq!(config.login, login::Login::default());
        assert_eq!(config.log, LogConfig::default());
        let missing = config.require_pod_ip().expect_err("missing").to_string();
        assert!(missing.starts_with("POD_IP is not set"), "{missing}");
    }

    #[test]
    fn every_variable_reaches_its_field() {
        let config = read(&[
            ("POD_IP", "10.0.0.1"),
            ("POD_NAME", "other-7"),
            ("REJOIN_SHARDS", "3"),
            ("REJOIN_REPLICAS", "2"),
            ("REJOIN_ON_LOST_SHARD", "recreate"),
            ("REJOIN_PEERS", "10.0.0.2"),
            ("REJOIN_HTTP", ":1"),
            ("REJOIN_HANDOVER_TIMEOUT", "500ms"),
            ("REJOIN_PREFER_HOME", "On"),
            ("REJOIN_USERNAME", "alice"),
            ("REJOIN_PASSWORD_FILE", "/run/secret"),
            ("REJOIN_LOG", "rejoin=debug,warn"),
            ("REJOIN_LOG_FORMAT", "JSON"),
        ])
        .expect("a configuration");
        assert_eq!(config.require_pod_ip(), Ok(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(config.pod.ordinal, Some(7));
        assert_eq!(config.shape, Some(shape::Shape { shards: 3, replicas: 2 }));
        assert_eq!(config.on_lost_shard, lost_shard::OnLostShard::Recreate);
        assert!(matches!(config.peers, Some(peers::Peers::List(list)) if list.len() == 1));
        assert_eq!(config.http, http_addr::HttpAddr::Any(1));
        assert_eq!(config.handover_timeout, Duration::from_millis(500));
        assert!(config.prefer_home);
        assert_eq!(config.login.username.as_deref(), Some("alice"));
        assert_eq!(config.login.password, login::Password::File("/run/secret".into()));
        assert_eq!(Some(config.log.filter), filter("rejoin=debug,warn"));
        assert_eq!(config.log.format, LogFormat::Json);
    }

    #[test]
    fn wrong_values_are_one_line_that_names_the_variable() {
        for (name, value) in [
            ("POD_IP", ""),
            ("REJOIN_SHARDS", "0"),
            ("REJOIN_REPLICAS", "x"),
            ("REJOIN_ON_LOST_SHARD", "Recreate"),
            ("REJOIN_SERVICE", "a b"),
            ("REJOIN_PEERS", "a b"),
            ("REJOIN_HTTP", "x"),
            ("REJOIN_HANDOVER_TIMEOUT", "soon"),
            ("REJOIN_PREFER_HOME", "yes please"),
            ("REJOIN_LOG", "verbose"),
            ("REJOIN_LOG", "rejoin=loud"),
            ("REJOIN_LOG_FORMAT", "xml\n"),
        ] {
            let error = read(&[(name, value)]).expect_err("refused");
            assert!(error.starts_with(&format!("{name} is ")), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn password_is_in_no_debug_output_and_no_error() {
        let password = ("REJOIN_PASSWORD", "hunter2");
        let config = read(&[password]).expect("a configuration");
        assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
        let login::Password::Value(secret) = &config.login.password else { panic!("no password") };
        assert_eq!(secret.expose(), b"hunter2");
        let error = read(&[password, ("REJOIN_PASSWORD_FILE", "/f")]).expect_err("refused");
        assert_eq!(
            error,
            "REJOIN_PASSWORD and REJOIN_PASSWORD_FILE are both set; remove one of them"
        );
    }

    #[test]
    fn levels_modules_and_targets_are_filters() {
        for text in ["info", "WARN", "off", "info,rejoin::http=debug", "rejoin=trace", "rejoin"] {
            assert!(filter(text).is_some(), "{text}");
        }
    }

    #[test]
    fn misspelt_filter_is_none() {
        for text in ["inof", "info,", "", "rejoin=loud", "info,hyper", "a=b=c"] {
            assert_eq!(filter(text), None, "{text}");
        }
    }
}
