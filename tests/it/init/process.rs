//! Real processes under test: each is owned by a guard that ends it.
#![allow(clippy::disallowed_methods, reason = "tests start the program under test from outside")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;

/// How long a state may take to come on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub const REJOIN: &str = env!("CARGO_BIN_EXE_rejoin");

/// The children and seams that the init's tests need, built as an example beside the program.
pub fn helper() -> PathBuf {
    let path = PathBuf::from(REJOIN).with_file_name("examples").join("init_helper");
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

/// Looks again and again until the state is there.
#[track_caller]
pub fn wait_until(what: &str, mut state: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !state() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A started process with its output by lines. Killed and reaped when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
    target: i32,
}

impl Running {
    /// Starts it with pipes as standard input and output.
    #[track_caller]
    pub fn start(command: &mut Command) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let stdin = child.stdin.take();
        let target = child.id() as i32;
        Running { child, stdin, lines, seen: Vec::new(), target }
    }

    /// The process that signals go to: the one that was started, or the init inside `unshare`.
    pub fn pid(&self) -> i32 {
        self.target
    }

    /// Takes the first child of the started process (`unshare`) for the one that is meant.
    #[track_caller]
    pub fn descend(&mut self) {
        let outer = self.target;
        wait_until("unshare has its child", || children(outer).len() == 1);
        self.target = children(outer)[0];
    }

    /// The next line of output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.seen.push(line.clone());
                line
            }
            Err(error) => panic!("no further line ({error}) after {:?}", self.seen),
        }
    }

    /// The next line of output must be this one.
    #[track_caller]
    pub fn expect(&mut self, expected: &str) {
        let line = self.line();
        assert_eq!(line, expected, "all lines: {:?}", self.seen);
    }

    /// Sends a signal by its number.
    #[track_caller]
    pub fn signal(&self, number: i32) {
        signal(self.target, number);
    }

    /// Writes a line to its standard input.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().expect("still open"), "{line}").expect("written");
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until the started process has ended.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.child.try_wait().expect("ours to wait for");
            status.is_some()
        });
        status.expect("just seen")
    }

    /// Waits until the started process has exited, and yields its exit code.
    #[track_caller]
    pub fn code(&mut self) -> i32 {
        let status = self.end();
        status.code().unwrap_or_else(|| panic!("killed by signal {:?}", status.signal()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it to its end: exit code, standard output, standard error.
#[track_caller]
pub fn finish(command: &mut Command) -> (i32, String, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let out = read_in_background(child.stdout.take().expect("piped"));
    let errors = read_in_background(child.stderr.take().expect("piped"));
    let mut running = Running {
        target: child.id() as i32,
        child,
        stdin: None,
        lines: channel().1,
        seen: Vec::new(),
    };
    let code = running.code();
    (code, out.join().expect("no panic"), errors.join().expect("no panic"))
}

fn read_in_background(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        text
    })
}

/// Sends a signal by its number; `nix` has no real-time signals.
#[track_caller]
#[allow(unsafe_code, reason = "libc's kill takes any number, nix's only the standard ones")]
pub fn signal(pid: i32, number: i32) {
    // SAFETY: takes integers only.
    let result = unsafe { libc::kill(pid, number) };
    assert_eq!(result, 0, "kill({pid}, {number})");
}

/// The process ids of its living and dead children.
pub fn children(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().map(|id| id.parse().expect("a number")).collect()
}

/// Its state as `/proc` shows it (`S`, `T`, `Z`...), or none once it is gone.
pub fn state(pid: i32) -> Option<char> {
    stat(pid).and_then(|fields| fields.first()?.chars().next())
}

/// The CPU time it has used, in clock ticks (10 ms).
#[track_caller]
pub fn cpu_ticks(pid: i32) -> u64 {
    let fields = stat(pid).expect("lives");
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// The fields of `/proc/PID/stat` from the state on.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// One field of `/proc/PID/status`.
#[track_caller]
pub fn status_field(pid: i32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("lives");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {text}")).trim().to_owned()
}
