//! Runs `rejoin fix` one system call at a time, to kill it or to let a call fail.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What is to happen to the process.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// SIGKILL at this stop; a call stops twice, before it is done and after. From 0.
    KillAt(usize),
    /// This one of the calls that change a file system fails with this error. From 0.
    #[cfg(target_arch = "x86_64")]
    Fail(usize, Errno),
    /// The volume has no hard links, and SIGKILL at this stop.
    #[cfg(target_arch = "x86_64")]
    NoLinksKillAt(usize),
}

/// How the run ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
    /// The fault was met before the end.
    pub struck: bool,
}

/// Runs `rejoin fix` for `directory/nodes.conf` under a fault.
pub fn fix_with(directory: &Path, ip: &str, fault: Fault) -> Ended {
    let log = tempfile::tempfile().expect("a log");
    // The shell stops itself, so that we hold the process before it becomes rejoin.
    let mut command = Command::new("sh");
    command.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_rejoin"), "fix"]);
    command.args(server_arguments(directory)).env("POD_IP", ip);
    command.stdin(Stdio::null()).stderr(log.try_clone().expect("a log"));
    #[allow(clippy::disallowed_methods, reason = "a test has no init that could spawn")]
    #[allow(clippy::zombie_processes, reason = "the tracer waits for it, by its number")]
    let child = command.spawn().expect("sh runs");
    let pid = Pid::from_raw(child.id().cast_signed());
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("wait");
    assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
    run_to_exec(pid);
    let (status, struck) = step(pid, fault);
    let stderr = std::io::read_to_string(rewound(log)).expect("a log");
    Ended { status, stderr, struck }
}

/// The command line of a server that lives in `directory`.
pub fn server_arguments(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().expect("text");
    ["redis-server", "--dir", directory, "--cluster-enabled", "yes"]
        .into_iter()
        .chain(["--cluster-config-file", "nodes.conf"])
        .map(str::to_owned)
        .collect()
}

fn rewound(mut log: std::fs::File) -> std::fs::File {
    std::io::Seek::rewind(&mut log).expect("a log");
    log
}

/// Takes hold of the stopped shell and lets it go on until it is another program.
fn run_to_exec(pid: Pid) {
    let options =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).expect("ptrace is allowed");
    kill(pid, Signal::SIGCONT).expect("kill");
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("wait") {
            WaitStatus::PtraceEvent(_, _, event) if event == Event::PTRACE_EVENT_EXEC as i32 => {
                return;
            }
            WaitStatus::PtraceEvent(..) => ptrace::cont(pid, None).expect("ptrace"),
            WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal).expect("ptrace"),
            other => panic!("before rejoin ran: {other:?}"),
        }
    }
}

/// Goes from stop to stop until the fault is met and the process has ended.
fn step(pid: Pid, fault: Fault) -> (ExitStatus, bool) {
    let (mut stops, mut changes, mut struck) = (0, 0, false);
    loop {
        ptrace::syscall(pid, None).expect("ptrace");
        match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("wait") {
            WaitStatus::PtraceSyscall(_) => {}
            WaitStatus::Exited(_, code) => return (ExitStatus::from_raw(code << 8), struck),
            other => panic!("rejoin ended otherwise: {other:?}"),
        }
        match fault {
            Fault::KillAt(stop) if stop == stops => return (end(pid), true),
            Fault::KillAt(_) => {}
            #[cfg(target_arch = "x86_64")]
            Fault::Fail(change, errno) => {
                if is_entry(pid) && is_change(pid) {
                    if changes == change {
                        struck = true;
                        fail(pid, errno);
                    }
                    changes += 1;
                }
            }
            #[cfg(target_arch = "x86_64")]
            Fault::NoLinksKillAt(stop) => {
                if stop == stops {
                    return (end(pid), true);
                }
                if is_entry(pid) && call_number(pid) == nix::libc::SYS_linkat {
                    fail(pid, Errno::EPERM);
                }
            }
        }
        stops += 1;
    }
}

/// Kills the process and waits for its end.
fn end(pid: Pid) -> ExitStatus {
    kill(pid, Signal::SIGKILL).expect("kill");
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("wait") {
            WaitStatus::Signaled(_, signal, _) => return ExitStatus::from_raw(signal as i32),
            WaitStatus::Exited(_, code) => return ExitStatus::from_raw(code << 8),
            _ => {}
        }
    }
}

/// Whether the process is stopped before a call is done, as against after it.
#[cfg(target_arch = "x86_64")]
fn is_entry(pid: Pid) -> bool {
    ptrace::syscall_info(pid).expect("ptrace").op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY
}

/// The number of the call that the process is about to make.
#[cfg(target_arch = "x86_64")]
fn call_number(pid: Pid) -> i64 {
    ptrace::getregs(pid).expect("ptrace").orig_rax.cast_signed()
}

/// Whether the call changes a file system. Writing to the standard streams does not.
#[cfg(target_arch = "x86_64")]
fn is_change(pid: Pid) -> bool {
    use nix::libc::{self, O_CREAT};
    let registers = ptrace::getregs(pid).expect("ptrace");
    let descriptor = registers.rdi;
    match registers.orig_rax.cast_signed() {
        libc::SYS_write => descriptor > 2,
        libc::SYS_openat => registers.rdx & u64::from(O_CREAT.cast_unsigned()) != 0,
        libc::SYS_fsync | libc::SYS_fchmod | libc::SYS_fchown | libc::SYS_linkat => true,
        libc::SYS_rename | libc::SYS_renameat | libc::SYS_renameat2 => true,
        libc::SYS_unlink | libc::SYS_unlinkat => true,
        _ => false,
    }
}

/// Skips the call that the process is about to make, and lets it see an error.
#[cfg(target_arch = "x86_64")]
fn fail(pid: Pid, errno: Errno) {
    let mut registers = ptrace::getregs(pid).expect("ptrace");
    registers.orig_rax = u64::MAX;
    ptrace::setregs(pid, registers).expect("ptrace");
    ptrace::syscall(pid, None).expect("ptrace");
    let stopped = waitpid(pid, Some(WaitPidFlag::__WALL)).expect("wait");
    assert_eq!(stopped, WaitStatus::PtraceSyscall(pid));
    let mut registers = ptrace::getregs(pid).expect("ptrace");
    registers.rax = (-i64::from(errno as i32)).cast_unsigned();
    ptrace::setregs(pid, registers).expect("ptrace");
}
