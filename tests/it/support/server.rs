//! The Redis and Valkey versions to test against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::run;

/// One version of a server, with the client that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Kind and version, as in `redis-7.0` or `valkey-9.1`.
    pub name: String,
    /// Major and minor version.
    pub version: (u32, u32),
    /// The program `redis-server` or `valkey-server`.
    pub bin: PathBuf,
    /// The program `redis-cli` or `valkey-cli`.
    pub cli: PathBuf,
}

/// All the versions that this machine has, oldest Redis first: those in the directory that
/// `REJOIN_SERVERS` names or `scripts/servers` filled, else the one in `PATH`. Of these only the one
/// that `REJOIN_TEST_SERVER` names, if it does.
///
/// # Panics
/// When there is none at all.
pub fn servers() -> Vec<Server> {
    let fetched = std::env::var_os("REJOIN_SERVERS")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join("servers"));
    let mut found: Vec<Server> = fs::read_dir(fetched)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let bin = entry.path().join("bin");
            server(bin.join("redis-server")).or_else(|| server(bin.join("valkey-server")))
        })
        .collect();
    found.sort_by(|a, b| (a.kind(), a.version).cmp(&(b.kind(), b.version)));
    if found.is_empty() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        found.extend(
            ["redis-server", "valkey-server"]
                .iter()
                .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
                .find_map(server),
        );
    }
    if let Some(only) = std::env::var("REJOIN_TEST_SERVER").ok().filter(|only| !only.is_empty()) {
        found.retain(|server| server.name == only);
    }
    assert!(!found.is_empty(), "no redis-server or valkey-server: run scripts/setup");
    found
}

/// The version for what is tested once only: the oldest Redis.
pub fn any_server() -> Server {
    servers().swap_remove(0)
}

impl Server {
    /// `redis` or `valkey`.
    pub fn kind(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }

    /// Whether it was built with TLS, by the name of an option.
    pub fn has_tls(&self) -> bool {
        let program = fs::read(&self.bin).expect("it can be read");
        String::from_utf8_lossy(&program).contains("tls-auth-clients")
    }

    /// Whether the version number is at least this one. It holds across kinds up to 7.2, from
    /// which Valkey went its own way.
    pub fn is_at_least(&self, version: (u32, u32)) -> bool {
        self.version >= version
    }
}

/// The server at this path, if there is one and it runs.
fn server(bin: PathBuf) -> Option<Server> {
    if !bin.is_file() {
        return None;
    }
    let kind = bin.file_name()?.to_str()?.strip_suffix("-server")?.to_owned();
    let output = run(Command::new(&bin).arg("--version"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, version) = text.split_once("v=")?;
    let mut parts = version.split(['.', ' ']).map(str::parse);
    let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let cli = bin.with_file_name(format!("{kind}-cli"));
    Some(Server { name: format!("{kind}-{major}.{minor}"), version: (major, minor), bin, cli })
}
