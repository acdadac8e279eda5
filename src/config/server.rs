//! The configuration that the server will run with, read as the server itself reads it.
//! What we do not understand is kept in [`ServerConfig::notes`] and left to the server to judge.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::login::{Login, Password};
use super::secret::Secret;

use files::Files;
use load::ServerConfigError;

mod default_user;
pub mod dial;
mod disk;
pub mod files;
pub mod invocation;
pub mod load;
mod options;
pub mod tokens;

/// The effective configuration of a Redis or Valkey server, defaults included (those of
/// `config.c`; the same from Redis 5.0 to 8.x and Valkey 9 unless a field says otherwise).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The working directory of the server once its configuration is read, absolute.
    pub dir: PathBuf,
    /// `cluster-config-file`, absolute.
    pub nodes_conf: PathBuf,
    /// `cluster-enabled`.
    pub cluster_enabled: bool,
    /// `port`; 0: no plain port.
    pub port: u16,
    /// `tls-port`; 0: no TLS port.
    pub tls_port: u16,
    /// `cluster-port` (7.0+): the bus port; 0: the client port plus 10000.
    pub cluster_port: u16,
    /// `bind`, as written: addresses or names, `*` and `::*` for all, with a `-` in front where
    /// it may be missing (6.2+). Empty: no TCP at all (7.0+).
    pub bind: Vec<String>,
    /// `bind-source-addr` (7.0+): the source of the server's own connections.
    pub bind_source_addr: Option<String>,
    /// `unixsocket`, absolute.
    pub unixsocket: Option<PathBuf>,
    /// `protected-mode`.
    pub protected_mode: bool,
    /// `requirepass`: the password of the user `default`.
    pub requirepass: Option<Secret>,
    /// `masterauth` (Valkey also `primaryauth`): what a replica sends to its master.
    pub masterauth: Option<Secret>,
    /// `masteruser` (Valkey also `primaryuser`).
    pub masteruser: Option<String>,
    /// The ACL users that the configuration names in `user` lines, in order.
    pub users: Vec<String>,
    /// The last of them that is for `default` leaves it less than every command and every key.
    pub default_is_restricted: bool,
    /// `aclfile`, absolute.
    pub aclfile: Option<PathBuf>,
    /// `rename-command`: upper-case old name to new name; an empty new name: the command is gone.
    /// Ask through [`ServerConfig::command`].
    pub renamed: BTreeMap<String, String>,
    /// What the server tells its peers about itself.
    pub announce: Announce,
    /// `cluster-node-timeout`.
    pub node_timeout: Duration,
    /// `cluster-manual-failover-timeout` (Valkey 8.1+): how long a replica that was told to take
    /// over may try, and its master does not write. Redis has the same 5 s fixed.
    pub manual_failover_timeout: Duration,
    /// What is on disk, and where.
    pub persistence: Persistence,
    /// TLS.
    pub tls: Tls,
    /// `shutdown-timeout` (7.0+): how long a leaving server waits for replicas that lag.
    pub shutdown_timeout: Duration,
    /// `shutdown-on-sigterm` (7.0+): flags among `save`, `nosave`, `now`, `force`, and Valkey 9's
    /// `safe` and `failover`; `default` alone where there are none.
    pub shutdown_on_sigterm: Vec<String>,
    /// `replica-serve-stale-data`.
    pub replica_serve_stale_data: bool,
    /// Where the options of a login were read last, by their names: the file and line.
    pub login_at: BTreeMap<&'static str, String>,
    /// What was not understood, in order; the server judges it. For the log.
    pub notes: Vec<Note>,
}

/// `cluster-announce-*`: what the server tells its peers about itself, where it is not to be found
/// out by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announce {
    /// `cluster-announce-ip`.
    pub ip: Option<String>,
    /// `cluster-announce-port`; 0: the real one.
    pub port: u16,
    /// `cluster-announce-tls-port` (6.2+); 0: the real one.
    pub tls_port: u16,
    /// `cluster-announce-bus-port`; 0: the real one.
    pub bus_port: u16,
    /// `cluster-announce-hostname` (7.0+).
    pub hostname: Option<String>,
    /// Any of `cluster-announce-client-ipv4`, `-ipv6` (Valkey 8.1+), `-port` and `-tls-port` (Valkey 9.1):
    /// what clients are told instead, in `CLUSTER NODES` too, and whoever they are.
    pub to_clients: bool,
}

