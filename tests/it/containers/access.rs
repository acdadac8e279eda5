//! How the tests themselves get into servers that are locked: by `redis-cli`, with what the Secrets
//! of the overlay hold.

use std::fs;
use std::io::{Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::manifests::rendered::{Files, Rendered};
use crate::support::process::run;
use crate::support::server::any_server;

use super::set::PORT;

/// As what user the tests ask what `rejoin` may ask, and as whom they read and write keys.
pub const USERS: [&str; 2] = ["rejoin", "app"];
/// Who may do all.
pub const ADMIN: &str = "admin";

/// The port at which the tests ask a server.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// It speaks TLS.
    pub tls: bool,
}

impl Port {
    /// That of pods which this is applied to: where there are two, the one by which `rejoin` asks.
    pub fn of(rendered: &Rendered) -> Self {
        // `tls.conf` comes after `redis.conf`, here as for the server.
        let lines = rendered.config.values().flat_map(Files::values).flat_map(|text| text.lines());
        let option = |name: &str| {
            let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
            lines.clone().filter_map(value).next_back()
        };
        let number = |name: &str| option(name).map(|value| value.parse().expect("a number"));
        let (plain, secret) = (number("port").unwrap_or(PORT), number("tls-port"));
        let bus = option("tls-cluster").is_some_and(|value| value == "yes");
        match secret {
            Some(number) if plain == 0 || bus => Self { number, tls: true },
            _ => Self { number: plain, tls: false },
        }
    }
}

/// The keys to a locked set.
#[derive(Debug)]
pub struct Access {
    cli: PathBuf,
    /// The files of the Secret `redis-tls`, where the server speaks TLS only.
    tls: Option<TempDir>,
    /// The Secret `redis-auth`, where the server has users.
    users: Option<Files>,
    /// The password of the user `default`, as the Secret of the Bitnami chart has it.
    password: Option<String>,
}

impl Access {
    /// Of the Secrets that this is applied with. `None`: nothing is locked.
    pub fn of(rendered: &Rendered) -> Option<Self> {
        if rendered.secrets.is_empty() {
            return None;
        }
        let is_tls = Port::of(rendered).tls;
        let tls = rendered.secrets.get("redis-tls").filter(|_| is_tls).map(written);
        let users = rendered.secrets.get("redis-auth").cloned();
        let password = rendered.secrets.values().find_map(|files| files.get("redis-password"));
        Some(Self { cli: any_server().cli, tls, users, password: password.cloned() })
    }

    /// The directory with the files of the Secret `redis-tls`.
    pub fn tls_dir(&self) -> Option<&Path> {
        self.tls.as_ref().map(TempDir::path)
    }

    /// `redis-cli` to the server at `to`, as this user where there are users.
    pub fn command(&self, to: SocketAddr, user: &str) -> Command {
        // It has no limit of its own for an answer.
        let mut command = Command::new("timeout");
        command.arg("5").arg(&self.cli).args(["-e", "-h", &to.ip().to_string()]);
        command.args(["-p", &to.port().to_string()]);
        if let Some(dir) = self.tls_dir() {
            command.arg("--tls").arg("--cacert").arg(dir.join("ca.crt"));
            command.arg("--cert").arg(dir.join("tls.crt")).arg("--key").arg(dir.join("tls.key"));
        }
        if let Some(users) = &self.users {
            command.env("REDISCLI_AUTH", &users[user]).args(["--user", user]);
        } else if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        command
    }

    /// The answer of the server at `to`, as text.
    ///
    /// # Errors
    /// What the server or the network says.
    pub fn ask(&self, to: SocketAddr, user: &str, args: &[&str]) -> Result<String, String> {
        said(&run(self.command(to, user).args(args)))
            .map_err(|said| format!("{to}: {args:?}: {said}"))
    }

    /// Sends commands, each on a line, to the cluster that the server at `to` is in, and gives what
    /// is answered, a line each.
    ///
    /// # Errors
    /// What the server or the network says.
    pub fn play(&self, to: SocketAddr, lines: &str) -> Result<Vec<String>, String> {
        let answers = fed(self.command(to, USERS[1]).arg("-c"), lines)?;
        // It says where it was sent on to, too.
        Ok(answers.lines().filter(|line| !line.starts_with("-> ")).map(str::to_owned).collect())
    }

    /// Sends commands, each on a line, to the server at `to` over one connection, as [`ADMIN`].
    ///
    /// # Errors
    /// What the server or the network says.
    pub fn order(&self, to: SocketAddr, lines: &str) -> Result<String, String> {
        fed(&mut self.command(to, ADMIN), lines)
    }

    /// The same keys where a server that ought to speak TLS does not.
    pub fn in_plain_text(&self) -> Self {
        Self {
            cli: self.cli.clone(),
            tls: None,
            users: self.users.clone(),
            password: self.password.clone(),
        }
    }
}

/// What `openssl` says of a TLS 1.2 handshake with a server, with the files in `certificate` or
/// none, if it comes to its end. (In TLS 1.3 a client is refused only after the handshake.)
pub fn handshake(to: SocketAddr, ca: &Path, certificate: Option<&Path>) -> Option<String> {
    let mut openssl = Command::new("timeout");
    openssl.args(["20", "openssl", "s_client", "-tls1_2", "-verify_return_error", "-connect"]);
    openssl.arg(to.to_string()).arg("-CAfile").arg(ca.join("ca.crt"));
    if let Some(dir) = certificate {
        openssl.arg("-cert").arg(dir.join("tls.crt")).arg("-key").arg(dir.join("tls.key"));
    }
    let output = run(openssl.stdin(Stdio::null()));
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A directory with these files.
pub fn written(files: &Files) -> TempDir {
    let dir = tempfile::tempdir().expect("the directory for temporary files is writable");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("the test's directory is writable");
    }
    dir
}

/// What `redis-cli` says when it gets these lines.
fn fed(command: &mut Command, lines: &str) -> Result<String, String> {
    let mut file = tempfile::tempfile().map_err(|error| error.to_string())?;
    file.write_all(lines.as_bytes()).map_err(|error| error.to_string())?;
    file.rewind().map_err(|error| error.to_string())?;
    said(&run(command.stdin(file)))
}

fn said(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() { Ok(out) } else { Err(format!("{}: {out} {err}", output.status)) }
}
