//! Starting the command: everything is prepared before the fork, so that the child does nothing
//! between fork and exec that another thread's lock could block.

use std::ffi::{CString, OsStr, OsString, c_int};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::unistd::{Pid, getpid, getppid, pipe2, setpgid, write};

use super::inherited::Inherited;
use super::sys;
use super::terminal::Terminal;
use crate::exit;

/// Where a program is looked for when `PATH` is unset, as the C library does.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// A command to run, in bytes as they were typed.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// A path if it contains a slash; otherwise looked up in `PATH`.
    pub program: OsString,
    /// The arguments after the program's name.
    pub args: Vec<OsString>,
    /// Variables to set on top of the inherited environment.
    pub extra_env: Vec<(OsString, OsString)>,
}

/// Why a command does not run.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such file, or it needs a loader or interpreter that does not exist.
    #[error("cannot run {name}: {reason}")]
    NotFound {
        /// The program as typed, fit for one line.
        name: String,
        /// Where it was looked for, or what else is missing.
        reason: String,
    },
    /// There is such a file, but the kernel refuses to execute it.
    #[error("cannot run {name}: it cannot be executed")]
    NotExecutable {
        /// The program as typed, fit for one line.
        name: String,
        /// What the kernel said.
        source: Errno,
    },
    /// No process could be made: too many of them, or of descriptors.
    #[error("cannot run {name}: no new process; check the limits of the container")]
    NoProcess {
        /// The program as typed, fit for one line.
        name: String,
        /// What the kernel said.
        source: Errno,
    },
}

impl SpawnError {
    /// The exit code that a shell gives for it: 127 when there is no such program, else 126.
    pub fn exit_code(&self) -> u8 {
        match self {
            SpawnError::NotFound { .. } => exit::NOT_FOUND,
            SpawnError::NotExecutable { .. } | SpawnError::NoProcess { .. } => exit::NOT_EXECUTABLE,
        }
    }
}

/// The running command. Only the init may signal or reap it, so nothing can be done with it here.
#[derive(Debug)]
pub struct Child {
    pub(super) pid: Pid,
    pub(super) terminal: Option<Terminal>,
}

impl Child {
    /// The process id, also of its process group.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }
}

/// A command made ready for `execve`.
pub(super) struct Image {
    name: String,
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Image {
    pub(super) fn prepare(command: &Command) -> Result<Image, SpawnError> {
        let name = one_line(&command.program);
        let c_string = |bytes: Vec<u8>| {
            CString::new(bytes).map_err(|_| SpawnError::NotExecutable {
                name: one_line(&command.program),
                source: Errno::EINVAL,
            })
        };
        let mut args = vec![c_string(command.program.as_bytes().to_vec())?];
        for arg in &command.args {
            args.push(c_string(arg.as_bytes().to_vec())?);
        }
        let mut env = sys::environment();
        for (variable, value) in &command.extra_env {
            let prefix = [variable.as_bytes(), b"="].concat();
            env.retain(|entry| !entry.as_bytes().starts_with(&prefix));
            env.push(c_string([&prefix, value.as_bytes()].concat())?);
        }
        let path = env.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
        let mut candidates = Vec::new();
        for file in candidates_of(command.program.as_bytes(), path.unwrap_or(DEFAULT_PATH)) {
            candidates.push(c_string(file)?);
        }
        Ok(Image { name, candidates, args, env })
    }

    pub(super) fn exec(&self) -> sys::Exec<'_> {
        sys::Exec::new(&self.candidates, &self.args, &self.env)
    }

    /// What a failed exec means to the user; looks at the files to tell missing from unusable.
    pub(super) fn error(&self, errno: Errno) -> SpawnError {
        let name = self.name.clone();
        let found = |file: &&CString| Path::new(OsStr::from_bytes(file.as_bytes())).is_file();
        match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG => {
                let reason = if let Some(file) = self.candidates.iter().find(found) {
                    let file = one_line(OsStr::from_bytes(file.as_bytes()));
                    format!("{file} is there, but not the interpreter or loader that it asks for")
                } else if self.name.contains('/') {
                    "no such file; check the command and the image".to_owned()
                } else {
                    "not found in PATH; check the command and the image".to_owned()
                };
                SpawnError::NotFound { name, reason }
            }
            source => SpawnError::NotExecutable { name, source },
        }
    }
}

/// The files that `execvp` would try: the name itself if it has a slash, else the name in each
/// directory of `path`, an empty one meaning the current directory.
fn candidates_of(program: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if program.is_empty() {
        return Vec::new();
    }
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    path.split(|&byte| byte == b':')
        .map(|directory| match directory {
            b"" => program.to_vec(),
            directory => [directory, b"/", program].concat(),
        })
        .collect()
}

