//! Passwords are in no place that others can read.

use std::fs;

use super::{LIMIT, command, wait_ready};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::process::{descendants, run};
use crate::support::server::any_server;
use crate::support::wait::wait_for;

const SECRET: &str = "hunter2-and-more";

/// A pair whose servers want a password, with everything logged that there is to log.
fn pair(give: impl Fn(&mut Fleet)) -> Fleet {
    let conf = vec![format!("masterauth {SECRET}")];
    let env = vec![("REJOIN_LOG".to_owned(), "trace".to_owned())];
    let recipe = Recipe { conf, env, ..Recipe::wrapped(&any_server(), 1) };
    let mut fleet = Fleet::new(&recipe.open());
    for pod in &mut fleet.pods {
        pod.conf.push(format!("requirepass {SECRET}"));
        pod.access.password = Some(SECRET.to_owned());
    }
    give(&mut fleet);
    fleet.start_all();
    fleet
}

/// Looks for the secret in all that a pod shows to others.
#[track_caller]
fn shows_nothing(fleet: &Fleet) {
    for pod in &fleet.pods {
        let mut pids = descendants(pod.pid());
        pids.push(pod.pid());
        for pid in pids {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            assert!(!line.contains(SECRET), "process {pid}: {line}");
        }
        let mut shown = vec![pod.log()];
        for path in ["/status", "/metrics", "/readyz", "/livez", "/startupz"] {
            shown.push(pod.http(path).unwrap().body);
        }
        for args in [&["status"][..], &["status", "--json"], &["ready"]] {
            let output = pod.rejoin(args);
            shown.push(String::from_utf8_lossy(&output.stdout).into_owned());
            shown.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        for text in shown {
            assert!(!text.contains(SECRET), "{text}");
        }
    }
}

#[test]
fn password_of_redis_conf_is_shown_nowhere() {
    let fleet = pair(|_| {});
    fleet.wait_whole(LIMIT);
    wait_ready(&fleet);
    assert!(fleet.pods[0].log().contains("DEBUG"), "little is logged");
    shows_nothing(&fleet);
}

#[test]
fn password_of_a_variable_or_a_file_is_shown_nowhere() {
    let fleet = pair(|fleet| {
        let file = fleet.dir().join("password");
        fs::write(&file, format!("{SECRET}\n")).unwrap();
        let env = &mut fleet.pods[0].env;
        env.insert("REJOIN_PASSWORD".to_owned(), SECRET.to_owned());
        let env = &mut fleet.pods[1].env;
        env.insert("REJOIN_PASSWORD_FILE".to_owned(), file.display().to_string());
    });
    fleet.wait_whole(LIMIT);
    shows_nothing(&fleet);
}

#[test]
fn refused_password_is_shown_nowhere() {
    let fleet = pair(|fleet| {
        for pod in &mut fleet.pods {
            pod.conf.push("requirepass another".to_owned());
            pod.access.password = Some("another".to_owned());
            pod.env.insert("REJOIN_PASSWORD".to_owned(), SECRET.to_owned());
        }
    });
    let refused = |body: &str| body.contains("our login is refused: WRONGPASS");
    wait_for(LIMIT, "a login that is refused", || {
        fleet.pods.iter().all(|pod| pod.http("/readyz").is_ok_and(|it| refused(&it.body)))
    });
    shows_nothing(&fleet);
}

#[test]
fn password_in_what_is_not_understood_is_shown_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    for line in [
        format!("requirepas {SECRET}"),
        format!("requirepass {SECRET} {SECRET}"),
        format!("requirepass \"{SECRET}"),
        format!("user a on >{SECRET} \"+@all"),
        format!("masterauth {SECRET} x"),
        format!("tls-key-file-pass {SECRET} {SECRET}"),
    ] {
        fs::write(dir.path().join("redis.conf"), format!("cluster-enabled yes\n{line}\n")).unwrap();
        // A server of that name which says nothing, so that all that is said is ours.
        let server = dir.path().join("redis-server");
        let _ = fs::remove_file(&server);
        std::os::unix::fs::symlink("/bin/true", &server).unwrap();
        for args in [&[][..], &["exec"], &["fix"]] {
            let mut typed = command(dir.path(), args);
            typed.args(["./redis-server", "redis.conf"]).env("REJOIN_LOG", "trace");
            let block = crate::support::block::Block::take();
            typed.env("REJOIN_HTTP", format!("{}:8080", block.ip(1)));
            let output = run(&mut typed);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!said.contains(SECRET), "{line}: {said}");
        }
    }
}
