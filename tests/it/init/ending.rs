//! Exit codes, and commands that cannot be run.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{REJOIN, command_in, places};
use crate::support::left_out::left_out;
use crate::support::running::finish;

#[track_caller]
fn check(child: &[&str], expected: i32) {
    for place in places() {
        let (code, _, errors) = finish(command_in(place).args(child));
        assert_eq!(code, expected, "{child:?} in {place:?}: {errors}");
        assert_eq!(errors, "", "{child:?} in {place:?}");
    }
}

#[test]
fn exit_code_is_that_of_the_child() {
    check(&["true"], 0);
    check(&["sh", "-c", "exit 3"], 3);
    check(&["--", "sh", "-c", "exit 255"], 255);
}

#[test]
fn child_killed_by_a_signal_exits_128_plus_its_number() {
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139), ("40", 168)] {
        check(&["sh", "-c", &format!("kill -{signal} $$")], code);
    }
}

#[test]
fn options_after_the_command_are_the_commands_own() {
    let (code, out, _) = finish(Command::new(REJOIN).args(["echo", "--help", "--", "-x"]));
    assert_eq!((code, out.as_str()), (0, "--help -- -x\n"));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "to see whether it is there at all")]
fn exit_codes_are_those_of_tini_and_dumb_init() {
    for rival in ["tini", "dumb-init"] {
        if Command::new(rival).arg("true").status().is_err() {
            left_out(&format!("comparison of exit codes with {rival}: it is not installed"));
            continue;
        }
        for script in ["exit 0", "exit 17", "kill -INT $$", "kill -ABRT $$", "sleep 0 & exit 4"] {
            let [theirs, ours] = [rival, REJOIN]
                .map(|init| finish(Command::new(init).args(["--", "sh", "-c", script])).0);
            assert_eq!(ours, theirs, "{script} under {rival}");
        }
    }
}

/// One line that names the command, and the code that a shell gives.
#[track_caller]
fn check_refused(command: &mut Command, name: &str, expected: i32, reason: &str) {
    let (code, out, errors) = finish(command);
    assert_eq!((code, out.as_str()), (expected, ""), "{errors}");
    assert!(errors.starts_with(&format!("rejoin: cannot run {name}: ")), "{errors}");
    assert!(errors.contains(reason), "{errors}");
    assert_eq!(errors.matches('\n').count(), 1, "{errors}");
}

#[test]
fn command_not_found_exits_127_with_one_line() {
    for place in places() {
        let name = "no-such-command";
        check_refused(command_in(place).arg(name), name, 127, "not found in PATH");
        check_refused(command_in(place).arg("/no/such"), "/no/such", 127, "no such file");
        check_refused(command_in(place).arg("a\nb"), "a\\nb", 127, "not found in PATH");
        check_refused(command_in(place).arg(""), "an empty command name", 127, "not found");
    }
}

#[test]
fn command_that_cannot_be_executed_exits_126_with_one_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("plain");
    fs::write(&file, "#!/bin/sh\n").expect("written");
    for place in places() {
        let name = file.to_str().expect("text");
        check_refused(command_in(place).arg(&file), name, 126, "Permission denied");
        check_refused(command_in(place).arg("/tmp"), "/tmp", 126, "Permission denied");
    }
}

/// A directory for `PATH` with one script in it.
fn directory_with(name: &str, content: &str, mode: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(name);
    fs::write(&file, content).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("mode set");
    directory
}

#[test]
fn missing_interpreter_is_told_from_a_missing_file() {
    let directory = directory_with("script", "#!/no/such/interpreter\n", 0o755);
    let mut command = Command::new(REJOIN);
    command.arg("script").env("PATH", directory.path());
    check_refused(&mut command, "script", 127, "not the interpreter");
}

#[test]
fn file_that_may_not_be_executed_hides_no_later_one() {
    let unusable = directory_with("tool", "#!/bin/sh\nexit 1\n", 0o644);
    let usable = directory_with("tool", "#!/bin/sh\nexit 21\n", 0o755);
    let path = format!("{}:{}", unusable.path().display(), usable.path().display());
    assert_eq!(finish(Command::new(REJOIN).arg("tool").env("PATH", path)).0, 21);
    let mut command = Command::new(REJOIN);
    command.arg("tool").env("PATH", unusable.path());
    check_refused(&mut command, "tool", 126, "Permission denied");
}

#[test]
fn path_is_searched_as_execvp_does() {
    let directory = directory_with("tool", "echo \"by sh: $1\"\n", 0o755);
    let mut command = Command::new(REJOIN);
    command.args(["tool", "x y"]).current_dir(&directory).env("PATH", "/nowhere:");
    let (code, out, errors) = finish(&mut command);
    assert_eq!((code, out.as_str()), (0, "by sh: x y\n"), "{errors}");
    assert_eq!(finish(Command::new(REJOIN).arg("true").env_remove("PATH")).0, 0);
}

#[test]
fn arguments_are_bytes() {
    let odd = OsStr::from_bytes(b"\xff\xfe=\n");
    let mut command = Command::new(REJOIN);
    command.args([OsStr::new("sh"), OsStr::new("-c"), OsStr::new("printf %s \"$0\" | wc -c"), odd]);
    assert_eq!(finish(&mut command).1.trim(), "4");
}

#[test]
fn too_few_descriptors_are_an_error_and_no_panic() {
    let mut codes = Vec::new();
    for limit in 3..12 {
        let script = format!(r#"ulimit -n {limit}; exec "$0" sh -c 'exit 5'"#);
        let (code, _, errors) = finish(Command::new("sh").args(["-c", &script, REJOIN]));
        assert!(code == 5 || errors.starts_with("rejoin: cannot "), "{limit}: {code} {errors}");
        codes.push(code);
    }
    assert_eq!((codes.first(), codes.last()), (Some(&126), Some(&5)), "{codes:?}");
    codes.dedup();
    assert_eq!(codes, [126, 5]);
}

#[test]
fn exit_code_survives_an_ignored_sigchld() {
    for place in places() {
        let inner = command_in(place);
        let mut command = Command::new("env");
        command.arg("--ignore-signal=CHLD").arg(inner.get_program()).args(inner.get_args());
        assert_eq!(finish(command.args(["sh", "-c", "exit 6"])).0, 6, "{place:?}");
    }
}
