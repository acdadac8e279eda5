//! Passwords with anything in them, wrong ones, and ones that change.

use std::fs;

use crate::support::lock::{COPIER, KEEPER, Lock, hashed_bytes, quoted};
use crate::support::server::{Server, any_server, servers};

use super::moving::roll;
use super::{
    LIMIT, alone, disconnect, file, fleet, one_of_six_is_in_doubt, place, wait_all_ready,
    wait_doubt, wait_held_for, wait_nothing_held, well,
};
use crate::forming::recipe;
use crate::healing::{PATIENT, six};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::keys::{assert_keys, write_keys};
use crate::support::pod::Pod;
use crate::support::wait::wait_ok;

#[test]
fn one_pod_of_six_with_another_password_says_which_and_heals_without_a_restart() {
    let recipe = Recipe { lock: Lock::Locked, ..six(&any_server(), PATIENT) };
    let mut fleet = Fleet::new(&recipe);
    let own = file(&fleet, "password-of-5");
    fs::write(&own, KEEPER).unwrap();
    fleet.pods[5].env.insert("REJOIN_PASSWORD_FILE".to_owned(), own.display().to_string());
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    let who = format!(
        "user keeper of REJOIN_USERNAME, password of REJOIN_PASSWORD_FILE in {}",
        own.display()
    );
    let spoil = || fs::write(&own, "another").unwrap();
    let mend = || fs::write(&own, KEEPER).unwrap();
    one_of_six_is_in_doubt(&fleet, spoil, &["our login is refused: WRONGPASS", &who], mend);
}

