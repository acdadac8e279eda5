//! The one place with `unsafe` code: the few system calls that `nix` cannot express.
//!
//! Signal masks are the kernel's own 64 bits (signal N is bit N-1), not glibc's `sigset_t`: glibc
//! hides signals 32 and 33, which would then be neither held back nor handed on unchanged.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::{mem, ptr};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;

/// Bytes in the kernel's signal mask, which every call that takes one wants to be told.
const MASK_BYTES: usize = size_of::<u64>();

/// Sets the signal mask of this thread and returns the one before.
pub(super) fn swap_signal_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both pointers are to live 8-byte values, the size that is passed; with these
    // arguments the call cannot fail.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &mask, &mut old, MASK_BYTES);
    }
    old
}

/// A kernel mask as the set that `nix` takes.
pub(super) fn signal_set(mask: u64) -> SigSet {
    const { assert!(size_of::<libc::sigset_t>() >= MASK_BYTES) };
    const { assert!(align_of::<libc::sigset_t>() >= align_of::<u64>()) };
    // SAFETY: a sigset_t is an array of integers, so all zero bytes are one; the kernel's mask is
    // its first 8 bytes, and size and alignment are checked above.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        ptr::write(ptr::from_mut(&mut set).cast::<u64>(), mask);
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// Whether the signal is ignored by this process.
pub(super) fn is_ignored(signal: c_int) -> bool {
    // SAFETY: all zero bytes are a valid sigaction; nothing is installed (null), only asked for.
    unsafe {
        let mut now: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, ptr::null(), &mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Makes this process ignore the signal.
pub(super) fn ignore(signal: c_int) {
    // SAFETY: SIG_IGN runs no code of ours. The call is async-signal-safe.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Gives the signal its default effect on this process.
pub(super) fn set_default(signal: c_int) {
    // SAFETY: SIG_DFL runs no code of ours. The call is async-signal-safe.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Sends a signal of any number to a process, or to a group when `pid` is negative.
pub(super) fn kill(pid: Pid, signal: c_int) -> nix::Result<()> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
}

/// The next child that ended or stopped, with its raw wait status; never blocks. `nix` would lose
/// the status of a child that was killed by a real-time signal.
pub(super) fn wait_any() -> Option<(Pid, c_int)> {
    wait(-1, libc::WNOHANG | libc::WUNTRACED)
}

/// Waits until that one child has ended, and reaps it.
pub(super) fn wait_for(child: Pid) {
    wait(child.as_raw(), 0);
}

fn wait(pid: libc::pid_t, options: c_int) -> Option<(Pid, c_int)> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live integer.
        match Errno::result(unsafe { libc::waitpid(pid, &mut status, options) }) {
            Ok(0) => return None,
            Ok(pid) => return Some((Pid::from_raw(pid), status)),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Fills each of the descriptors 0 to 2 that is closed with one that behaves as if it were closed
/// (`EBADF` on read and write) and is gone after an exec. Needs no `/dev/null`.
pub(super) fn occupy_closed_standard_descriptors() {
    for descriptor in 0..=2 {
        // SAFETY: F_GETFD only asks; the path is a NUL-terminated literal. The lowest free number
        // is taken, which is this one; it stays open on purpose.
        unsafe {
            if libc::fcntl(descriptor, libc::F_GETFD) == -1 {
                libc::open(c"/".as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
            }
        }
    }
}

/// The environment as it was inherited, byte for byte, entries without `=` included.
pub(super) fn environment() -> Vec<CString> {
    let mut entries = Vec::new();
    // SAFETY: `environ` is a null-terminated array of C strings, and nothing in this program ever
    // changes it (clippy.toml bans `set_var`).
    unsafe {
        let mut entry = libc::environ.cast_const();
        while !entry.is_null() && !(*entry).is_null() {
            entries.push(CStr::from_ptr(*entry).to_owned());
            entry = entry.add(1);
        }
    }
    entries
}

/// Forks; `child` runs in the child and yields its exit code. It must do nothing but what is
/// async-signal-safe (no allocation, no lock), since other threads may hold any lock right now.
pub(super) fn fork(child: impl FnOnce() -> c_int) -> nix::Result<Pid> {
    // SAFETY: the child does only what is async-signal-safe, and never returns from here.
    match Errno::result(unsafe { libc::fork() })? {
        0 => {
            let code = child();
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// All that an exec needs, made beforehand, so that the exec itself allocates nothing.
pub(super) struct Exec<'a> {
    candidates: &'a [CString],
    argv: Vec<*const c_char>,
    /// `/bin/sh FILE ARG...`, for a script without a `#!` line; the file is filled in later.
    shell_argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

impl<'a> Exec<'a> {
    /// Borrows the strings: files to try in turn, arguments from the program's name on, and
    /// `NAME=value` entries.
    pub(super) fn new(candidates: &'a [CString], args: &'a [CString], env: &'a [CString]) -> Self {
        let argv = null_terminated(args.iter());
        let mut shell_argv = vec![c"/bin/sh".as_ptr(), ptr::null()];
        shell_argv.extend_from_slice(argv.get(1..).unwrap_or_default());
        Exec { candidates, argv, shell_argv, envp: null_terminated(env.iter()) }
    }

    /// Replaces this process by the first candidate that can be executed, as `execvp` does; comes
    /// back with the reason when there is none. Async-signal-safe.
    pub(super) fn run(&mut self) -> Errno {
        let mut failure = Errno::ENOENT;
        for file in self.candidates {
            match self.try_file(file) {
                Errno::EACCES => failure = Errno::EACCES,
                Errno::ENOENT | Errno::ENOTDIR if self.candidates.len() > 1 => {}
                other => return other,
            }
        }
        failure
    }

    fn try_file(&mut self, file: &CStr) -> Errno {
        // SAFETY: the arrays end with a null pointer and point to strings that `'a` keeps alive.
        unsafe { libc::execve(file.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        let errno = Errno::last();
        if errno == Errno::ENOEXEC {
            self.shell_argv[1] = file.as_ptr();
            // SAFETY: as above; `file` outlives the call.
            unsafe {
                libc::execve(c"/bin/sh".as_ptr(), self.shell_argv.as_ptr(), self.envp.as_ptr())
            };
        }
        errno
    }
}

fn null_terminated<'a>(strings: impl Iterator<Item = &'a CString>) -> Vec<*const c_char> {
    strings.map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}
