//! Real servers on corrected files: they start, and every id, role and slot is still there.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rejoin::nodes_conf::{Node, SlotRange, parse, parse_reply, with_own_ip};

use super::{fixture, names};

/// The address that is written into the files; nobody has it.
const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

/// A server process, its directory and its log. Killed when dropped.
struct Server {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Server {
    /// Starts `program` on a `nodes.conf`.
    fn start(program: &Path, nodes_conf: &[u8]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("nodes.conf"), nodes_conf).expect("write");
        let log = File::create(directory.path().join("log")).expect("a log");
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--cluster-enabled", "yes", "--save", ""]);
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(directory.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        #[allow(clippy::disallowed_methods, reason = "a test has no init that could spawn")]
        let child = command.spawn().expect("the server starts");
        Self { child, port, directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The reply to `CLUSTER NODES`, as soon as there is one.
    #[track_caller]
    fn nodes(&mut self) -> Vec<Node> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let reply = ask(self.port);
            if let Ok(reply) = &reply {
                return parse_reply(reply).unwrap_or_else(|error| panic!("{error}"));
            }
            let ended = self.child.try_wait().expect("wait");
            let over = ended.is_some() || Instant::now() > deadline;
            assert!(!over, "{reply:?}, exit {ended:?}\n{}", self.log());
            #[allow(clippy::disallowed_methods, reason = "between two looks at a state")]
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free together with its bus port.
fn free_port() -> u16 {
    for _ in 0..1000 {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        let bus = port.checked_add(10000);
        if bus.is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
    panic!("no port is free together with its bus port");
}

/// Sends `CLUSTER NODES` and reads the reply.
fn ask(port: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"CLUSTER NODES\r\n")?;
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    stream.read_line(&mut head)?;
    let length = head.trim_end().strip_prefix('$').and_then(|length| length.parse().ok());
    let length: usize = length.ok_or_else(|| std::io::Error::other(head))?;
    let mut reply = vec![0; length];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// The servers that are here, with the start of their fixtures' names: those under
/// `REJOIN_SERVERS` or `target/servers`, else the one in `PATH`.
fn servers() -> Vec<(String, PathBuf)> {
    let fetched = std::env::var_os("REJOIN_SERVERS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers"),
        PathBuf::from,
    );
    let mut found = Vec::new();
    for entry in fs::read_dir(fetched).into_iter().flatten().flatten() {
        let version = entry.file_name().into_string().expect("text");
        let kind = version.split('-').next().unwrap_or_default();
        let program = entry.path().join(format!("bin/{kind}-server"));
        let has_fixtures = names(".conf").iter().any(|name| name.starts_with(&version));
        if program.exists() && has_fixtures {
            found.push((version, program));
        }
    }
    if found.is_empty() {
        // Reads the files of 7.0 whatever its version: later ones do too.
        found.push(("redis-7.0".to_owned(), PathBuf::from("redis-server")));
    }
    found
}

/// What a restart must not change of a node.
fn lasting(node: &Node) -> (String, bool, Option<String>, Vec<SlotRange>) {
    let master = node.master.map(|id| id.to_string());
    (node.id.to_string(), node.flags.master, master, node.slots.clone())
}

#[test]
fn server_starts_on_corrected_file_with_every_id_role_and_slot() {
    for (version, program) in servers() {
        for shown in ["formed-master", "formed-replica", "open-slots", "noaddr", "hostnames"] {
            let name = format!("{version}-{shown}.conf");
            let new = with_own_ip(&fixture(&name), IP).expect("a whole file").into_owned();
            let mut expected: Vec<_> =
                parse(&new).expect("whole").nodes.iter().map(lasting).collect();
            let mut server = Server::start(&program, &new);
            let nodes = server.nodes();
            let own = nodes.iter().find(|node| node.flags.myself).expect("myself");
            assert_eq!(own.address.port, server.port, "{name}");
            // Valkey 9 replies with the announced client address where there is one.
            if own.address.ip != "192.0.2.0" {
                assert_eq!(own.address.ip, IP.to_string(), "{name}");
            }
            let mut found: Vec<_> = nodes.iter().map(lasting).collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{name}\n{}", server.log());
        }
    }
}

#[test]
fn server_takes_zero_length_file_for_a_first_boot() {
    for (version, program) in servers() {
        let nodes = Server::start(&program, b"").nodes();
        assert_eq!(nodes.len(), 1, "{version}");
        assert!(nodes[0].flags.myself && nodes[0].slots.is_empty(), "{version}");
    }
}

/// As a server leaves it that is killed before its new replica has told it its shard.
#[test]
fn server_starts_on_a_file_whose_replica_was_in_another_shard() {
    for (version, program) in servers() {
        let file = String::from_utf8(fixture(&format!("{version}-formed-replica.conf"))).unwrap();
        let (above, line) = file.split_at(file.find(" slave ").unwrap());
        let Some(at) = above.rfind("shard-id=") else { continue };
        let at = at + "shard-id=".len();
        let stray = [&above[..at], &"ab".repeat(20), &above[at + 40..], line].concat();
        let new = with_own_ip(stray.as_bytes(), IP).unwrap();
        assert_eq!(new, with_own_ip(file.as_bytes(), IP).unwrap(), "{version}");
        assert_eq!(Server::start(&program, &new).nodes().len(), 6, "{version}");
    }
}
