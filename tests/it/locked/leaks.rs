//! Secrets are shown nowhere, whatever goes wrong.

use std::fs;

use crate::support::fleet::Fleet;
use crate::support::lock::{Authority, COPIER, KEEPER, Leaf};
use crate::support::pod::Pod;
use crate::support::process::descendants;
use crate::support::server::any_server;

use super::{LIMIT, alone, disconnect, file, fleet, wait_all_ready, wait_doubt, wait_nothing_held};
use crate::forming::wait_held;

/// What was wrong for a while, and is a secret elsewhere perhaps.
const WRONG: &str = "hunter2-of-another-place";

/// A line out of the middle of a key: what is around it is the same in each.
fn part_of_key(fleet: &Fleet) -> String {
    let key = fs::read_to_string(file(fleet, "server.key")).unwrap();
    key.lines().nth(1).unwrap().to_owned()
}

/// Looks for the secrets in all that the pods show.
#[track_caller]
fn shows_nothing(fleet: &Fleet, what: &str) {
    let key = part_of_key(fleet);
    for pod in &fleet.pods {
        pod_shows_nothing(pod, &[KEEPER, COPIER, WRONG, &key], what);
    }
}

/// Looks for these secrets in all that a pod shows.
#[track_caller]
pub fn pod_shows_nothing(pod: &Pod, secrets: &[&str], what: &str) {
    let mut shown = vec![("log".to_owned(), pod.log())];
    for path in ["/status", "/metrics", "/readyz", "/livez", "/startupz", "/nothing"] {
        shown.push((path.to_owned(), pod.http(path).unwrap().body));
    }
    for args in [&["status"][..], &["status", "--json"], &["ready"], &["live"], &["startup"]] {
        let output = pod.rejoin(args);
        let said = [output.stdout, output.stderr].concat();
        shown.push((format!("{args:?}"), String::from_utf8_lossy(&said).into_owned()));
    }
    let mut pids = descendants(pod.pid());
    pids.push(pod.pid());
    for pid in pids {
        for part in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{part}")).unwrap_or_default();
            shown.push((format!("{part} of {pid}"), String::from_utf8_lossy(&text).into_owned()));
        }
    }
    // As it is, and as it looks where a log or JSON has quoted it.
    let escaped = |secret: &str| format!("{secret:?}").trim_matches('"').to_owned();
    for &secret in secrets {
        for (place, text) in &shown {
            let leaks = text.contains(secret) || text.contains(&escaped(secret));
            assert!(!leaks, "{what}: {secret} in {place} of {}: {text}", pod.name());
        }
    }
}

#[test]
fn secrets_are_shown_nowhere_whatever_is_wrong() {
    let mut fleet = alone(&any_server());
    fleet.pods[0].env.insert("REJOIN_LOG".to_owned(), "trace".to_owned());
    fleet.start_all();
    wait_all_ready(&fleet);
    shows_nothing(&fleet, "all is well");
    let pod = &fleet.pods[0];
    assert!(pod.log().contains("DEBUG"), "little is logged");

    fs::write(file(&fleet, "password"), WRONG).unwrap();
    disconnect(pod);
    wait_doubt(pod, &["WRONGPASS"]);
    shows_nothing(&fleet, "a wrong password");
    fs::remove_file(file(&fleet, "password")).unwrap();
    wait_doubt(pod, &["cannot read the password file"]);
    shows_nothing(&fleet, "no password file");
    fs::write(file(&fleet, "password"), KEEPER).unwrap();
    wait_all_ready(&fleet);

    pod.redis(&["ACL", "SETUSER", "keeper", "-info"]).unwrap();
    disconnect(pod);
    wait_doubt(pod, &["NOPERM"]);
    shows_nothing(&fleet, "too few rights");
    pod.redis(&["ACL", "SETUSER", "keeper", "+info"]).unwrap();
    wait_all_ready(&fleet);

    let (cert, key) = Authority::shared().leaf(&Leaf::default());
    let own = fs::read_to_string(file(&fleet, "server.key")).unwrap();
    for (crt, key, said) in [
        // A key where the certificate should be, one of another certificate, and half of one.
        (own.as_str(), own.as_str(), "certificate"),
        (&cert, &own, "certificate and key"),
        (&cert, &key[..key.len() / 2], "cannot use the TLS key"),
    ] {
        fs::write(file(&fleet, "server.crt"), crt).unwrap();
        fs::write(file(&fleet, "server.key"), key).unwrap();
        disconnect(pod);
        wait_doubt(pod, &[said]);
        shows_nothing(&fleet, said);
    }
    fs::write(file(&fleet, "server.crt"), &cert).unwrap();
    fs::write(file(&fleet, "server.key"), &key).unwrap();
    wait_all_ready(&fleet);
    shows_nothing(&fleet, "all is well again");
}

#[test]
fn login_of_replication_that_is_refused_is_shown_nowhere() {
    let mut fleet = fleet(&any_server(), 1, 1);
    for pod in &mut fleet.pods {
        pod.env.insert("REJOIN_LOG".to_owned(), "trace".to_owned());
    }
    fleet.pods[1].conf.push(format!("masterauth {WRONG}"));
    fleet.start_all();
    wait_held(&fleet.pods[1], "login_refused");
    shows_nothing(&fleet, "a wrong masterauth");
    fleet.pods[1].redis(&["CONFIG", "SET", "masterauth", COPIER]).unwrap();
    fleet.wait_whole(LIMIT);
    wait_nothing_held(&fleet.pods[1]);
    shows_nothing(&fleet, "a masterauth that was put right");
}

#[test]
fn panic_of_the_keeper_shows_no_secret() {
    let mut fleet = alone(&any_server());
    let flag = file(&fleet, "panic");
    let pod = &mut fleet.pods[0];
    pod.rejoin = crate::probes::panics::brittle();
    let env = [("BRITTLE", flag.display().to_string()), ("REJOIN_LOG", "trace".to_owned())];
    pod.env.extend(env.map(|(name, value)| (name.to_owned(), value)));
    pod.env.insert("RUST_BACKTRACE".to_owned(), "full".to_owned());
    pod.start();
    wait_all_ready(&fleet);
    let pod = &fleet.pods[0];
    fs::write(file(&fleet, "password"), WRONG).unwrap();
    fs::write(&flag, "").unwrap();
    disconnect(pod);
    crate::support::wait::wait_for(LIMIT, "a panic", || {
        pod.log().contains("the keeper panicked; starting it again")
    });
    shows_nothing(&fleet, "a panic");
}
