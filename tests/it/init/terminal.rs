//! On a pseudo-terminal: who gets Ctrl-C and Ctrl-Z, and whose the terminal is.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::libc;
use nix::pty::openpty;
use nix::unistd::tcgetpgrp;

use super::{Place, REJOIN, UNSHARE, helper, places, wait_until};
use crate::support::process::{children, send_number, state};
use crate::support::running::PATIENCE;

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";

/// A session of its own with a terminal, which the test types into and reads from.
struct Session {
    keyboard: File,
    screen: Receiver<String>,
    unread: String,
    leader: Child,
}

impl Session {
    #[track_caller]
    #[allow(clippy::disallowed_methods, reason = "the leader of a group cannot start a session")]
    fn start(words: &[&str]) -> Session {
        let pty = openpty(None, None).expect("a terminal");
        let stream = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(words).env("PS1", "PROMPT ").env("TERM", "dumb");
        command.stdin(stream()).stdout(stream()).stderr(stream());
        let leader = command.spawn().expect("setsid");
        drop((command, pty.slave));
        let keyboard = File::from(pty.master);
        let mut reader = keyboard.try_clone().expect("a descriptor");
        let (sender, screen) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let _ = sender.send(String::from_utf8_lossy(&bytes[..count]).into_owned());
            }
        });
        Session { keyboard, screen, unread: String::new(), leader }
    }

    /// An interactive shell with job control.
    #[track_caller]
    fn shell() -> Session {
        let mut session = Session::start(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        session.expect("PROMPT ");
        session
    }

    #[track_caller]
    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits for the text on the screen; what stands before it counts as read.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        loop {
            if let Some(at) = self.unread.find(text) {
                self.unread.drain(..at + text.len());
                return;
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(more) => self.unread.push_str(&more),
                Err(error) => panic!("{text:?} did not come ({error}): {:?}", self.unread),
            }
        }
    }

    fn foreground(&self) -> u32 {
        tcgetpgrp(&self.keyboard).expect("a terminal").as_raw().cast_unsigned()
    }

    fn leader(&self) -> u32 {
        self.leader.id()
    }

    /// The init, the only child of the shell, once it has its own child.
    #[track_caller]
    fn init_of_shell(&self) -> (u32, u32) {
        let mut found = None;
        wait_until("the shell has an init with a child", || {
            let init = children(self.leader()).first().copied();
            let child = init.and_then(|init| children(init).first().copied());
            found = init.zip(child);
            found.is_some()
        });
        found.expect("just seen")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The init first, so that its child dies with it; the rest gets a hang-up.
        for child in children(self.leader()) {
            send_number(child, libc::SIGKILL);
        }
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }
}

#[test]
fn ctrl_c_is_exactly_one_sigint() {
    let helper = helper();
    let helper = helper.to_str().expect("text");
    for place in places() {
        let mut words = vec![REJOIN, helper, "signals"];
        if place == Place::Pid1 {
            words.splice(0..0, ["unshare"].into_iter().chain(UNSHARE));
        }
        let mut session = Session::start(&words);
        session.expect("ready\r\n");
        session.type_in(CTRL_C);
        session.expect("2\r\n");
        session.type_in("\x1c");
        session.expect("3\r\n");
        let rest = session.unread.replace("^\\", "").replace("^C", "");
        assert_eq!(rest, "", "nothing but one SIGINT and one SIGQUIT");
    }
}

#[test]
fn child_is_the_foreground_group_and_the_terminal_comes_back() {
    let script =
        format!("{REJOIN} sh -c 'echo in; read x; exit 3'; echo code $?; read y; echo \"<$y>\"");
    let mut session = Session::start(&["sh", "-c", &script]);
    session.expect("in\r\n");
    let (_, child) = session.init_of_shell();
    assert_eq!(session.foreground(), child);
    session.type_in("a\n");
    session.expect("code 3");
    assert_eq!(session.foreground(), session.leader());
    session.type_in("b\n");
    session.expect("<b>");
}

#[test]
fn terminal_comes_back_when_the_command_cannot_be_run() {
    let script = format!("{REJOIN} /no/such; echo code $?; read y; echo \"<$y>\"");
    let mut session = Session::start(&["sh", "-c", &script]);
    session.expect("code 127");
    session.type_in("b\n");
    session.expect("<b>");
}

