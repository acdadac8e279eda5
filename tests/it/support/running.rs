//! A process of the test's own that is spoken to by lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::process::{children, send_number, spawn};
use super::wait::{wait_for, wait_ok};

/// How long a state may take to come on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A started process with its output by lines. Killed and reaped when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
    target: u32,
}

impl Running {
    /// Starts it with pipes as standard input and output.
    pub fn start(command: &mut Command) -> Running {
        let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let stdin = child.stdin.take();
        let target = child.id();
        Running { child, stdin, lines, seen: Vec::new(), target }
    }

    /// The process that signals go to: the one that was started, or the init inside `unshare`.
    pub fn pid(&self) -> u32 {
        self.target
    }

    /// Takes the first child of the started process (`unshare`) for the one that is meant.
    #[track_caller]
    pub fn descend(&mut self) {
        let outer = self.target;
        wait_for(PATIENCE, "unshare to have its child", || children(outer).len() == 1);
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
        send_number(self.target, number);
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
        wait_ok(PATIENCE, "the end of the process", || {
            self.child.try_wait().expect("ours to wait for").ok_or("still running")
        })
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

/// Runs it to its end, within [`PATIENCE`]: exit code, standard output, standard error.
#[track_caller]
pub fn finish(command: &mut Command) -> (i32, String, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command);
    let out = read_in_background(child.stdout.take().expect("piped"));
    let errors = read_in_background(child.stderr.take().expect("piped"));
    let target = child.id();
    let mut running = Running { child, stdin: None, lines: channel().1, seen: Vec::new(), target };
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
