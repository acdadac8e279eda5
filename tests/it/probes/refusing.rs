//! Servers that answer, but refuse us: login, rights, room.

use super::{LIMIT, WELL, hold, open_alone as alone, open_well as well, wait_says};
use crate::support::pod::Pod;
use crate::support::server::{any_server, servers};
use crate::support::wait::wait_for;

/// Alive and started, since there was an answer; not ready, for what `why` says.
#[track_caller]
pub(super) fn wait_refused(pod: &Pod, word: &str, why: &str) {
    let (live, ready) = (format!("live: the server answered {word}"), format!("not ready: {why}"));
    wait_says(pod, [&live, &ready, &format!("started: the server answered {word}")]);
}

#[test]
fn server_with_a_password_that_nobody_told_us_is_alive_but_not_ready() {
    let mut fleet = well(&any_server());
    let pod = &mut fleet.pods[0];
    pod.redis(&["CONFIG", "SET", "requirepass", "new"]).unwrap();
    pod.access.password = Some("new".to_owned());
    // Who is logged in stays so.
    pod.redis(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    wait_refused(pod, "NOAUTH", "our login is refused: NOAUTH Authentication required.");
    pod.redis(&["CONFIG", "SET", "requirepass", ""]).unwrap();
    wait_says(pod, WELL);
}

#[test]
fn wrong_password_is_said_so() {
    for server in servers() {
        let mut fleet = alone(&server);
        let pod = &mut fleet.pods[0];
        pod.conf.push("requirepass right".to_owned());
        pod.access.password = Some("right".to_owned());
        pod.env.insert("REJOIN_PASSWORD".to_owned(), "wrong".to_owned());
        pod.start();
        wait_refused(pod, "WRONGPASS", "our login is refused: WRONGPASS invalid username-password");
    }
}

#[test]
fn password_for_a_server_without_one_is_said_so() {
    let mut fleet = alone(&any_server());
    let pod = &mut fleet.pods[0];
    pod.env.insert("REJOIN_PASSWORD".to_owned(), "needless".to_owned());
    pod.start();
    wait_refused(pod, "ERR", "our login is refused: ERR AUTH <password> called without any");
}

#[test]
fn user_without_rights_is_said_so() {
    for server in servers() {
        let mut fleet = alone(&server);
        let pod = &mut fleet.pods[0];
        pod.conf.push("user prober on >secret +ping".to_owned());
        pod.env.insert("REJOIN_USERNAME".to_owned(), "prober".to_owned());
        pod.env.insert("REJOIN_PASSWORD".to_owned(), "secret".to_owned());
        pod.start();
        wait_refused(pod, "NOPERM", "our login is refused: NOPERM ");
        pod.redis(&["ACL", "SETUSER", "prober", "allcommands"]).unwrap();
        wait_says(pod, WELL);
    }
}

#[test]
fn user_without_a_password_is_logged_in_as() {
    for server in servers() {
        let mut fleet = alone(&server);
        let pod = &mut fleet.pods[0];
        pod.conf.push("user prober on nopass +@all ~* &*".to_owned());
        pod.env.insert("REJOIN_USERNAME".to_owned(), "prober".to_owned());
        pod.start();
        wait_says(pod, WELL);
        let clients = pod.text(&["CLIENT", "LIST"]).unwrap();
        assert!(clients.contains("user=prober"), "{clients}");
        pod.redis(&["ACL", "SETUSER", "prober", "resetpass", ">secret"]).unwrap();
        pod.redis(&["CLIENT", "KILL", "USER", "prober"]).unwrap();
        wait_refused(pod, "WRONGPASS", "our login is refused: WRONGPASS ");
    }
}

#[test]
fn password_file_that_is_missing_for_a_while_is_said_so() {
    let mut fleet = alone(&any_server());
    let pod = &mut fleet.pods[0];
    let file = pod.data().join("password");
    pod.conf.push("requirepass right".to_owned());
    pod.access.password = Some("right".to_owned());
    pod.env.insert("REJOIN_PASSWORD_FILE".to_owned(), file.display().to_string());
    pod.start();
    let why = "the server could not be asked: cannot read the password file";
    let starts = ["live: ", "not ready: ", "not started: "].map(|word| format!("{word}{why}"));
    wait_says(pod, starts.each_ref().map(String::as_str));
    std::fs::write(&file, "right\n").unwrap();
    wait_says(pod, WELL);
}

#[test]
fn server_without_room_for_a_client_is_alive_but_not_ready() {
    for server in servers() {
        let mut fleet = alone(&server);
        fleet.pods[0].conf.push("maxclients 20".to_owned());
        fleet.start_all();
        let pod = &fleet.pods[0];
        wait_says(pod, WELL);
        // Every connection goes, ours first to be there again.
        pod.redis(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
        let held: Vec<_> = (0..40).map(|_| hold(pod)).collect();
        let full = "the server has no room for another client";
        wait_refused(pod, "max number of clients reached", full);
        drop(held);
        wait_says(pod, WELL);
    }
}

#[test]
fn connection_that_is_closed_is_no_doubt_about_the_server() {
    let server = any_server();
    let mut fleets = [alone(&server), alone(&server)];
    fleets[1].pods[0].conf.push("cluster-enabled no".to_owned());
    fleets[1].pods[0].env.remove("REJOIN_SHARDS");
    for fleet in &mut fleets {
        fleet.start_all();
        let pod = &fleet.pods[0];
        let well = "ready: a master, ";
        wait_says(pod, ["live: ", well, "started: "]);
        for _ in 0..3 {
            let before = rounds(pod);
            pod.redis(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
            wait_for(LIMIT, "two more rounds", || rounds(pod) >= before + 2);
        }
        let log = pod.log();
        let (_, after) = log.split_once(well).unwrap();
        assert!(!after.contains("not ready"), "{after}");
    }
}

/// How often the keeper has looked.
fn rounds(pod: &Pod) -> u64 {
    let text = pod.http("/metrics").unwrap().body;
    let count = |line: &str| line.strip_prefix("rejoin_keeper_rounds_total ")?.parse().ok();
    text.lines().find_map(count).unwrap()
}
