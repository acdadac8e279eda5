//! Forwarding.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::libc;

use super::{Place, REJOIN, places, start_helper, start_script, wait_until};
use crate::support::process::{children, send_number, state};
use crate::support::running::Running;

/// All that can be caught, 32 and 33 included, but SIGCHLD, which is about our own children.
fn catchable() -> impl Iterator<Item = i32> {
    (1..=64).filter(|number| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD].contains(number))
}

/// Stop signals also stop an init that somebody can continue.
fn stops(place: Place, number: i32) -> bool {
    place == Place::Plain && [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&number)
}

#[test]
fn every_catchable_signal_reaches_the_child_once() {
    for place in places() {
        let mut running = start_helper(place, &["signals"]);
        running.expect("ready");
        for number in catchable() {
            running.signal(number);
            running.expect(&number.to_string());
            if stops(place, number) {
                wait_until("the init stops too", || state(running.pid()) == Some('T'));
                running.signal(libc::SIGCONT);
                running.expect(&libc::SIGCONT.to_string());
            }
        }
    }
}

#[test]
fn fifty_queued_real_time_signals_arrive_fifty_times() {
    for place in places() {
        let mut running = start_helper(place, &["signals"]);
        running.expect("ready");
        running.signal(libc::SIGSTOP);
        wait_until("the init is stopped", || state(running.pid()) == Some('T'));
        for _ in 0..50 {
            running.signal(40);
        }
        running.signal(libc::SIGCONT);
        running.expect(&libc::SIGCONT.to_string());
        for _ in 0..50 {
            running.expect("40");
        }
        running.signal(libc::SIGUSR1);
        running.expect("10");
    }
}

#[test]
fn signal_in_the_first_milliseconds_is_not_lost() {
    for round in 0..150_u32 {
        let mut running = Running::start(Command::new(REJOIN).args(["sleep", "1000"]));
        let moment = Instant::now() + Duration::from_micros(u64::from(round) * 40);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        running.signal(libc::SIGTERM);
        // Either the init was not there yet, or the child got it.
        let status = running.end();
        assert!(status.code().is_none_or(|code| code == 143), "round {round}: {status}");
    }
}

#[test]
fn signal_before_the_child_is_ready_is_not_lost_by_pid_1() {
    if !places().contains(&Place::Pid1) {
        return;
    }
    for round in 0..25 {
        let mut running = start_script(Place::Pid1, "exec sleep 1000");
        let init = running.pid();
        // Before it has blocked its signals, the kernel drops them for any PID 1.
        wait_until("signals are blocked", || {
            std::fs::read_to_string(format!("/proc/{init}/status"))
                .is_ok_and(|status| status.contains("SigBlk:\tfffffffffffbfeff"))
        });
        running.signal(libc::SIGTERM);
        assert_eq!(running.code(), 143, "round {round}");
    }
}

#[test]
fn stopped_child_is_no_exit() {
    for place in places() {
        let mut running = start_helper(place, &["signals"]);
        running.expect("ready");
        let child = children(running.pid())[0];
        send_number(child, libc::SIGSTOP);
        wait_until("the child is stopped", || state(child) == Some('T'));
        // Without a terminal the init goes on: it has probes to answer.
        running.signal(libc::SIGUSR2);
        wait_until("the init has gone on", || state(running.pid()) == Some('S'));
        send_number(child, libc::SIGCONT);
        running.expect("12");
        send_number(child, libc::SIGKILL);
        assert_eq!(running.code(), 137);
    }
}

#[test]
fn job_control_stop_and_continue_work_without_a_terminal() {
    let mut running = start_script(Place::Plain, "echo ready; while :; do sleep 0.05; done");
    running.expect("ready");
    let child = children(running.pid())[0];
    running.signal(libc::SIGTSTP);
    wait_until("both are stopped", || {
        state(child) == Some('T') && state(running.pid()) == Some('T')
    });
    running.signal(libc::SIGCONT);
    wait_until("both go on", || state(child) != Some('T') && state(running.pid()) == Some('S'));
    running.signal(libc::SIGTERM);
    assert_eq!(running.code(), 143);
}

#[test]
fn stop_signal_does_not_stop_pid_1() {
    if !places().contains(&Place::Pid1) {
        return;
    }
    let mut running = start_script(Place::Pid1, "echo ready; while :; do sleep 0.05; done");
    running.expect("ready");
    let child = children(running.pid())[0];
    running.signal(libc::SIGTSTP);
    wait_until("the child is stopped", || state(child) == Some('T'));
    running.signal(libc::SIGCONT);
    wait_until("the child goes on", || state(child) != Some('T'));
    running.signal(libc::SIGTERM);
    assert_eq!(running.code(), 143);
}

#[test]
fn slow_shutdown_is_not_killed() {
    let script = "trap 'sleep 2.5; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let started: Vec<_> = places().into_iter().map(|place| start_script(place, script)).collect();
    for mut running in started {
        running.expect("ready");
        running.signal(libc::SIGTERM);
        assert_eq!(running.code(), 9);
    }
}