#[test]
fn ctrl_z_stops_the_job_and_fg_continues_all_of_it() {
    let mut session = Session::shell();
    // The reader is a grandchild: it has to be continued too.
    session.type_in(&format!("{REJOIN} sh -c 'cat; exit 4'\n"));
    let (init, child) = session.init_of_shell();
    for round in 0..3 {
        // Not before it reads: a shell in vfork() cannot be stopped, with or without an init.
        session.type_in("hello\n");
        session.expect("hello\r\nhello\r\n");
        let reader = children(child)[0];
        session.type_in(CTRL_Z);
        // All of them, since a reader that is about to stop could still take the next line.
        wait_until("the whole job is stopped", || {
            [init, child, reader].into_iter().all(|id| state(id) == Some('T'))
        });
        session.expect("Stopped");
        session.expect("PROMPT ");
        assert_eq!(session.foreground(), session.leader(), "round {round}");
        session.type_in("fg\n");
        session.expect("cat; exit 4'");
        wait_until("the job has the terminal", || session.foreground() == child);
        wait_until("the reader goes on", || state(reader) == Some('S'));
    }
    assert_eq!(session.init_of_shell(), (init, child));
    session.type_in("\x04");
    session.expect("PROMPT ");
    session.type_in("echo code=$?\n");
    session.expect("code=4");
}

#[test]
fn background_job_does_not_take_the_terminal() {
    let mut session = Session::shell();
    session.type_in(&format!("{REJOIN} sleep 1000 &\n"));
    session.init_of_shell();
    assert_eq!(session.foreground(), session.leader());
    session.type_in("echo sti''ll\n");
    session.expect("still");
    assert_eq!(session.foreground(), session.leader());
}

#[test]
fn background_job_that_reads_stops_and_fg_gives_it_the_terminal() {
    let mut session = Session::shell();
    session.type_in(&format!("{REJOIN} sh -c 'read x; echo \"<$x>\"' &\n"));
    let (init, _) = session.init_of_shell();
    wait_until("the init stops", || state(init) == Some('T'));
    session.type_in("fg\n");
    session.expect("fg\r\n");
    session.type_in("typed\n");
    session.expect("<typed>");
    session.expect("PROMPT ");
}

#[test]
fn job_brought_to_the_foreground_while_it_runs_can_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let fifo = directory.path().join("go");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let fifo = fifo.display();
    let mut session = Session::shell();
    session.type_in(&format!("{REJOIN} sh -c 'read g <{fifo}; read x; echo \"<$x>\"' &\n"));
    session.init_of_shell();
    session.type_in("fg\n");
    session.expect("fg\r\n");
    wait_until("the job is in the foreground", || session.foreground() != session.leader());
    std::fs::write(fifo.to_string(), "\n").expect("written");
    session.type_in("typed\n");
    session.expect("<typed>");
}

#[test]
fn interactive_shell_as_the_child_has_job_control() {
    let mut session =
        Session::start(&[REJOIN, "bash", "--norc", "--noprofile", "--noediting", "-i"]);
    session.expect("PROMPT ");
    assert!(!session.unread.contains("no job control"), "{}", session.unread);
    session.type_in("sleep 1000\n");
    let shell = children(session.leader())[0];
    let mut job = 0;
    // Not before the exec: until then the job ignores Ctrl-Z, as its shell does.
    wait_until("the shell has a job in the foreground", || {
        job = session.foreground();
        program(job).is_some_and(|name| name == "sleep")
    });
    session.type_in(CTRL_Z);
    session.expect("Stopped");
    session.expect("PROMPT ");
    assert_eq!(session.foreground(), shell);
    session.type_in("fg\n");
    wait_until("the job goes on", || session.foreground() == job && state(job) == Some('S'));
    session.type_in(CTRL_C);
    session.expect("PROMPT ");
    session.type_in("exit 8\n");
    let mut status = None;
    wait_until("the init ends", || {
        status = session.leader.try_wait().expect("ours");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(8));
}

/// The name of the program that runs as that process, once there is one.
fn program(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

#[test]
fn closed_standard_input_is_no_error_on_a_terminal() {
    let script = format!("{REJOIN} sh -c 'exit 3' <&-; echo code $?");
    let mut session = Session::start(&["sh", "-c", &script]);
    session.expect("code 3");
}
