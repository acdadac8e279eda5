//! The seams for the rest of the program: holding a signal, waiting before the start, requests.

use std::process::Command;

use nix::libc;

use super::{helper, wait_until};
use crate::support::process::{children, send_number, state, status_field};
use crate::support::running::Running;

#[track_caller]
fn start(role: &str, first: &str) -> Running {
    let mut running = Running::start(Command::new(helper()).arg(role));
    running.expect(first);
    running
}

#[test]
fn held_signal_is_passed_once_when_released() {
    let mut running = start("hold", "ready");
    running.signal(libc::SIGTERM);
    running.expect("held SIGTERM");
    running.signal(libc::SIGHUP);
    running.expect("1");
    running.say("release");
    running.expect("15");
    running.say("usr1");
    running.expect("10");
    running.signal(libc::SIGTERM);
    running.expect("15");
}

#[test]
fn second_signal_passes_at_once_and_the_held_one_never() {
    let mut running = start("hold", "ready");
    running.signal(libc::SIGTERM);
    running.expect("held SIGTERM");
    running.signal(libc::SIGINT);
    running.expect("2");
    running.say("release");
    running.say("usr1");
    running.expect("10");
}

#[test]
fn held_signal_is_passed_when_its_holder_panics() {
    let mut running = start("hold", "ready");
    running.signal(libc::SIGINT);
    running.expect("held SIGINT");
    running.say("panic");
    running.expect("2");
}

#[test]
fn signal_passes_when_the_interceptor_itself_panics() {
    let mut running = start("hold", "ready");
    running.close_stdin();
    wait_until("the other thread is gone", || status_field(running.pid(), "Threads") == "1");
    running.signal(libc::SIGTERM);
    running.expect("held SIGTERM");
    running.expect("15");
    running.signal(libc::SIGUSR1);
    running.expect("10");
}

#[test]
fn child_that_ends_ends_the_hold() {
    let mut running = start("hold", "ready");
    running.signal(libc::SIGTERM);
    running.expect("held SIGTERM");
    send_number(children(running.pid())[0], libc::SIGKILL);
    assert_eq!(running.code(), 137);
}

#[test]
fn sigterm_ends_the_wait_before_the_start() {
    for (signal, name) in [(15, "SIGTERM"), (2, "SIGINT"), (3, "SIGQUIT"), (1, "SIGHUP")] {
        let mut running = start("wait", "waiting");
        running.signal(signal);
        running.expect(&format!("left by {name}"));
        assert_eq!(running.code(), 128 + signal);
    }
}

#[test]
fn other_signals_during_the_wait_reach_the_child() {
    // The child inherits them blocked: it would not live to see them otherwise.
    let mut command = Command::new("env");
    command.arg("--block-signal=USR1,WINCH").arg(helper()).arg("wait");
    let mut running = Running::start(&mut command);
    running.expect("waiting");
    running.signal(libc::SIGWINCH);
    running.signal(libc::SIGUSR1);
    running.say("go");
    running.expect("ready");
    running.expect("10");
    running.expect("28");
}

#[test]
fn closed_end_of_the_wait_starts_the_command() {
    let mut running = start("wait", "waiting");
    running.close_stdin();
    running.expect("ready");
}

#[test]
fn ignored_signal_does_not_end_the_wait() {
    let mut command = Command::new("env");
    command.arg("--ignore-signal=HUP").arg(helper()).arg("wait");
    let mut running = Running::start(&mut command);
    running.expect("waiting");
    running.signal(libc::SIGHUP);
    running.say("go");
    running.expect("ready");
}

#[test]
fn stop_and_continue_work_during_the_wait() {
    let mut running = start("wait", "waiting");
    running.signal(libc::SIGTSTP);
    wait_until("it stops", || state(running.pid()) == Some('T'));
    running.signal(libc::SIGCONT);
    wait_until("it goes on", || state(running.pid()) == Some('S'));
    running.say("go");
    running.expect("ready");
}
