//! The one place of the tests that starts and ends processes.
//!
//! Nothing that is started here survives: each process is in a group of its own, dies with the
//! thread that started it (`PR_SET_PDEATHSIG`), and is ended by its id together with everything
//! below it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// Starts a process that ends with this thread, in a process group of its own, so that Ctrl-C in
/// a terminal reaches us only.
///
/// # Panics
/// When the program cannot be started.
#[allow(clippy::disallowed_methods, reason = "a test is not the init: it starts its own processes")]
pub fn spawn(command: &mut Command) -> Child {
    tied(command);
    match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!("cannot start {command:?}: {error}"),
    }
}

/// Runs a process to its end and collects what it wrote.
///
/// # Panics
/// When the program cannot be started.
#[allow(clippy::disallowed_methods, reason = "a test is not the init: it starts its own processes")]
pub fn run(command: &mut Command) -> Output {
    tied(command);
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("cannot run {command:?}: {error}"),
    }
}

/// Rests for a moment between two looks at a state: the only use of time in the tests.
#[allow(clippy::disallowed_methods, reason = "polls must not spin; nothing is assumed afterwards")]
pub fn rest(pause: Duration) {
    std::thread::sleep(pause);
}

#[allow(unsafe_code, reason = "pre_exec is the only way to set the parent-death signal")]
fn tied(command: &mut Command) {
    command.process_group(0);
    // SAFETY: the closure makes one prctl call and allocates nothing, so it may run between fork
    // and exec.
    unsafe {
        command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
    }
}

/// Sends `signal` to the process; one that has ended is no error.
pub fn send(pid: u32, signal: Signal) {
    let _ = signal::kill(as_pid(pid), signal);
}

/// Sends a signal by its number: `nix` has no real-time signals.
///
/// # Panics
/// When there is no such process.
#[track_caller]
#[allow(unsafe_code, reason = "libc's kill takes any number, nix's only the standard ones")]
pub fn send_number(pid: u32, number: i32) {
    // SAFETY: takes integers only.
    let result = unsafe { libc::kill(as_pid(pid).as_raw(), number) };
    assert_eq!(result, 0, "kill({pid}, {number})");
}

/// Kills a process and everything below it, as the end of a container does, and reaps it.
pub fn kill_tree(child: &mut Child) -> ExitStatus {
    // All are stopped first, from the top, until the list grows no more: whatever starts another
    // process meanwhile is itself in the list.
    send(child.id(), Signal::SIGSTOP);
    let mut below = Vec::new();
    loop {
        let now = descendants(child.id());
        now.iter().for_each(|pid| send(*pid, Signal::SIGSTOP));
        if now.len() == below.len() {
            break;
        }
        below = now;
    }
    send(child.id(), Signal::SIGKILL);
    for pid in &below {
        send(*pid, Signal::SIGKILL);
    }
    let status = child.wait().expect("a child of ours can be waited for");
    let deadline = Instant::now() + Duration::from_secs(10);
    // They are somebody else's children now: their sockets and files are free once they are gone.
    while below.iter().any(|pid| !gone(*pid)) && Instant::now() < deadline {
        rest(Duration::from_millis(2));
    }
    status
}

/// Whether nothing of the process is left but perhaps the zombie of its first thread: as long as
/// another thread is on its way out, files and sockets are open.
fn gone(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    !alive(pid) && threads <= 1
}

/// Whether the process exists and is more than a zombie.
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

/// The children of its first thread, living and dead.
pub fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().map(|id| id.parse().expect("a number")).collect()
}

/// Every process below this one, parents before their children.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = children.remove(&pid).unwrap_or_default();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// What the kernel says about a process, from `/proc/PID/stat` (proc(5)).
pub struct Stat {
    /// The name of the program, at most 15 bytes.
    pub name: String,
    /// `R` running, `S` asleep, `T` stopped, `Z` zombie, and so on.
    pub state: char,
    /// The id of the parent.
    pub parent: u32,
    /// The processor time that it has used, user and system, in clock ticks (10 ms).
    pub ticks: u64,
}

/// The state of a process, if it exists.
pub fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, further parentheses included.
    let (head, tail) = text.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = fields.get(11..13)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Stat { name: name.to_owned(), state, parent, ticks })
}

/// Its state as in [`Stat`], or none once it is gone.
pub fn state(pid: u32) -> Option<char> {
    stat(pid).map(|stat| stat.state)
}

/// One field of `/proc/PID/status`.
///
/// # Panics
/// When there is no such process or field.
#[track_caller]
pub fn status_field(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("lives");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {text}")).trim().to_owned()
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("process ids of Linux are below 2^22"))
}