/// A name as it is shown in a one-line message.
fn one_line(name: &OsStr) -> String {
    if name.is_empty() {
        return "an empty command name".to_owned();
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    name.to_string_lossy().chars().map(escape).collect()
}

/// Forks and execs the command in a process group of its own, which gets the terminal if our group
/// has it, and which dies with us. Must be called on the main thread: the kernel counts the end of
/// the forking *thread* as the parent's death (`prctl(2)`, PR_SET_PDEATHSIG).
pub(super) fn spawn(inherited: &Inherited, command: &Command) -> Result<Child, SpawnError> {
    let image = Image::prepare(command)?;
    let no_process = |source| SpawnError::NoProcess { name: one_line(&command.program), source };
    let terminal = Terminal::open();
    let to_hand_over = terminal.as_ref().filter(|terminal| terminal.is_ours());
    let mut exec = image.exec();
    let us = getpid();
    // Closed by a successful exec, or carries the errno of a failed one.
    let (failure, report) = pipe2(OFlag::O_CLOEXEC).map_err(no_process)?;
    let pid = sys::fork(|| {
        let errno = enter(inherited, us, to_hand_over, &mut exec);
        let _ = write(&report, &(errno as i32).to_ne_bytes());
        c_int::from(exit::NOT_FOUND)
    })
    .map_err(no_process)?;
    drop(report);
    // The child does this too: whoever comes first, no signal to the group can be too early.
    let _ = setpgid(pid, pid);
    match exec_failure(failure.into()) {
        None => Ok(Child { pid, terminal }),
        Some(errno) => {
            sys::wait_for(pid);
            if let Some(terminal) = to_hand_over {
                terminal.take_back(pid);
            }
            Err(image.error(errno))
        }
    }
}

/// The child between fork and exec; comes back only when the exec fails. Async-signal-safe.
fn enter(
    inherited: &Inherited,
    parent: Pid,
    terminal: Option<&Terminal>,
    exec: &mut sys::Exec<'_>,
) -> Errno {
    let _ = prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    if getppid() != parent {
        // The parent died before it could be noticed.
        return Errno::ESRCH;
    }
    let myself = getpid();
    let _ = setpgid(myself, myself);
    if let Some(terminal) = terminal {
        terminal.give(myself);
    }
    // Last, so that a signal that waits for us meets the dispositions that we leave behind.
    inherited.restore();
    exec.run()
}

/// Waits for the exec: the errno it failed with, or nothing once it worked (or the child died).
fn exec_failure(mut failure: File) -> Option<Errno> {
    let mut errno = [0; size_of::<i32>()];
    failure.read_exact(&mut errno).ok()?;
    Some(Errno::from_raw(i32::from_ne_bytes(errno)))
}

impl Command {
    /// The command from an argument list, its own name first; none if the list is empty.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Option<Command> {
        let mut args = args.into_iter();
        let program = args.next()?;
        Some(Command { program, args: args.collect(), extra_env: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[track_caller]
    fn check(program: &str, path: &str, expected: &[&str]) {
        let found: Vec<OsString> = candidates_of(program.as_bytes(), path.as_bytes())
            .into_iter()
            .map(OsString::from_vec)
            .collect();
        assert_eq!(found, expected, "{program} in {path}");
    }

    #[test]
    fn candidates_are_those_of_execvp() {
        check("ls", "/bin:/usr/bin", &["/bin/ls", "/usr/bin/ls"]);
        check("ls", ":/bin", &["ls", "/bin/ls"]);
        check("ls", "", &["ls"]);
        check("./ls", "/bin", &["./ls"]);
        check("/bin/ls", "/usr", &["/bin/ls"]);
        check("", "/bin", &[]);
    }

    #[test]
    fn names_in_messages_stay_on_one_line() {
        assert_eq!(one_line(OsStr::new("a\nb c")), "a\\nb c");
        assert_eq!(one_line(OsStr::from_bytes(b"\xff")), "\u{fffd}");
    }

    #[test]
    fn codes_of_failures_are_those_of_a_shell() {
        let image = Image::prepare(&Command { program: "/nowhere/x".into(), ..Command::default() })
            .expect("no NUL in it");
        assert_eq!(image.error(Errno::ENOENT).exit_code(), 127);
        assert_eq!(image.error(Errno::ENOTDIR).exit_code(), 127);
        assert_eq!(image.error(Errno::EACCES).exit_code(), 126);
        assert_eq!(image.error(Errno::ENOEXEC).exit_code(), 126);
        assert_eq!(image.error(Errno::E2BIG).exit_code(), 126);
    }
}
