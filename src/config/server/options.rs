//! What each option does to the configuration (the table of `config.c`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{AuthClients, Note, SavePoint, ServerConfig, default_user, tokens};
use crate::config::secret::Secret;

/// A configuration while it is read: file names are still as written.
pub struct Options {
    config: ServerConfig,
    /// Whether `save` lines add up (see [`Options::enter_file`]).
    in_file: bool,
    /// Whether a `save` line has been read, which clears the defaults once.
    saved: bool,
}

/// Why a value was not taken. Never holds the value itself, which may be a password.
pub type Why = &'static str;

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        let config = ServerConfig::defaults(Path::new(""));
        Options { config, in_file: false, saved: false }
    }

    /// Notes what was not understood.
    pub fn note(&mut self, note: Note) {
        self.config.notes.push(note);
    }

    /// Notes where an option that was set is, if it is of a login.
    pub fn was_at(&mut self, name: &str, at: &dyn Fn() -> String) {
        let option = match name {
            "requirepass" => "requirepass",
            "masterauth" | "primaryauth" => "masterauth",
            "masteruser" | "primaryuser" => "masteruser",
            _ => return,
        };
        self.config.login_at.insert(option, at());
    }

    /// A file, or the text of an include, begins.
    pub fn enter_file(&mut self) {
        self.in_file = true;
    }

    /// A file ends. Since the server keeps no count of them (7.0+, seen on 7.0.15), the file that
    /// included it goes on as if its `save` lines came from `CONFIG SET`: each replaces all before.
    pub fn leave_file(&mut self) {
        self.in_file = false;
    }

    /// Sets one option; its name in lower case. Options that we have no use for are passed over.
    ///
    /// # Errors
    /// Where the server would refuse the value. The option keeps what it had.
    pub fn set(&mut self, name: &str, values: &[Vec<u8>]) -> Result<(), Why> {
        match (name, values) {
            ("save", values) => self.save(values),
            ("bind", values) => {
                let values = several(values);
                let values = if is_empty(&values) { Vec::new() } else { values };
                self.config.bind = values.iter().map(|value| string(value)).collect();
                Ok(())
            }
            ("shutdown-on-sigterm", values) => self.shutdown(&several(values)),
            ("user", [user, rules @ ..]) => {
                if user == b"default" {
                    let rules = rules.iter().map(|rule| string(rule));
                    self.config.default_is_restricted = !default_user::may_do_all(rules);
                }
                self.config.users.push(string(user));
                Ok(())
            }
            ("rename-command", [old, new]) => {
                self.rename(&string(old), string(new));
                Ok(())
            }
            ("user" | "rename-command" | "include" | "dir", _) => Err("wrong number of values"),
            (_, [value]) => match self.single(name, value) {
                Some(set) => set,
                None => Ok(()),
            },
            // A trial on a copy tells whether the option is one of ours.
            _ => match (Options { config: self.config.clone(), ..*self }).single(name, b"") {
                Some(_) => Err("wrong number of values"),
                None => Ok(()),
            },
        }
    }

    /// Sets an option of one value. `None`: not an option that we know.
    fn single(&mut self, name: &str, value: &[u8]) -> Option<Result<(), Why>> {
        self.network(name, value)
            .or_else(|| self.login(name, value))
            .or_else(|| self.cluster(name, value))
            .or_else(|| self.disk(name, value))
            .or_else(|| self.tls(name, value))
    }

    fn network(&mut self, name: &str, value: &[u8]) -> Option<Result<(), Why>> {
        let config = &mut self.config;
        Some(match name {
            "port" => port(value).map(|port| config.port = port),
            "tls-port" => port(value).map(|port| config.tls_port = port),
            "cluster-port" => port(value).map(|port| config.cluster_port = port),
            "bind-source-addr" => {
                config.bind_source_addr = text(value);
                Ok(())
            }
            "unixsocket" => {
                config.unixsocket = path(value);
                Ok(())
            }
            "protected-mode" => yes(value).map(|yes| config.protected_mode = yes),
            "replica-serve-stale-data" | "slave-serve-stale-data" => {
                yes(value).map(|yes| config.replica_serve_stale_data = yes)
            }
            _ => return None,
        })
    }

    fn login(&mut self, name: &str, value: &[u8]) -> Option<Result<(), Why>> {
        let config = &mut self.config;
        match name {
            "requirepass" => config.requirepass = secret(value),
            "masterauth" | "primaryauth" => config.masterauth = secret(value),
            "masteruser" | "primaryuser" => config.masteruser = text(value),
            "aclfile" => config.aclfile = path(value),
            _ => return None,
        }
        Some(Ok(()))
    }

    fn cluster(&mut self, name: &str, value: &[u8]) -> Option<Result<(), Why>> {
        let config = &mut self.config;
        let announce = &mut config.announce;
        Some(match name {
            "cluster-enabled" => yes(value).map(|yes| config.cluster_enabled = yes),
            "cluster-config-file" => {
                config.nodes_conf = OsStr::from_bytes(value).into();
                Ok(())
            }
            "cluster-node-timeout" => {
                number(value, i64::MAX).map(|ms| config.node_timeout = Duration::from_millis(ms))
            }
            "cluster-manual-failover-timeout" => number(value, i32::MAX.into())
                .map(|ms| config.manual_failover_timeout = Duration::from_millis(ms)),
            "cluster-announce-ip" => {
                announce.ip = text(value);
                Ok(())
            }
            "cluster-announce-hostname" => {
                announce.hostname = text(value);
                Ok(())
            }
            "cluster-announce-port" => port(value).map(|port| announce.port = port),
            "cluster-announce-tls-port" => port(value).map(|port| announce.tls_port = port),
            "cluster-announce-bus-port" => port(value).map(|port| announce.bus_port = port),
            "cluster-announce-client-ipv4" | "cluster-announce-client-ipv6" => {
                announce.to_clients |= text(value).is_some();
                Ok(())
            }
            "cluster-announce-client-port" | "cluster-announce-client-tls-port" => {
                port(value).map(|port| announce.to_clients |= port != 0)
            }
            _ => return None,
        })
    }

    fn disk(&mut self, name: &str, value: &[u8]) -> Option<Result<(), Why>> {
        let config = &mut self.config;
        let persistence = &mut config.persistence;
        Some(match name {
            "appendonly" => yes(value).map(|yes| persistence.appendonly = yes),
            "appendfilename" => file_name(value).map(|name| persistence.appendfilename = name),
            "appenddirname" => file_name(value).map(|name| persistence.appenddirname = name),
            "dbfilename" if value.is_empty() => {
                persistence.dbfilename = String::new();
                Ok(())
            }
            "dbfilename" => file_name(value).map(|name| persistence.dbfilename = name),
            "shutdown-timeout" => number(value, i64::from(i32::MAX))
                .map(|seconds| config.shutdown_timeout = Duration::from_secs(seconds)),
            _ => return None,
        })
    }

    fn tls(&mut self, name: &str, value: &[u8]) -> Option<Result<(), Why>> {
        let tls = &mut self.config.tls;
        match name {
            "tls-cert-file" => tls.cert_file = path(value),
            "tls-key-file" => tls.key_file = path(value),
            "tls-key-file-pass" => tls.key_file_pass = secret(value),
            "tls-client-cert-file" => tls.client_cert_file = path(value),
            "tls-client-key-file" => tls.client_key_file = path(value),
            "tls-client-key-file-pass" => tls.client_key_file_pass = secret(value),
            "tls-ca-cert-file" => tls.ca_cert_file = path(value),
            "tls-ca-cert-dir" => tls.ca_cert_dir = path(value),
            "tls-cluster" => return Some(yes(value).map(|yes| tls.cluster = yes)),
            "tls-replication" => return Some(yes(value).map(|yes| tls.replication = yes)),
            "tls-auth-clients" => {
                return Some(match &*value.to_ascii_lowercase() {
                    b"optional" => {
                        tls.auth_clients = AuthClients::Optional;
                        Ok(())
                    }
                    other => yes(other).map(|yes| {
                        tls.auth_clients = if yes { AuthClients::Yes } else { AuthClients::No };
                    }),
                });
            }
            _ => return None,
        }
        Some(Ok(()))
    }

    fn save(&mut self, values: &[Vec<u8>]) -> Result<(), Why> {
        let why = "not pairs of seconds and changes";
        let values = several(values);
        let none = is_empty(&values);
        let values = if none { Vec::new() } else { values };
        let pairs = values.chunks(2).map(|pair| {
            let [seconds, changes] = pair else { return Err(why) };
            let seconds = save_number(seconds).filter(|&seconds| seconds > 0).ok_or(why)?;
            Ok(SavePoint { seconds, changes: save_number(changes).ok_or(why)? })
        });
        let points = pairs.collect::<Result<Vec<_>, Why>>()?;
        if !self.in_file || !self.saved || none {
            self.config.persistence.save.clear();
        }
        self.saved |= self.in_file;
        self.config.persistence.save.extend(points);
        Ok(())
    }

    /// Flags that add up; kept in the order in which the server names them.
    fn shutdown(&mut self, values: &[Vec<u8>]) -> Result<(), Why> {
        const FLAGS: [&str; 6] = ["save", "nosave", "now", "force", "safe", "failover"];
        let words: Vec<_> = values.iter().map(|value| string(value).to_ascii_lowercase()).collect();
        if words.is_empty() {
            return Err("wrong number of values");
        }
        if !words.iter().all(|word| word == "default" || FLAGS.contains(&&**word)) {
            return Err("an unknown flag");
        }
        let mut flags: Vec<_> = FLAGS.map(str::to_owned).to_vec();
        flags.retain(|flag| words.contains(flag));
        if flags.starts_with(&["save".to_owned(), "nosave".to_owned()]) {
            return Err("save and nosave exclude each other");
        }
        if flags.is_empty() {
            flags.push("default".to_owned());
        }
        self.config.shutdown_on_sigterm = flags;
        Ok(())
    }

    /// A command that was renamed before is known by its new name only.
    fn rename(&mut self, old: &str, new: String) {
        let renamed = &mut self.config.renamed;
        let mut known = renamed.iter_mut().map(|(_, name)| name);
        match known.find(|name| !name.is_empty() && name.eq_ignore_ascii_case(old)) {
            Some(name) => *name = new,
            None => {
                renamed.insert(old.to_ascii_uppercase(), new);
            }
        }
    }

    /// The configuration, with every file name absolute: the server opens them once all options
    /// are read, so all are relative to the last `dir`.
    pub fn finish(self, dir: PathBuf) -> ServerConfig {
        let mut config = self.config;
        let tls = &mut config.tls;
        let files = [
            &mut config.unixsocket,
            &mut config.aclfile,
            &mut tls.cert_file,
            &mut tls.key_file,
            &mut tls.client_cert_file,
            &mut tls.client_key_file,
            &mut tls.ca_cert_file,
            &mut tls.ca_cert_dir,
        ];
        for file in files.into_iter().flatten() {
            *file = dir.join(&*file);
        }
        // An empty name is refused in cluster mode only, and only once it is opened.
        if config.nodes_conf.as_os_str().is_empty() {
            config.nodes_conf = ServerConfig::defaults(Path::new("")).nodes_conf;
            if config.cluster_enabled {
                let at = "cluster-config-file".to_owned();
                config.notes.push(Note { at, what: "empty".to_owned() });
            }
        }
        config.nodes_conf = dir.join(&config.nodes_conf);
        config.dir = dir;
        config
    }
}