/// What the server keeps on disk and loads at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// `appendonly`: the server then loads the append-only file and nothing else, so that a
    /// snapshot beside a missing append-only file is not loaded.
    pub appendonly: bool,
    /// `appendfilename`: a name without a directory.
    pub appendfilename: String,
    /// `appenddirname` (7.0+): a name without a directory.
    pub appenddirname: String,
    /// `dbfilename`: a name without a directory.
    pub dbfilename: String,
    /// `save`: points at which a snapshot is written. Empty: none is, not even at shutdown.
    pub save: Vec<SavePoint>,
}

/// One `save SECONDS CHANGES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// After this many seconds,
    pub seconds: u64,
    /// if at least this many keys changed.
    pub changes: u64,
}

/// `tls-*`. File names are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `tls-cert-file`.
    pub cert_file: Option<PathBuf>,
    /// `tls-key-file`.
    pub key_file: Option<PathBuf>,
    /// `tls-key-file-pass` (6.2+).
    pub key_file_pass: Option<Secret>,
    /// `tls-client-cert-file` (6.2+): shown to peers instead of `cert_file`.
    pub client_cert_file: Option<PathBuf>,
    /// `tls-client-key-file` (6.2+).
    pub client_key_file: Option<PathBuf>,
    /// `tls-client-key-file-pass` (6.2+).
    pub client_key_file_pass: Option<Secret>,
    /// `tls-ca-cert-file`.
    pub ca_cert_file: Option<PathBuf>,
    /// `tls-ca-cert-dir`.
    pub ca_cert_dir: Option<PathBuf>,
    /// `tls-auth-clients`: whether clients must show a certificate.
    pub auth_clients: AuthClients,
    /// `tls-cluster`: whether the bus speaks TLS, and clients are told the TLS port.
    pub cluster: bool,
    /// `tls-replication`: whether a replica reaches its master by TLS.
    pub replication: bool,
}

/// `tls-auth-clients`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthClients {
    /// `yes`: a client must show a certificate.
    Yes,
    /// `no`: none is asked for.
    No,
    /// `optional`: one is checked where it is shown.
    Optional,
}

/// Something in the configuration that was not understood, and so is left to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file and line, or `command line`.
    pub at: String,
    /// What was not understood; never a value that may be a password.
    pub what: String,
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            cert_file: None,
            key_file: None,
            key_file_pass: None,
            client_cert_file: None,
            client_key_file: None,
            client_key_file_pass: None,
            ca_cert_file: None,
            ca_cert_dir: None,
            auth_clients: AuthClients::Yes,
            cluster: false,
            replication: false,
        }
    }
}

impl Default for Persistence {
    fn default() -> Self {
        let point = |seconds, changes| SavePoint { seconds, changes };
        Persistence {
            appendonly: false,
            appendfilename: "appendonly.aof".to_owned(),
            appenddirname: "appendonlydir".to_owned(),
            dbfilename: "dump.rdb".to_owned(),
            save: vec![point(3600, 1), point(300, 100), point(60, 10000)],
        }
    }
}

impl ServerConfig {
    /// The configuration of the server that `command` starts in the directory `cwd`, which is
    /// absolute. `None`: the command starts no Redis or Valkey server. `extra` is the value of
    /// [`invocation::EXTRA_FLAGS`].
    ///
    /// # Errors
    /// Where the place of `nodes.conf` cannot be known. What else the server would refuse is in
    /// [`ServerConfig::notes`].
    pub fn read(
        command: &[OsString],
        extra: Option<&OsStr>,
        cwd: &Path,
        files: &impl Files,
    ) -> Result<Option<ServerConfig>, ServerConfigError> {
        let invocation = invocation::read(command, extra);
        invocation.map(|invocation| load::load(&invocation, cwd, files)).transpose()
    }

