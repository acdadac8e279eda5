//! The configuration that we read, beside the one that a real server says it runs with.

#![allow(clippy::unwrap_used, reason = "what is missing here fails the test, as it should")]

mod case;
mod fields;
mod random;

use std::io::Read;
use std::os::unix::net::UnixStream;

use rejoin::config::server::ServerConfig;
use rejoin::config::server::dial::Dial;

use case::{Case, send};
use fields::{fields, server_fields};

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
        "cluster-config-file \"\"\ncluster-enabled yes\nbind {ip}",
    ] {
        let mut case = Case::new(&[("r.conf", text)], &["r.conf"]);
        assert!(case.read().map_or(true, |config| config.notes.len() == 1), "{text}");
        case.start();
        assert_eq!(case.exit().code(), Some(1), "{text}: {}", case.log());
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
    case.kill();
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
