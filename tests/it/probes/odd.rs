//! Servers that answer late, that answer nonsense, or that let us do less than we need.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::{LIMIT, WELL, open_alone, wait_says, well};
use crate::forming::{status, wait_held};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::left_out::left_out;
use crate::support::other::Other;
use crate::support::server::{any_server, servers};
use crate::support::wait::wait_ok;

#[test]
fn server_that_answers_late_is_not_ready_until_it_answers() {
    for server in servers() {
        let fleet = well(&server);
        let pod = &fleet.pods[0];
        let child = pod.server_pid();
        pod.redis(&["CLIENT", "PAUSE", "8000", "ALL"]).unwrap();
        wait_says(pod, ["live: no answer for ", "not ready: no answer for ", "started: "]);
        // The same words are in the status, which stays to be had.
        let ready = status(pod).unwrap().probes.ready;
        // Over TLS a new connection has to be answered as well.
        let late = ["no reply within", "no connection within"];
        let is_said = late.iter().any(|late| ready.reason.contains(late)) || ready.ok;
        assert!(is_said, "{ready:?}");
        wait_says(pod, WELL);
        assert_eq!(pod.server_pid(), child);
    }
}

#[test]
fn own_server_that_says_nonsense_is_alive_but_not_ready() {
    for (says, heard) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "it says `HTTP/1.1 400 Bad Request"),
        ("\0\u{1}\u{2}garbage\n\r\u{7f}", "it says `"),
    ] {
        let mut fleet = open_alone(&any_server());
        // Something that runs, while somebody else answers at its address.
        let idle = fleet.dir().join("redis-server");
        let real = fleet.pods[0].server.bin.display().to_string();
        let script = format!(
            "#!/bin/sh\n[ \"$1\" != --version ] || exec {real} \"$@\"\n\
                              exec sleep 1000\n"
        );
        fs::write(&idle, script).unwrap();
        fs::set_permissions(&idle, Permissions::from_mode(0o755)).unwrap();
        let pod = &mut fleet.pods[0];
        pod.server.bin = idle;
        let _other = Other::on(pod.address(), says);
        pod.start();
        let strange = "the server answered what is not understood";
        let why = format!("not ready: the server's answer is not understood: {heard}");
        wait_says(pod, [&format!("live: {strange}"), &why, &format!("started: {strange}")]);
        let ready = status(pod).unwrap().probes.ready;
        assert!(ready.reason.contains(heard), "{ready:?}");
    }
}

#[test]
fn command_that_the_login_may_not_use_is_said_so_and_used_once_it_may() {
    for server in servers() {
        if !server.is_at_least((7, 0)) {
            left_out("a login without a right: rights on subcommands are new in 7.0");
            continue;
        }
        let mut fleet = Fleet::new(&Recipe {
            node_timeout: Duration::from_millis(2500),
            ..Recipe::wrapped(&server, 1).open()
        });
        for pod in &mut fleet.pods {
            pod.conf.push("user keeper on >secret ~* +@all".to_owned());
            pod.env.insert("REJOIN_USERNAME".to_owned(), "keeper".to_owned());
            pod.env.insert("REJOIN_PASSWORD".to_owned(), "secret".to_owned());
        }
        fleet.start_all();
        fleet.wait_whole(LIMIT);
        for pod in &mut fleet.pods {
            pod.kill();
            pod.conf.push("user keeper on >secret ~* +@all -cluster|meet".to_owned());
            // Of two lines for one user a server takes neither.
            pod.conf.retain(|line| line != "user keeper on >secret ~* +@all");
        }
        (0..2).for_each(|ordinal| fleet.swap_address(ordinal));
        fleet.start_all();
        for pod in &fleet.pods {
            wait_held(pod, "failed_step");
            let held = status(pod).unwrap().held;
            assert!(held.iter().any(|held| held.reason.contains("NOPERM")), "{held:?}");
        }
        for pod in &fleet.pods {
            pod.redis(&["ACL", "SETUSER", "keeper", "+cluster|meet"]).unwrap();
        }
        fleet.wait_whole(LIMIT);
        wait_ok(LIMIT, "nothing to be held any more", || {
            let held = status(&fleet.pods[0])?.held;
            if held.is_empty() { Ok(()) } else { Err(format!("{held:?}")) }
        });
    }
}