    /// The configuration of a server that is started in `dir` without any option.
    pub fn defaults(dir: &Path) -> ServerConfig {
        ServerConfig {
            dir: dir.to_owned(),
            nodes_conf: dir.join("nodes.conf"),
            cluster_enabled: false,
            port: 6379,
            tls_port: 0,
            cluster_port: 0,
            bind: vec!["*".to_owned(), "-::*".to_owned()],
            bind_source_addr: None,
            unixsocket: None,
            protected_mode: true,
            requirepass: None,
            masterauth: None,
            masteruser: None,
            users: Vec::new(),
            default_is_restricted: false,
            aclfile: None,
            renamed: BTreeMap::new(),
            announce: Announce::default(),
            node_timeout: Duration::from_secs(15),
            manual_failover_timeout: Duration::from_secs(5),
            persistence: Persistence::default(),
            tls: Tls::default(),
            shutdown_timeout: Duration::from_secs(10),
            shutdown_on_sigterm: vec!["default".to_owned()],
            replica_serve_stale_data: true,
            login_at: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// The name under which `command` is known to the server. `None`: it was renamed to nothing.
    pub fn command<'a>(&'a self, command: &'a str) -> Option<&'a str> {
        match self.renamed.get(&command.to_ascii_uppercase()) {
            None => Some(command),
            Some(name) if name.is_empty() => None,
            Some(name) => Some(name),
        }
    }

    /// The same as a word to send. A command that was renamed to nothing is sent as it is, so that
    /// the server says what is wrong.
    pub fn word(&self, command: &str) -> String {
        self.command(command).unwrap_or(command).to_owned()
    }

    /// How we log in: as the user said, else as the user `default` with `requirepass`, else as a
    /// replica of this server would (`masteruser`, `masterauth`), else not at all. A `masterauth`
    /// alone counts only beside ACL users: a server without any password refuses every one.
    pub fn login(&self, own: &Login) -> Login {
        let as_default = own.username.as_deref().is_none_or(|user| user == "default");
        if own.password != Password::None {
            return own.clone();
        }
        if let Some(password) = &self.requirepass
            && as_default
        {
            return Login {
                password: Password::Value(password.clone()),
                password_by: self.named_at("requirepass"),
                ..own.clone()
            };
        }
        let has_users = !self.users.is_empty() || self.aclfile.is_some();
        let same_user = own.username.is_none() || own.username == self.masteruser;
        let of_replica = self.replica_login();
        let is_login = of_replica.password != Password::None;
        if is_login && same_user && (self.masteruser.is_some() || has_users) {
            of_replica
        } else {
            own.clone()
        }
    }

    /// How a replica logs in to its master: not at all without `masterauth`, whatever `masteruser` is
    /// (`syncWithMaster` in `src/replication.c`).
    pub fn replica_login(&self) -> Login {
        let Some(password) = &self.masterauth else {
            return Login { password_by: "masterauth".to_owned(), ..Login::default() };
        };
        Login {
            username: self.masteruser.clone(),
            password: Password::Value(password.clone()),
            user_by: self.named_at("masteruser"),
            password_by: self.named_at("masterauth"),
        }
    }

    /// An option of a login, and where it is: `requirepass in /conf/redis.conf:3`.
    fn named_at(&self, option: &str) -> String {
        match self.login_at.get(option) {
            Some(at) => format!("{option} in {at}"),
            None => option.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The login, as `user:password`, for `requirepass`, `masteruser`, `masterauth`.
    #[track_caller]
    fn login(own: (Option<&str>, Option<&str>), server: [Option<&str>; 3]) -> String {
        let secret = |text: Option<&str>| text.map(Secret::new);
        let mut config = ServerConfig::defaults(Path::new("/"));
        config.requirepass = secret(server[0]);
        config.masteruser = server[1].map(str::to_owned);
        config.masterauth = secret(server[2]);
        let login = config.login(&Login {
            username: own.0.map(str::to_owned),
            password: secret(own.1).map_or(Password::None, Password::Value),
            ..Login::default()
        });
        let password = match &login.password {
            Password::Value(secret) => String::from_utf8_lossy(secret.expose()).into_owned(),
            other => format!("{other:?}"),
        };
        format!("{}:{password}", login.username.unwrap_or_default())
    }

    #[test]
    fn own_password_wins_then_requirepass_then_the_replica_login() {
        let all = [Some("r"), Some("u"), Some("m")];
        assert_eq!(login((None, Some("own")), all), ":own");
        assert_eq!(login((Some("a"), Some("own")), all), "a:own");
        assert_eq!(login((None, None), all), ":r");
        assert_eq!(login((Some("default"), None), all), "default:r");
        assert_eq!(login((Some("u"), None), all), "u:m");
        assert_eq!(login((Some("a"), None), all), "a:None");
        assert_eq!(login((None, None), [None, Some("u"), Some("m")]), "u:m");
    }

    #[test]
    fn masterauth_of_a_server_without_passwords_is_not_sent() {
        assert_eq!(login((None, None), [None, None, Some("m")]), ":None");
        assert_eq!(login((None, None), [None; 3]), ":None");
    }
}
