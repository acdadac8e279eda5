//! The child finds everything as if the init were not there.

use std::process::Command;

use super::{Place, REJOIN, places, start_script, wait_until};
use crate::support::process::{children, status_field};
use crate::support::running::{Running, finish};

/// Runs `wrapper... child...` and `wrapper... rejoin child...`, and compares what both print.
#[track_caller]
fn check_same(wrapper: &[&str], child: &[&str]) -> String {
    let run = |init: &[&str]| {
        let words: Vec<&str> = [wrapper, init, child].concat();
        finish(Command::new(words[0]).args(&words[1..]))
    };
    let bare = run(&[]);
    assert_eq!(run(&[REJOIN]), bare, "{wrapper:?} {child:?}");
    bare.1
}

/// The bits of signals 1 to 31: std starts our processes with 32 and 33 ignored, or not.
#[track_caller]
fn standard_signals(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("in the status");
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a mask") & 0x7fff_ffff
}

#[test]
fn mask_and_dispositions_are_as_inherited() {
    let show = ["grep", "-E", "^Sig(Blk|Ign|Pnd)|^ShdPnd", "/proc/self/status"];
    check_same(&["env"], &show);
    check_same(&["env", "--default-signal"], &show);
    let some = check_same(&["env", "--ignore-signal=HUP,CHLD,TSTP,USR2"], &show);
    assert_eq!(standard_signals(&some, "SigIgn"), 0x0009_0801, "{some}");
    let pipe = check_same(&["env", "--ignore-signal=PIPE", "--block-signal=TERM,USR1"], &show);
    assert_eq!(standard_signals(&pipe, "SigIgn"), 0x1000, "{pipe}");
    assert_eq!(standard_signals(&pipe, "SigBlk"), 0x4200, "{pipe}");
    check_same(&["env", "--ignore-signal"], &show);
    check_same(&["env", "--block-signal"], &show);
}

/// Lists its open descriptors with builtins only, so that none of its own is among them.
const LIST: &str = r#"l=; n=0; while [ $n -lt 64 ]; do
    if [ -e /proc/$$/fd/$n ]; then l="$l $n"; fi; n=$((n+1)); done; echo "$l" >"$OUT""#;

#[test]
fn open_and_closed_descriptors_are_as_inherited() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("list");
    let list = |init: &[&str], redirections: &str| {
        let script = format!(r#"exec "$@" {redirections}"#);
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).args(init).args(["sh", "-c", LIST]).env("OUT", &out);
        assert_eq!(finish(&mut command).0, 0);
        std::fs::read_to_string(&out).expect("written")
    };
    for redirections in
        ["", "<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-", "7</dev/null"]
    {
        let bare = list(&[], redirections);
        assert_eq!(list(&[REJOIN], redirections), bare, "with {redirections}");
    }
}

#[test]
fn no_descriptor_of_ours_takes_the_place_of_a_closed_stream() {
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" sleep 1000 <&- >&- 2>&-"#, REJOIN]);
    let running = Running::start(&mut command);
    wait_until("the child runs", || !children(running.pid()).is_empty());
    for stream in 0..=2 {
        let target = std::fs::read_link(format!("/proc/{}/fd/{stream}", running.pid()));
        // A place-holder that answers EBADF.
        assert_eq!(target.expect("open").as_os_str(), "/", "descriptor {stream}");
    }
}

#[test]
fn failed_start_is_silent_and_correct_without_standard_error() {
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" no-such-command <&- >&- 2>&-"#, REJOIN]);
    assert_eq!(finish(&mut command).0, 127);
}

#[test]
fn streams_and_environment_pass_untouched() {
    check_same(&["env", "-i", "A=1", "B=x=y", "EMPTY="], &["/usr/bin/env"]);
    let (_, out, errors) =
        finish(Command::new(REJOIN).args(["sh", "-c", "printf out; printf err >&2"]));
    assert_eq!((out.as_str(), errors.as_str()), ("out", "err"));
}

#[test]
fn standard_input_passes_untouched() {
    for place in places() {
        let mut running = start_script(place, "cat; echo end");
        running.say("a line");
        running.expect("a line");
        running.close_stdin();
        running.expect("end");
        assert_eq!(running.code(), 0);
    }
}

#[test]
fn init_leaves_the_working_directory_and_the_child_keeps_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(REJOIN);
    command.args(["sh", "-c", "pwd -P; read x"]).current_dir(&directory);
    let mut running = Running::start(&mut command);
    let real = directory.path().canonicalize().expect("a path");
    running.expect(real.to_str().expect("text"));
    let link = format!("/proc/{}/cwd", running.pid());
    wait_until("the init is in /", || {
        std::fs::read_link(&link).is_ok_and(|target| target.as_os_str() == "/")
    });
}

#[test]
fn init_itself_blocks_all_signals() {
    let mut running = start_script(Place::Plain, "echo ready; read x");
    running.expect("ready");
    assert_eq!(status_field(running.pid(), "SigBlk"), "fffffffffffbfeff");
}
