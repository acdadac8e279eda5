//! Children and seams for the tests of the init. Built as an example, so that it is a process of
//! its own whose main thread is free.
#![allow(unsafe_code, reason = "raw signal masks and forks, in a program for tests only")]
#![allow(missing_docs, reason = "a program for tests only")]

use std::ffi::OsString;
use std::io::{BufRead, Read, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use nix::libc;
use nix::unistd::{ForkResult, fork, pipe};
use rejoin::init::{Command, Inherited, Init, Signal};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("signals") => signals(),
        Some("orphans") => orphans(args.next().and_then(|n| n.parse().ok()).expect("a number")),
        Some("hold") => hold(),
        Some("wait") => wait(),
        other => panic!("no such role: {other:?}"),
    }
}

/// Prints the number of each signal that comes, 32 and 33 included, until it is killed.
fn signals() -> ExitCode {
    let all = u64::MAX;
    // SAFETY: the mask is 8 bytes, as is said; the descriptor is new.
    let descriptor = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &all, 0, size_of::<u64>());
        libc::signalfd(-1, (&raw const all).cast(), libc::SFD_CLOEXEC)
    };
    assert!(descriptor >= 0);
    println!("ready");
    let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
    loop {
        // SAFETY: the buffer is as large as one record.
        let read = unsafe { libc::read(descriptor, info.as_mut_ptr().cast(), info.len()) };
        assert_eq!(read, info.len() as isize);
        println!("{}", u32::from_ne_bytes(info[..4].try_into().expect("4 bytes")));
    }
}

/// Leaves that many orphans that all end in the same moment; then waits for the end of stdin.
fn orphans(count: usize) -> ExitCode {
    let (until, end) = pipe().expect("a pipe");
    // SAFETY: this program has one thread.
    if let ForkResult::Parent { child } = unsafe { fork() }.expect("a fork") {
        nix::sys::wait::waitpid(child, None).expect("our child");
    } else {
        for _ in 0..count {
            // SAFETY: this program has one thread.
            if let ForkResult::Child = unsafe { fork() }.expect("a fork") {
                drop(end);
                let _ = std::fs::File::from(until).read(&mut [0]);
                // SAFETY: ends the process.
                unsafe { libc::_exit(0) };
            }
        }
        // SAFETY: ends the process, which makes orphans of its children.
        unsafe { libc::_exit(0) };
    }
    println!("left");
    let mut line = String::new();
    stdin().read_line(&mut line).expect("a line");
    drop(end);
    println!("burst");
    let _ = stdin().read_line(&mut line);
    ExitCode::from(7)
}

/// The signal recorder under an init that holds the first SIGTERM or SIGINT until a line comes.
/// It is forked while other threads hold the allocator's locks most of the time.
fn hold() -> ExitCode {
    let init = Init::new(Inherited::capture()).expect("an init");
    let handle = init.handle();
    let spawned = Arc::new(AtomicBool::new(false));
    for _ in 0..3 {
        let spawned = Arc::clone(&spawned);
        thread::spawn(move || {
            while !spawned.load(Ordering::Relaxed) {
                drop(std::hint::black_box(vec![0_u8; 100_000]));
            }
        });
    }
    let child = init.spawn(&recorder()).expect("spawned");
    spawned.store(true, Ordering::Relaxed);
    let (sender, held) = channel();
    thread::spawn(move || {
        let mut release = None;
        for line in stdin().lock().lines().map_while(Result::ok) {
            release = release.or_else(|| held.try_recv().ok());
            match line.as_str() {
                "usr1" => handle.signal_child(Signal::new(libc::SIGUSR1).expect("a signal")),
                "release" => drop(release.take()),
                _ => panic!("as asked for"),
            }
        }
    });
    let code = init.run(
        child,
        Some(Box::new(move |signal, release| {
            say(&format!("held {signal}"));
            // With a standard input at its end nobody takes the release: the send fails.
            sender.send(release).expect("somebody to release it");
        })),
    );
    ExitCode::from(code)
}

/// The signal recorder under an init that waits for standard input first.
fn wait() -> ExitCode {
    let init = Init::new(Inherited::capture()).expect("an init");
    say("waiting");
    if let Err(signal) = init.wait_until(stdin().as_fd()) {
        say(&format!("left by {signal}"));
        return ExitCode::from(signal.exit_code());
    }
    let child = init.spawn(&recorder()).expect("spawned");
    ExitCode::from(init.run(child, None))
}

fn recorder() -> Command {
    Command {
        program: std::env::current_exe().expect("a path").into(),
        args: vec![OsString::from("signals")],
        extra_env: Vec::new(),
    }
}

fn say(line: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
