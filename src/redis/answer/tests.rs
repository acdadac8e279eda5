//! Error lines as Redis 7.0.15 sends them in each state, where not said otherwise.

use super::*;

/// The answer that `line` is, where that does not hold the line.
#[track_caller]
fn is(line: &str, expected: &Answer) {
    assert_eq!(&Answer::from_error(line), expected, "{line}");
}

#[test]
fn states_of_the_server_are_told_apart() {
    is("LOADING Redis is loading the dataset in memory", &Answer::Loading);
    // Valkey 8.1.
    is("LOADING Valkey is loading the dataset in memory", &Answer::Loading);
    let script = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or \
                  SHUTDOWN NOSAVE.";
    is(script, &Answer::Busy);
    let function = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or \
                    SHUTDOWN NOSAVE.";
    is(function, &Answer::Busy);
    let down = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    is(down, &Answer::MasterDown);
    is("ERR max number of clients reached", &Answer::MaxClients);
    is("ERR max number of clients + cluster connections reached", &Answer::MaxClients);
}

#[test]
fn refused_logins_and_rights_keep_their_line() {
    for line in [
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOPERM this user has no permissions to run the 'ping' command",
        "NOPERM this user has no permissions to run the 'cluster|info' command",
        "ERR AUTH <password> called without any password configured for the default user. Are you \
         sure your configuration is correct?",
        "DENIED Redis is running in protected mode because protected mode is enabled and no \
         password is set for the default user.",
        // Redis 5.0.
        "ERR invalid password",
        "ERR Client sent AUTH, but no password is set",
    ] {
        is(line, &Answer::Refused(line.to_owned()));
    }
}

#[test]
fn words_that_only_begin_alike_and_all_others_are_other_errors() {
    for line in [
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist \
         to disk.",
        "ERR This instance has cluster support disabled",
        "CLUSTERDOWN The cluster is down",
        "READONLY You can't write against a read only replica.",
        "BUSYGROUP Consumer Group name already exists",
        "BUSYKEY Target key name already exists.",
        "ERR",
        "",
    ] {
        is(line, &Answer::Other(line.to_owned()));
    }
}