/// A single empty value stands for none at all.
fn is_empty(values: &[Vec<u8>]) -> bool {
    matches!(values, [only] if only.is_empty())
}

/// The values of an option that takes several: one alone is split once more, and is none at all
/// where it cannot be (7.0+).
fn several(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match values {
        [only] if !only.is_empty() => tokens::split(only).unwrap_or_default(),
        _ => values.to_vec(),
    }
}

fn string(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn text(value: &[u8]) -> Option<String> {
    (!value.is_empty()).then(|| string(value))
}

fn secret(value: &[u8]) -> Option<Secret> {
    (!value.is_empty()).then(|| Secret::new(value))
}

fn path(value: &[u8]) -> Option<PathBuf> {
    (!value.is_empty()).then(|| OsStr::from_bytes(value).into())
}

/// `pathIsBaseName`: slashes of neither kind.
fn file_name(value: &[u8]) -> Result<String, Why> {
    match value.is_empty() || value.iter().any(|byte| b"/\\".contains(byte)) {
        true => Err("not a file name without a directory"),
        false => Ok(string(value)),
    }
}

fn yes(value: &[u8]) -> Result<bool, Why> {
    match &*value.to_ascii_lowercase() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err("neither yes nor no"),
    }
}

fn port(value: &[u8]) -> Result<u16, Why> {
    let port = number(value, i64::from(u16::MAX)).map_err(|_| "not a port from 0 to 65535")?;
    u16::try_from(port).map_err(|_| "not a port from 0 to 65535")
}

/// `string2ll`: digits alone, and no zero in front.
fn number(value: &[u8], max: i64) -> Result<u64, Why> {
    let why = "not a whole number in range";
    let digits = std::str::from_utf8(value).map_err(|_| why)?;
    let canonical = digits == "0" || !digits.starts_with(['0', '+']);
    let number = digits.parse::<u64>().map_err(|_| why)?;
    (canonical && number <= max.unsigned_abs()).then_some(number).ok_or(why)
}

/// `strtoll`: blanks and a sign are taken, and nothing is 0.
fn save_number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim_ascii_start();
    match text {
        "" if value.is_empty() => Some(0),
        _ => text.parse::<i64>().ok()?.try_into().ok(),
    }
}
