//! The configuration that we read, beside the one that a real server says it runs with.

#![allow(clippy::unwrap_used, reason = "what is missing here fails the test, as it should")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rejoin::config::secret::Secret;
use rejoin::config::server::dial::Dial;
use rejoin::config::server::files::Disk;
use rejoin::config::server::load::ServerConfigError;
use rejoin::config::server::{AuthClients, ServerConfig};

/// A directory with configuration files, and perhaps a server started in it. Owns all of them.
struct Case {
    dir: tempfile::TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl Drop for Case {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Case {
    /// Files by name, and the arguments; in both `{dir}` is the directory and `{ip}` a loopback
    /// address of this process alone, so that ports never clash.
    fn new(files: &[(&str, &str)], args: &[&str]) -> Case {
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

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    /// What we make of it.
    fn read(&self) -> Result<ServerConfig, ServerConfigError> {
        let program = std::iter::once(OsString::from("redis-server"));
        let command: Vec<_> = program.chain(self.args.iter().map(Into::into)).collect();
        ServerConfig::read(&command, None, &self.root(), &Disk).map(|config| config.unwrap())
    }

    #[allow(clippy::disallowed_methods, reason = "no init runs here; the guard waits for it")]
    fn start(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("test.log")).unwrap();
        let child = Command::new("redis-server")
            .args(&self.args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("test.log")).unwrap_or_default()
    }

    /// What the server makes of it: every name and value of `CONFIG GET *`.
    fn ask(&mut self, config: &ServerConfig) -> BTreeMap<String, String> {
        let socket = config.unixsocket.clone().expect("each case sets a socket");
        let command = config.command("CONFIG").expect("still there").to_owned();
        poll("the server to answer on its socket", self, |case| {
            let mut stream = UnixStream::connect(&socket).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            if let Some(password) = &config.requirepass {
                send(&mut stream, &[b"AUTH", password.expose()]);
                let mut answer = [0; 5];
                stream.read_exact(&mut answer).ok()?;
                assert_eq!(&answer, b"+OK\r\n", "{}", case.log());
            }
            send(&mut stream, &[command.as_bytes(), b"GET", b"*"]);
            receive(stream)
        })
    }

    fn exit(&mut self) -> ExitStatus {
        poll("the server to exit", self, |case| case.child.as_mut().unwrap().try_wait().unwrap())
    }
}

#[allow(clippy::disallowed_methods, reason = "the pause between two looks at a state")]
fn poll<T>(what: &str, case: &mut Case, mut look: impl FnMut(&mut Case) -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look(case) {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}:\n{}", case.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn send(stream: &mut UnixStream, words: &[&[u8]]) {
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

/// Our fields under the server's names, in the server's spelling. Names of files are absolute.
fn fields(config: &ServerConfig) -> BTreeMap<&'static str, String> {
    let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
    let path = |path: &Option<PathBuf>| {
        path.as_ref().map(|path| path.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let secret = |secret: &Option<Secret>| {
        let bytes = secret.as_ref().map(|secret| secret.expose().to_vec()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let save = &config.persistence.save;
    let save: Vec<_> = save.iter().map(|at| format!("{} {}", at.seconds, at.changes)).collect();
    let (announce, persistence, tls) = (&config.announce, &config.persistence, &config.tls);
    BTreeMap::from([
        ("dir", config.dir.to_str().unwrap().to_owned()),
        ("cluster-config-file", config.nodes_conf.to_str().unwrap().to_owned()),
        ("cluster-enabled", yes(config.cluster_enabled)),
        ("port", config.port.to_string()),
        ("tls-port", config.tls_port.to_string()),
        ("cluster-port", config.cluster_port.to_string()),
        ("bind", config.bind.join(" ")),
        ("bind-source-addr", text(&config.bind_source_addr)),
        ("unixsocket", path(&config.unixsocket)),
        ("protected-mode", yes(config.protected_mode)),
        ("requirepass", secret(&config.requirepass)),
        ("masterauth", secret(&config.masterauth)),
        ("masteruser", text(&config.masteruser)),
        ("aclfile", path(&config.aclfile)),
        ("cluster-announce-ip", text(&announce.ip)),
        ("cluster-announce-port", announce.port.to_string()),
        ("cluster-announce-tls-port", announce.tls_port.to_string()),
        ("cluster-announce-bus-port", announce.bus_port.to_string()),
        ("cluster-announce-hostname", text(&announce.hostname)),
        ("cluster-node-timeout", config.node_timeout.as_millis().to_string()),
        ("appendonly", yes(persistence.appendonly)),
        ("appendfilename", persistence.appendfilename.clone()),
        ("appenddirname", persistence.appenddirname.clone()),
        ("dbfilename", persistence.dbfilename.clone()),
        ("save", save.join(" ")),
        ("tls-cert-file", path(&tls.cert_file)),
        ("tls-key-file", path(&tls.key_file)),
        ("tls-key-file-pass", secret(&tls.key_file_pass)),
        ("tls-client-cert-file", path(&tls.client_cert_file)),
        ("tls-client-key-file", path(&tls.client_key_file)),
        ("tls-client-key-file-pass", secret(&tls.client_key_file_pass)),
        ("tls-ca-cert-file", path(&tls.ca_cert_file)),
        ("tls-ca-cert-dir", path(&tls.ca_cert_dir)),
        ("tls-auth-clients", {
            match tls.auth_clients {
                AuthClients::Yes => "yes",
                AuthClients::No => "no",
                AuthClients::Optional => "optional",
            }
            .to_owned()
        }),
        ("tls-cluster", yes(tls.cluster)),
        ("tls-replication", yes(tls.replication)),
        ("shutdown-timeout", config.shutdown_timeout.as_secs().to_string()),
        ("shutdown-on-sigterm", config.shutdown_on_sigterm.join(" ")),
        ("replica-serve-stale-data", yes(config.replica_serve_stale_data)),
    ])
}

/// The server's answer for our fields; names of files made absolute, as ours are.
fn server_fields(
    names: &BTreeMap<&'static str, String>,
    live: &BTreeMap<String, String>,
) -> BTreeMap<&'static str, String> {
    const FILES: [&str; 9] = [
        "cluster-config-file",
        "unixsocket",
        "aclfile",
        "tls-cert-file",
        "tls-key-file",
        "tls-client-cert-file",
        "tls-client-key-file",
        "tls-ca-cert-file",
        "tls-ca-cert-dir",
    ];
    let dir = Path::new(&live["dir"]);
    let value = |name: &&'static str| match live[*name].as_str() {
        file if FILES.contains(name) && !file.is_empty() => {
            dir.join(file).to_str().unwrap().to_owned()
        }
        value => value.to_owned(),
    };
    names.keys().map(|name| (*name, value(name))).collect()
}

/// Starts a real server and compares every field.
#[track_caller]
fn agrees(files: &[(&str, &str)], args: &[&str]) -> ServerConfig {
    let mut case = Case::new(files, args);
    let config = case.read().unwrap();
    case.start();
    let live = case.ask(&config);
    let ours = fields(&config);
    assert_eq!(ours, server_fields(&ours, &live), "{}", case.log());
    assert_eq!(config.notes, []);
    if config.cluster_enabled {
        assert!(config.nodes_conf.is_file(), "{}", config.nodes_conf.display());
    }
    let tcp = config.dial().into_iter().find_map(|dial| match dial {
        Dial::Tcp(address) => Some(address),
        _ => None,
    });
    if let Some(address) = tcp {
        std::net::TcpStream::connect(address).unwrap();
    }
    config
}

#[test]
fn options_alone_are_read_as_the_server_reads_them() {
    agrees(&[], &["--unixsocket", "s", "--port", "0"]);
    agrees(&[], &["--bind", "{ip}", "-::*", "--unixsocket s", "--SAVE", "--Dir", "{dir}"]);
    agrees(&[], &["--port", "0", "--unixsocket", "s", "--requirepass", "--x y\"\n\\", "--save"]);
    agrees(&[], &["--port", "0", "--unixsocket", "s", "--save", ""]);
    agrees(&[], &["--bind", "{ip} -::1", "--unixsocket", "s", "--save", "60 1 30 2"]);
    agrees(&[], &["--port", "0", "--save", "60", "1", "--save", "5", "2", "--unixsocket", "s"]);
}

#[test]
fn file_with_odd_lines_is_read_as_the_server_reads_it() {
    let text = "\
# comment\r\n\
\t PORT\t0  \r\n\
   \n\
unixsocket \"s\"\n\
requirepass \"a\\x20\\\"b\\q\"\n\
masterauth 'it\\'s'\n\
masteruser pre\"fix\"\n\
tls-key-file-pass \"\"\n\
tls-client-key-file-pass x\n\
save 900 1\n\
save \"\"\n\
save 60 2 30 4\n\
slave-serve-stale-data NO\n\
shutdown-on-sigterm NOW force\n\
shutdown-timeout 3\n\
tls-auth-clients Optional\n\
tls-cluster no\n\
bind-source-addr {ip}\n\
protected-mode no\n\
user alice on >secret ~* +@all\n\
rename-command CONFIG C1\n\
rename-command C1 C2\n\
client-output-buffer-limit normal 0 0 0\n\
appendfilename 'a b'\n\
appenddirname d\n\
dbfilename x.rdb";
    let config = agrees(&[("r.conf", text)], &["r.conf", "--port", "0"]);
    assert_eq!(config.command("config"), Some("C2"));
    assert_eq!(config.users, ["alice"]);
}

#[test]
fn cluster_options_and_directories_are_read_as_the_server_reads_them() {
    let files = [
        ("r.conf", "include conf.d/*.conf\nport 1\ninclude late.conf\nport 7000\nbind {ip}\n"),
        ("conf.d/1.conf", "cluster-enabled yes\ncluster-node-timeout 5000\ndir data\n"),
        ("conf.d/2.conf", "cluster-config-file sub/n.conf\nappendonly yes\n"),
        ("conf.d/.hidden.conf", "port x\n"),
        ("data/late.conf", "cluster-announce-ip 10.1.2.3\ncluster-announce-port 1\n"),
        ("data/sub/x", ""),
    ];
    let args = [
        "r.conf",
        "--unixsocket",
        "s",
        "--cluster-announce-bus-port",
        "2",
        "--cluster-announce-tls-port",
        "3",
        "--cluster-announce-hostname",
        "a.b",
        "--cluster-port",
        "7001",
    ];
    let config = agrees(&files, &args);
    assert!(config.nodes_conf.ends_with("data/sub/n.conf"));
}

#[test]
fn directory_behind_a_link_is_named_as_the_server_names_it() {
    let mut case = Case::new(
        &[("a/real/x", "")],
        &["--port", "0", "--dir", "{dir}/link", "--dir", "..", "--unixsocket", "s"],
    );
    std::os::unix::fs::symlink("a/real", case.root().join("link")).unwrap();
    let config = case.read().unwrap();
    case.start();
    let live = case.ask(&config);
    assert_eq!(config.dir.to_str().unwrap(), live["dir"]);
    assert_eq!(config.dir, case.root().join("a"));
}

#[test]
fn save_lines_after_an_include_are_read_as_the_server_reads_them() {
    let files = [
        ("r.conf", "port 0\nunixsocket s\nsave 9 9\ninclude i.conf\nsave 5 5\nsave 6 6\n"),
        ("i.conf", "save 1 1\nsave 2 2"),
    ];
    let config = agrees(&files, &["r.conf"]);
    assert_eq!(config.persistence.save.len(), 1);
}

#[test]
fn what_the_server_refuses_is_noted_or_an_error() {
    for text in [
        "port 01",
        "port +1",
        "port 65536",
        "port -1",
        "port 1 2",
        "port",
        "cluster-enabled maybe",
        "requirepass \"open",
        "requirepass \"a\"b",
        "save 60",
        "save 0 1",
        "save a b",
        "appendfilename a/b",
        "appendfilename \"\"",
        "dbfilename a/b",
        "cluster-node-timeout 1s",
        "shutdown-timeout -1",
        "tls-auth-clients some",
        "rename-command CONFIG",
        "user",
        "include",
        "dir a b",
        "dir none",
        "dir \"\"",
        "include none",
        "include \"\"",
    ] {
        let mut case = Case::new(&[("r.conf", text)], &["r.conf"]);
        assert!(case.read().map_or(true, |config| config.notes.len() == 1), "{text}");
        case.start();
        assert_eq!(case.exit().code(), Some(1), "{text}: {}", case.log());
    }
}

/// Words as they may stand in a file: plain, quoted in either way, glued, torn.
const WORDS: &[&str] = &[
    "0",
    "00",
    "7",
    "-1",
    "+5",
    "5000",
    "70000",
    "yes",
    "NO",
    "\"\"",
    "''",
    "a",
    "\"a b\"",
    "'it\\'s'",
    "\"\\x41\\n\"",
    "a\"b\"",
    "\"a\"b",
    "\"open",
    "#",
    "a/b",
    "{ip}",
    "one",
    "{dir}/one",
    "..",
    "now",
    "force",
    "default",
    "save",
    "nosave",
    "*.conf",
    "one/i.conf",
    "60",
    "60 1",
    "\"60 1\"",
    "\" \"",
    "optional",
    "--port",
];

/// Options that are ours, and whose values are judged when they are read and not later.
const NAMES: &[&str] = &[
    "PORT",
    "appenddirname",
    "appendfilename",
    "bind-source-addr",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-config-file",
    "cluster-node-timeout",
    "cluster-port",
    "dbfilename",
    "dir",
    "include",
    "masterauth",
    "masteruser",
    "port",
    "protected-mode",
    "requirepass",
    "save",
    "shutdown-on-sigterm",
    "shutdown-timeout",
    "slave-serve-stale-data",
    "tls-auth-clients",
    "tls-ca-cert-file",
    "tls-cluster",
];

/// Up to three options, each with up to two words.
fn options() -> impl Strategy<Value = Vec<(&'static str, Vec<&'static str>)>> {
    let words = prop::collection::vec(prop::sample::select(WORDS), 0..3);
    prop::collection::vec((prop::sample::select(NAMES), words), 0..4)
}

/// Both agree on every value, or the server refuses and we have noted something.
fn agree_or_refuse(case: &mut Case) -> Result<(), TestCaseError> {
    let read = case.read();
    case.start();
    let refused = poll("the server to exit or listen", case, |case| {
        let exited = case.child.as_mut().unwrap().try_wait().unwrap().is_some();
        let listens = UnixStream::connect(case.root().join("s")).is_ok();
        (exited || listens).then_some(exited)
    });
    match read {
        Ok(config) if config.notes.is_empty() => {
            prop_assert!(!refused, "refused:\n{}", case.log());
            let live = case.ask(&config);
            let ours = fields(&config);
            prop_assert_eq!(&ours, &server_fields(&ours, &live));
        }
        other => prop_assert!(refused, "taken, but for us it is {other:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn random_configuration_is_read_as_the_server_reads_it(
        lines in options(),
        args in options(),
    ) {
        let lines = lines.iter().map(|(name, words)| format!("{name} {}\n", words.join(" ")));
        let text = "port 0\nbind {ip}\nunixsocket {dir}/s\n".to_owned() + &lines.collect::<String>();
        let included = "save 3 3\nport 0\ninclude *.none\nsave 4 4";
        let files = [("r.conf", &*text), ("one/i.conf", included), ("one/one/x.conf", "")];
        let args = args.iter().flat_map(|(name, words)| {
            std::iter::once(format!("--{name}")).chain(words.iter().map(ToString::to_string))
        });
        let args: Vec<_> = std::iter::once("r.conf".to_owned()).chain(args).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        agree_or_refuse(&mut Case::new(&files, &args))?;
    }
}

#[test]
fn append_only_server_loads_no_snapshot() {
    // What `Persistence::appendonly` says of the empty-master guard's question.
    let mut case = Case::new(&[], &["--port", "0", "--unixsocket", "s", "--save", ""]);
    let config = case.read().unwrap();
    case.start();
    case.ask(&config);
    let mut stream = UnixStream::connect(config.unixsocket.as_ref().unwrap()).unwrap();
    send(&mut stream, &[b"SET", b"k", b"v"]);
    send(&mut stream, &[b"SAVE"]);
    let mut answers = [0; 10];
    stream.read_exact(&mut answers).unwrap();
    assert_eq!(&answers, b"+OK\r\n+OK\r\n");
    let mut child = case.child.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(config.dir.join(&config.persistence.dbfilename).is_file());
    case.args.extend(["--appendonly".to_owned(), "yes".to_owned()]);
    let config = case.read().unwrap();
    case.start();
    case.ask(&config);
    let mut stream = UnixStream::connect(config.unixsocket.as_ref().unwrap()).unwrap();
    send(&mut stream, &[b"DBSIZE"]);
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b":0\r\n");
}
