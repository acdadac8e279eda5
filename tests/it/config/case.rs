//! Configuration files in a directory of their own, and a real server that reads them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rejoin::config::server::ServerConfig;
use rejoin::config::server::files::Disk;
use rejoin::config::server::load::ServerConfigError;

use crate::support::process::spawn;
use crate::support::wait::wait_ok;

/// Longer than any server takes to read its configuration.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A directory with configuration files, and perhaps a server started in it. Owns all of them.
pub struct Case {
    dir: tempfile::TempDir,
    /// What follows the name of the server.
    pub args: Vec<String>,
    child: Option<Child>,
}

impl Drop for Case {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Case {
    /// Files by name, and the arguments; in both `{dir}` is the directory and `{ip}` a loopback
    /// address of this process alone, so that ports never clash.
    pub fn new(files: &[(&str, &str)], args: &[&str]) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let [high, low] = u16::try_from(std::process::id() % 65521).unwrap().to_be_bytes();
        let ip = format!("127.77.{high}.{}", low.max(1));
        let root = dir.path().canonicalize().unwrap();
        let fill = |text: &str| text.replace("{dir}", root.to_str().unwrap()).replace("{ip}", &ip);
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, fill(text)).unwrap();
        }
        Case { args: args.iter().map(|arg| fill(arg)).collect(), dir, child: None }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    /// What we make of it.
    pub fn read(&self) -> Result<ServerConfig, ServerConfigError> {
        let program = std::iter::once(OsString::from("redis-server"));
        let command: Vec<_> = program.chain(self.args.iter().map(Into::into)).collect();
        ServerConfig::read(&command, None, &self.root(), &Disk).map(|config| config.unwrap())
    }

    pub fn start(&mut self) {
        let log = File::create(self.dir.path().join("test.log")).unwrap();
        let mut command = Command::new("redis-server");
        command.args(&self.args).current_dir(self.dir.path()).stdin(Stdio::null());
        self.child = Some(spawn(command.stdout(log.try_clone().unwrap()).stderr(log)));
    }

    /// Kills the server, where one runs.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("test.log")).unwrap_or_default()
    }

    /// What the server makes of it: every name and value of `CONFIG GET *`.
    pub fn ask(&mut self, config: &ServerConfig) -> BTreeMap<String, String> {
        let socket = config.unixsocket.clone().expect("each case sets a socket");
        let command = config.command("CONFIG").expect("still there").to_owned();
        let ask = || {
            let mut stream = UnixStream::connect(&socket).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            if let Some(password) = &config.requirepass {
                send(&mut stream, &[b"AUTH", password.expose()]);
                let mut answer = [0; 5];
                stream.read_exact(&mut answer).ok()?;
                assert_eq!(&answer, b"+OK\r\n", "{}", self.log());
            }
            send(&mut stream, &[command.as_bytes(), b"GET", b"*"]);
            receive(stream)
        };
        wait_ok(LIMIT, "the server to answer on its socket", || ask().ok_or_else(|| self.log()))
    }

    /// Waits for the server to end by itself.
    pub fn exit(&mut self) -> ExitStatus {
        wait_ok(LIMIT, "the server to exit", || self.has_ended().ok_or_else(|| self.log()))
    }

    /// How the server has ended, where it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().unwrap().try_wait().unwrap()
    }
}

/// Sends one command.
pub fn send(stream: &mut UnixStream, words: &[&[u8]]) {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend(format!("${}\r\n", word.len()).into_bytes());
        request.extend([word, &b"\r\n"[..]].concat());
    }
    stream.write_all(&request).unwrap();
}

/// An array of names and values. `None`: an error, or not yet an answer.
fn receive(stream: UnixStream) -> Option<BTreeMap<String, String>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let count: usize = line.trim().strip_prefix('*')?.parse().ok()?;
    let mut strings = Vec::new();
    for _ in 0..count {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let length: usize = line.trim().strip_prefix('$')?.parse().ok()?;
        let mut bytes = vec![0; length + 2];
        reader.read_exact(&mut bytes).ok()?;
        strings.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
    }
    Some(strings.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}