#[test]
fn password_of_redis_conf_that_is_wrong_is_named_with_its_line() {
    for server in servers() {
        let open = Recipe { replicas: 0, ..Recipe::wrapped(&server, 1) }.open();
        let mut fleet = Fleet::new(&open);
        let pod = &mut fleet.pods[0];
        pod.conf.push("requirepass right".to_owned());
        pod.access.password = Some("right".to_owned());
        pod.start();
        wait_all_ready(&fleet);
        let pod = &mut fleet.pods[0];
        pod.redis(&["CONFIG", "SET", "requirepass", "new"]).unwrap();
        pod.access.password = Some("new".to_owned());
        pod.redis(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
        let lines = fs::read_to_string(pod.conf_file()).unwrap().lines().count();
        let who = format!(
            "user default, password of requirepass in {}:{lines}",
            pod.conf_file().display()
        );
        wait_doubt(pod, &["our login is refused: WRONGPASS", &who]);
        pod.redis(&["CONFIG", "SET", "requirepass", "right"]).unwrap();
        pod.access.password = Some("right".to_owned());
        wait_all_ready(&fleet);
    }
}

/// As what the replica logs in to its master, and where that was read.
fn copier_of(pod: &Pod) -> String {
    let at = |option| place(pod, option);
    format!("(user copier of {}, password of {})", at("masteruser"), at("masterauth"))
}

#[test]
fn replica_whose_password_its_master_refuses_says_which_and_heals_without_a_restart() {
    for server in servers() {
        let mut fleet = fleet(&server, 1, 1);
        fleet.pods[1].conf.push("masterauth hunter2".to_owned());
        fleet.start_all();
        let pod = &fleet.pods[1];
        wait_held_for(pod, "login_refused", &["WRONGPASS", &copier_of(pod)]);
        wait_doubt(pod, &["first sync"]);
        let log = pod.log();
        assert!(log.contains(&copier_of(pod)) && !log.contains("hunter2"), "{log}");
        pod.redis(&["CONFIG", "SET", "masterauth", COPIER]).unwrap();
        fleet.wait_whole(LIMIT);
        wait_all_ready(&fleet);
        fleet.pods.iter().for_each(wait_nothing_held);
    }
}

#[test]
fn replica_whose_user_lacks_a_right_says_which_until_it_has_it() {
    let mut fleet = fleet(&any_server(), 1, 1);
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    let master = &fleet.pods[0];
    master.redis(&["ACL", "SETUSER", "copier", "-psync", "-replconf"]).unwrap();
    master.redis(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    let pod = &fleet.pods[1];
    wait_held_for(pod, "login_refused", &["NOPERM", "'replconf'", &copier_of(pod)]);
    master.redis(&["ACL", "SETUSER", "copier", "+psync", "+replconf"]).unwrap();
    fleet.wait_whole(LIMIT);
    fleet.pods.iter().for_each(wait_nothing_held);
}

#[test]
fn replica_without_a_login_says_so() {
    let password = Some("right".to_owned());
    let mut fleet = Fleet::new(&Recipe { password, ..recipe(&any_server(), 1) });
    let conf = &mut fleet.pods[1].conf;
    conf.iter_mut().for_each(|line| *line = line.replace("masterauth right", ""));
    fleet.start_all();
    let who = "(user default, no password: set masterauth)";
    wait_held_for(&fleet.pods[1], "login_refused", &["NOAUTH", who]);
}

#[test]
fn missing_password_is_said_so() {
    let mut fleet = alone(&any_server());
    let pod = &mut fleet.pods[0];
    pod.env.remove("REJOIN_USERNAME");
    pod.env.remove("REJOIN_PASSWORD_FILE");
    pod.conf.push("masteruser \"\"\nmasterauth \"\"".to_owned());
    pod.start();
    let who = "(user default, no password: set REJOIN_PASSWORD_FILE)";
    wait_doubt(&fleet.pods[0], &["our login is refused: NOAUTH", who]);
}

#[test]
fn refused_login_is_no_silence_where_another_address_of_the_server_leads_nowhere() {
    let mut fleet = alone(&any_server());
    fs::write(file(&fleet, "password"), "another").unwrap();
    let pod = &mut fleet.pods[0];
    // As by default in a pod without IPv6. The address is nobody's (RFC 3849).
    pod.conf.push(format!("bind {} -2001:db8::1", pod.ip));
    pod.start();
    wait_doubt(&fleet.pods[0], &["our login is refused: WRONGPASS"]);
}

#[test]
fn password_with_anything_in_it_is_read_from_a_file() {
    let server = any_server();
    for secret in [
        &b"it's \"quoted\" \\ and # spaced "[..],
        b"  blanks around\t ",
        b"\xff\xfe bytes \x80 above 127 \xc3\xa4",
        b"two\nlines",
        b"\n",
    ] {
        let mut fleet = alone(&server);
        let users = file(&fleet, "users.acl");
        let text = fs::read_to_string(&users).unwrap();
        let text = text.replace(&hashed_bytes(KEEPER.as_bytes()), &hashed_bytes(secret));
        fs::write(&users, text).unwrap();
        for end in [&b"\n"[..], b"\r\n"] {
            fs::write(file(&fleet, "password"), [secret, end].concat()).unwrap();
            fleet.start_all();
            wait_all_ready(&fleet);
            fleet.pods[0].kill();
        }
    }
}

#[test]
fn password_with_anything_in_it_is_read_from_redis_conf_and_from_the_variable() {
    for (line, variable) in [
        ("\"it's \\\"quoted\\\" \\\\ and # spaced \"", "it's \"quoted\" \\ and # spaced "),
        ("'single \\'quotes\\''", "single 'quotes'"),
        ("\"\\xc3\\xa4\\xe2\\x82\\xac\"", "\u{e4}\u{20ac}"),
        ("$dollar`and`#hash", "$dollar`and`#hash"),
    ] {
        for by_variable in [false, true] {
            let open = Recipe { replicas: 0, ..Recipe::wrapped(&any_server(), 1) }.open();
            let mut fleet = Fleet::new(&open);
            let pod = &mut fleet.pods[0];
            pod.access.password = Some(variable.to_owned());
            match by_variable {
                false => pod.conf.push(format!("requirepass {line}")),
                true => {
                    // From a place that rejoin does not read it from.
                    pod.conf.push(format!(
                        "user default {} ~* &* +@all on",
                        hashed_bytes(variable.as_bytes())
                    ));
                    pod.env.insert("REJOIN_PASSWORD".to_owned(), variable.to_owned());
                }
            }
            pod.start();
            wait_all_ready(&fleet);
        }
    }
    // Bytes that are no text, in quotes as the server reads them.
    let mut fleet = alone(&any_server());
    let pod = &mut fleet.pods[0];
    pod.env.remove("REJOIN_USERNAME");
    pod.env.remove("REJOIN_PASSWORD_FILE");
    pod.conf.push(format!("masteruser keeper\nmasterauth {}", quoted(KEEPER)));
    pod.start();
    wait_all_ready(&fleet);
}

#[test]
fn password_of_a_file_that_is_rotated_needs_no_restart() {
    for server in servers() {
        let fleet = well(&server);
        let (pod, pid) = (&fleet.pods[0], fleet.pods[0].server_pid());
        let set = |rule: &str| _ = pod.redis(&["ACL", "SETUSER", "keeper", rule]).unwrap();
        for next in ["second \"secret\"", "third"] {
            // The new one beside the old one, then the file, then the old one goes.
            set(&format!(">{next}"));
            fs::write(file(&fleet, "password"), format!("{next}\n")).unwrap();
            set("resetpass");
            set(&format!(">{next}"));
            disconnect(pod);
            wait_ok(LIMIT, "another connection of its", || {
                let clients = pod.text(&["CLIENT", "LIST"])?;
                if clients.contains("user=keeper") { Ok(()) } else { Err(clients) }
            });
            wait_all_ready(&fleet);
        }
        assert_eq!(pod.server_pid(), pid, "the server was started once");
    }
}

#[test]
fn password_of_a_variable_is_rotated_by_a_restart_of_each_pod_and_every_master_hands_over() {
    let mut fleet = fleet(&any_server(), 1, 1);
    let set_variable = |fleet: &mut Fleet, value: &str| {
        for pod in &mut fleet.pods {
            pod.env.insert("REJOIN_PASSWORD".to_owned(), value.to_owned());
        }
    };
    fleet.pods.iter_mut().for_each(|pod| _ = pod.env.remove("REJOIN_PASSWORD_FILE"));
    set_variable(&mut fleet, KEEPER);
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    write_keys(&fleet);
    // The new one beside the old one, then the variable, then the old one goes.
    let users = fs::read_to_string(file(&fleet, "users.acl")).unwrap();
    let [old, new] = [KEEPER, "new"].map(|secret| hashed_bytes(secret.as_bytes()));
    for pod in &fleet.pods {
        pod.redis(&["ACL", "SETUSER", "keeper", ">new"]).unwrap();
    }
    let both = users.replace(&old, &format!("{old} {new}"));
    fs::write(file(&fleet, "users.acl"), both).unwrap();
    set_variable(&mut fleet, "new");
    let alone = roll(&mut fleet);
    assert!(alone.is_empty(), "{alone:?}: {}", fleet.pods[0].log());
    for pod in &fleet.pods {
        pod.redis(&["ACL", "SETUSER", "keeper", &format!("<{KEEPER}")]).unwrap();
    }
    fs::write(file(&fleet, "users.acl"), users.replace(&old, &new)).unwrap();
    let alone = roll(&mut fleet);
    assert!(alone.is_empty(), "{alone:?}: {}", fleet.pods[0].log());
    fleet.wait_whole(LIMIT);
    fleet.pods.iter().for_each(wait_nothing_held);
    assert_keys(&fleet);
    // Whoever was forgotten says which.
    let last = &mut fleet.pods[1];
    last.stop();
    last.env.insert("REJOIN_PASSWORD".to_owned(), KEEPER.to_owned());
    last.start();
    let who = "user keeper of REJOIN_USERNAME, password of REJOIN_PASSWORD";
    wait_doubt(&fleet.pods[1], &["our login is refused: WRONGPASS", who]);
}

/// A cluster whose servers have other passwords than at their start, and so has what `rejoin` reads.
fn rotated(server: &Server, by_file: bool) -> Fleet {
    let password = Some("old".to_owned());
    let mut fleet = Fleet::new(&Recipe { password, ..recipe(server, 1) });
    let own = file(&fleet, "password");
    fs::write(&own, "old").unwrap();
    for pod in fleet.pods.iter_mut().filter(|_| by_file) {
        pod.env.insert("REJOIN_PASSWORD_FILE".to_owned(), own.display().to_string());
    }
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    write_keys(&fleet);
    // What a replica sends first, lest one that loses its link meanwhile has no way back.
    for option in ["masterauth", "requirepass"] {
        for pod in &mut fleet.pods {
            pod.redis(&["CONFIG", "SET", option, "new"]).unwrap();
            if option == "requirepass" {
                pod.access.password = Some("new".to_owned());
            }
            pod.conf.iter_mut().for_each(|line| *line = line.replace("old", "new"));
        }
    }
    fs::write(&own, "new").unwrap();
    fleet
}

#[test]
fn rotated_passwords_of_the_servers_outlast_a_restart_of_each_pod() {
    for server in servers() {
        for by_file in [true, false] {
            let mut fleet = rotated(&server, by_file);
            let alone = roll(&mut fleet);
            // Who has read it in `redis.conf` cannot ask the replica any more, and says so.
            let expected = if by_file { vec![] } else { vec![0_usize] };
            assert_eq!(alone, expected, "{}", fleet.pods[0].log());
            if !by_file {
                let log = fleet.pods[0].log();
                assert!(log.contains("WRONGPASS") && log.contains("password of requirepass"));
            }
            fleet.wait_whole(LIMIT);
            fleet.pods.iter().for_each(wait_nothing_held);
            assert_keys(&fleet);
        }
    }
}
