//! Rows f and g: what is added before the server starts, and the rewriting of `nodes.conf` alone.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::row::{Row, Target, Unit};
use crate::support::block::Block;
use crate::support::pod::rejoin;
use crate::support::process::spawn;

const RUNS: usize = 31;

/// The name under which this program plays the server, in row f.
pub const PLAYED: &str = "redis-server";

/// Plays a server that says at once that it has started, and ends.
pub fn play_server() -> std::io::Result<()> {
    if std::env::args().any(|arg| arg == "--version") {
        return writeln!(std::io::stdout(), "Redis server v=7.0.15 sha=00000000:0 bits=64");
    }
    std::io::stdout().write_all(b"!")
}

/// Time from the start of the entrypoint to the start of the server, the address being new each
/// time.
pub fn before_the_server() -> Vec<Row> {
    let volume = Volume::new(&std::env::temp_dir(), 6);
    let server = volume.dir.path().join(PLAYED);
    fs::copy(own_program(), &server).expect("the test's directory is writable");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join("fix-ip.sh");
    let (mut ours, mut rival, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..RUNS {
        alone.push(volume.until_first_byte(Command::new(&server), run));
        let mut command = Command::new(&script);
        command.arg(&server);
        rival.push(volume.until_first_byte(command, run));
        volume.assert_corrected(run);
        let mut command = Command::new(rejoin());
        command.arg(&server);
        ours.push(volume.until_first_byte(command, run));
        volume.assert_corrected(run);
    }
    // What the played server itself needs belongs to neither.
    let alone = crate::row::median(&alone);
    let added = |times: Vec<f64>| times.into_iter().map(|time| time - alone).collect();
    vec![Row {
        what: format!("time added before the server starts, median of {RUNS}"),
        ours: added(ours),
        rival: added(rival),
        rival_name: "fix-ip.sh".to_owned(),
        unit: Unit::Milliseconds,
        target: Target::Less,
        wrong: None,
    }]
}

/// `rejoin fix` of a file of 1,000 nodes, the address being new each time: once on the disk of the
/// temporary files, where we sync what we write and `sed` does not, and once in memory, where that
/// costs nobody anything.
pub fn fix() -> Vec<Row> {
    let disk = std::env::temp_dir();
    vec![fix_on(&disk, "on disk, synced by us only"), fix_on(Path::new("/dev/shm"), "in memory")]
}

fn fix_on(place: &Path, said: &str) -> Row {
    let volume = Volume::new(place, 1000);
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let number = r"[0-9]\{1,3\}";
        let ip = volume.ip(run);
        let mut command = Command::new("sed");
        command
            .arg("-i.bak")
            .arg(format!(r"/myself/ s/{number}\.{number}\.{number}\.{number}/{ip}/"));
        rival.push(volume.until_end(command.arg("nodes.conf"), run));
        volume.assert_corrected(run);
        let mut command = Command::new(rejoin());
        command.args(["fix", PLAYED]).arg(volume.conf());
        ours.push(volume.until_end(&mut command, run));
        volume.assert_corrected(run);
    }
    Row {
        what: format!("fix of a nodes.conf of 1000 nodes, {said}, median of {RUNS}"),
        ours,
        rival,
        rival_name: "sed -i.bak".to_owned(),
        unit: Unit::Milliseconds,
        target: Target::Less,
        wrong: None,
    }
}

/// The volume of a pod that has been a replica, on the disk of the temporary files. The address
/// in its file is an old one before each run.
struct Volume {
    dir: TempDir,
    block: Block,
    old: String,
}

impl Volume {
    fn new(place: &Path, nodes: usize) -> Self {
        let dir = tempfile::tempdir_in(place).expect("the place for temporary files is writable");
        let volume = Self { dir, block: Block::take(), old: nodes_conf(nodes) };
        let text = format!(
            "dir {}\nport 7000\ncluster-enabled yes\nbind {}\n",
            volume.dir.path().display(),
            volume.block.ip(1)
        );
        fs::write(volume.conf(), text).expect("the test's directory is writable");
        volume
    }

    fn conf(&self) -> PathBuf {
        self.dir.path().join("redis.conf")
    }

    fn said(&self) -> PathBuf {
        self.dir.path().join("said")
    }

    /// The new address of a run.
    fn ip(&self, run: usize) -> String {
        format!("10.1.0.{}", run + 1)
    }

    /// Puts the old file back, and prepares the command to run on it.
    fn prepare(&self, command: &mut Command, run: usize) {
        let written = File::create(self.dir.path().join("nodes.conf")).and_then(|mut file| {
            file.write_all(self.old.as_bytes())?;
            // A server has had its file on the disk for long: that nobody else has to bring it
            // there belongs to the picture.
            file.sync_all()
        });
        written.expect("the test's directory is writable");
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("POD_IP", self.ip(run)).env("POD_NAME", "redis-0");
        command.env("REJOIN_HTTP", format!("{}:8080", self.block.ip(1)));
        command.env("REJOIN_LOG", "warn");
        // What it says about each change is of interest only when it fails.
        let said = File::create(self.said()).expect("the test's directory is writable");
        command.stderr(said);
    }

    /// Seconds until the server that the command ends in says that it has started.
    fn until_first_byte(&self, mut command: Command, run: usize) -> f64 {
        self.prepare(&mut command, run);
        command.arg(self.conf()).stdout(Stdio::piped());
        let start = Instant::now();
        let mut child = spawn(&mut command);
        let mut byte = [0];
        let out = child.stdout.as_mut().expect("stdout is a pipe");
        out.read_exact(&mut byte).expect("the server says that it has started");
        let took = start.elapsed().as_secs_f64();
        assert!(child.wait().expect("a child of ours can be waited for").success());
        took
    }

    /// Seconds until the command has ended.
    fn until_end(&self, command: &mut Command, run: usize) -> f64 {
        self.prepare(command, run);
        command.stdout(Stdio::null());
        let start = Instant::now();
        let mut child = spawn(command);
        let status = child.wait().expect("a child of ours can be waited for");
        let took = start.elapsed().as_secs_f64();
        let said = fs::read_to_string(self.said()).unwrap_or_default();
        assert!(status.success(), "{command:?}: {status}: {said}");
        took
    }

    /// What was measured has done its work.
    fn assert_corrected(&self, run: usize) {
        let text = fs::read_to_string(self.dir.path().join("nodes.conf")).expect("it is there");
        let line = text.lines().find(|line| line.contains("myself")).expect("it has its own line");
        assert!(line.contains(&format!(" {}:7000@", self.ip(run))), "{line}");
    }
}

/// A file as Redis 7.0 writes it, in which the node itself is a replica.
fn nodes_conf(nodes: usize) -> String {
    let masters = nodes / 2;
    let id = |node: usize| format!("{node:040x}");
    let mut text = String::new();
    for node in 1..=nodes {
        let address = format!("10.0.{}.{}:7000@17000,", node / 250, node % 250 + 1);
        let line = match node {
            _ if node <= masters => {
                let (first, last) = ((node - 1) * 16384 / masters, node * 16384 / masters - 1);
                format!("{} {address} master - 0 0 {node} connected {first}-{last}", id(node))
            }
            _ => {
                let master = node - masters;
                let flags = if node == nodes { "myself,slave" } else { "slave" };
                format!("{} {address} {flags} {} 0 0 {master} connected", id(node), id(master))
            }
        };
        writeln!(text, "{line}").expect("a string takes everything");
    }
    text + &format!("vars currentEpoch {masters} lastVoteEpoch 0\n")
}

fn own_program() -> PathBuf {
    std::env::current_exe().expect("/proc is mounted")
}
