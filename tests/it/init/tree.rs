//! Orphans, zombies, and what happens to the tree when one end of it dies.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::libc;

use super::{Place, REJOIN, places, start_helper, start_script, wait_until};
use crate::support::process::{children, send_number, stat, state, status_field};
use crate::support::running::Running;

#[test]
fn burst_of_2000_orphans_is_reaped_without_spinning() {
    for place in places() {
        let mut running = start_helper(place, &["orphans", "2000"]);
        running.expect("left");
        let init = running.pid();
        wait_until("the orphans have come to the init", || children(init).len() == 2001);
        running.say("now");
        running.expect("burst");
        wait_until("only the child is left", || children(init).len() == 1);
        let ticks = stat(init).expect("it lives").ticks;
        assert!(ticks < 100, "{ticks} ticks in {place:?}");
        running.close_stdin();
        assert_eq!(running.code(), 7);
    }
}

#[test]
fn init_ends_with_its_child_though_others_are_left() {
    for place in places() {
        let mut running = start_script(place, "sleep 1000 >/dev/null & echo $!; exit 5");
        let left: u32 = running.line().parse().expect("a process id");
        assert_eq!(running.code(), 5);
        if place == Place::Plain {
            send_number(left, libc::SIGKILL);
        }
    }
}

#[test]
fn child_dies_with_a_killed_init() {
    for place in places() {
        let mut running = start_helper(place, &["signals"]);
        running.expect("ready");
        let child = children(running.pid())[0];
        running.signal(libc::SIGKILL);
        wait_until("the child is gone", || state(child).is_none_or(|state| state == 'Z'));
    }
}

#[test]
fn init_becomes_a_subreaper_silently() {
    let mut running = start_script(Place::Plain, "(sleep 1000 >/dev/null & echo $!); read x");
    let orphan: u32 = running.line().parse().expect("a process id");
    wait_until("the orphan is the init's", || children(running.pid()).contains(&orphan));
    assert_eq!(status_field(orphan, "PPid"), running.pid().to_string());
    send_number(orphan, libc::SIGKILL);
    wait_until("the orphan is reaped", || state(orphan).is_none());
}

#[test]
fn all_zombies_are_reaped_before_the_exit() {
    // What the init left behind would come to us, and stay.
    nix::sys::prctl::set_child_subreaper(true).expect("allowed");
    let orphan = "(sleep 1000 >/dev/null & echo $!)";
    let script = [orphan, orphan, orphan, "read x; exit 3"].join("; ");
    let mut running = start_script(Place::Plain, &script);
    let orphans: Vec<u32> = (0..3).map(|_| running.line().parse().expect("an id")).collect();
    let init = running.pid();
    wait_until("the orphans are the init's", || children(init).len() == 4);
    let child = children(init).into_iter().find(|id| !orphans.contains(id)).expect("the child");
    running.signal(libc::SIGSTOP);
    wait_until("the init is stopped", || state(init) == Some('T'));
    running.say("");
    wait_until("the child is dead", || state(child) == Some('Z'));
    for &orphan in &orphans {
        send_number(orphan, libc::SIGKILL);
        wait_until("the orphan is dead", || state(orphan) == Some('Z'));
    }
    running.signal(libc::SIGCONT);
    assert_eq!(running.code(), 3);
    assert_eq!(orphans.into_iter().filter_map(state).collect::<String>(), "");
}

#[test]
fn idle_init_never_wakes_up() {
    let mut running = start_helper(Place::Plain, &["signals"]);
    running.expect("ready");
    let init = running.pid();
    wait_until("it sleeps", || state(init) == Some('S'));
    let wakeups = || {
        ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"]
            .map(|field| status_field(init, field))
    };
    let before = wakeups();
    let end = Instant::now() + Duration::from_millis(2500);
    wait_until("some time has passed", || Instant::now() >= end);
    assert_eq!(wakeups(), before);
}

#[test]
fn child_has_a_process_group_of_its_own() {
    let mut running = Running::start(Command::new(REJOIN).args([
        "sh",
        "-c",
        "cut -d' ' -f1,5 /proc/$$/stat; read x",
    ]));
    let line = running.line();
    let (pid, group) = line.split_once(' ').expect("two numbers");
    assert_eq!(pid, group);
}
