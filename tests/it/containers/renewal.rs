//! Secrets that change under pods that run, step by step as the documents say it: no server is
//! started again, and no probe fails.

use std::fs;
use std::path::Path;

use crate::manifests::rendered::Files;
use crate::manifests::{make_secret, own, tool};
use crate::support::engine::{Network, versions};
use crate::support::lock::{Authority, Leaf, hashed};
use crate::support::wait::wait_ok;

use super::access::{ADMIN, USERS, handshake};
use super::load::write_keys;
use super::locked::lives;
use super::set::Pod;
use super::{LIMIT, Rendered, Set, each_version, formed};

const KEYS: usize = 100;
/// The Secret of the certificate.
pub const TLS: &str = "redis-tls";
/// The Secret of the users.
pub const AUTH: &str = "redis-auth";

/// This formed, in every version.
fn each(rendered: &Rendered, check: impl Fn(Set) + Sync) {
    each_version(&versions(), |version| {
        let set = formed(Set::new(rendered.clone(), version, Network::new()));
        write_keys(&set, KEYS);
        check(set);
    });
}

/// The pages that say what to do, with commands of several lines in one.
fn page(name: &str) -> String {
    fs::read_to_string(own(name)).expect("it is there").replace("\\\n", "")
}

/// The answer of a pod's server to somebody who may ask all.
fn ask(set: &Set, pod: &Pod, args: &[&str]) -> String {
    let access = set.access.as_ref().expect("it is locked");
    access.ask(pod.address(), ADMIN, args).expect("the server answers")
}

/// Has every server do this.
#[track_caller]
fn order(set: &Set, args: &[&str]) {
    for pod in set.pods.values() {
        assert_eq!(ask(set, pod, args), "OK", "{args:?} in redis-{}", pod.ordinal);
    }
}

/// Has every `rejoin` connect to its own server anew, as this user, and waits until it has.
#[track_caller]
fn reconnect(set: &Set, user: &str) {
    for pod in set.pods.values() {
        ask(set, pod, &["CLIENT", "KILL", "TYPE", "normal", "USER", user]);
    }
    let user = format!(" user={user} ");
    for pod in set.pods.values() {
        wait_ok(LIMIT, &format!("redis-{} to log in", pod.ordinal), || {
            let clients = ask(set, pod, &["CLIENT", "LIST", "TYPE", "normal"]);
            let is_it = |line: &str| line.contains(" addr=127.0.0.1:") && line.contains(&user);
            if clients.lines().any(is_it) { Ok(()) } else { Err(clients) }
        });
    }
}

/// What every server is since its start, and when its pod has ceased to be ready. (Pods do while a
/// cluster is formed.)
fn pasts(set: &Set) -> Vec<(String, Vec<String>)> {
    let past = |pod: &Pod| {
        let verdict = pod.verdict();
        let is_so = verdict.ready && verdict.restart.is_none();
        assert!(is_so, "redis-{} on {}: {verdict:?}", pod.ordinal, set.version);
        let run_id = pod.field(&["INFO", "server"], "run_id").expect("the server answers");
        (run_id, verdict.lapses)
    };
    set.pods.values().map(past).collect()
}

/// The Secret of a certificate: a new one of this authority, and whom it trusts.
fn certificate(of: &Authority, trusted: &str) -> Files {
    certificate_like(of, &Leaf::default(), trusted)
}

/// The same with something special about it.
pub fn certificate_like(of: &Authority, leaf: &Leaf, trusted: &str) -> Files {
    let (cert, key) = of.leaf(leaf);
    let files = [("ca.crt", trusted.to_owned()), ("tls.crt", cert), ("tls.key", key)];
    files.map(|(name, text)| (name.to_owned(), text)).into()
}

/// Every server shows this certificate.
#[track_caller]
fn assert_shown(set: &Set, secret: &Files) {
    let dir = set.access.as_ref().and_then(|access| access.tls_dir()).expect("it speaks TLS");
    // Without line ends, of which there are two kinds.
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    for pod in set.pods.values() {
        let said = handshake(pod.address(), dir, Some(dir)).expect("it takes ours");
        let is_it = bare(&said).contains(&bare(&secret["tls.crt"]));
        assert!(is_it, "redis-{} on {}: {said}", pod.ordinal, set.version);
    }
}

/// The command of the documents by which a server reads its files again.
pub fn reloading() -> String {
    let page = page("docs/kubernetes.md");
    let line = page.lines().find(|line| line.contains(" config set tls-cert-file "));
    let (_, command) = line.and_then(|line| line.split_once(" -- ")).expect("it has the command");
    command.to_owned()
}

/// Has every server read its files again.
#[track_caller]
fn reload(set: &Set) {
    let command = reloading();
    let words: Vec<&str> = command.split_whitespace().collect();
    for pod in set.pods.values() {
        assert_eq!(pod.container.exec(&words).as_deref(), Ok("OK"), "{}", set.version);
    }
}

#[test]
fn certificates_and_their_authority_are_renewed_under_servers_that_run() {
    let (Some(_), Some(mut rendered)) = (tool("openssl"), Rendered::of("k8s/overlays/tls")) else {
        return;
    };
    let (old, new) = (Authority::new("the old authority"), Authority::new("the new authority"));
    let both = old.pem() + &new.pem();
    let first = certificate(&old, &old.pem());
    rendered.secrets.insert(TLS.to_owned(), first.clone());
    each(&rendered, |mut set| {
        let before = pasts(&set);
        let of_first = set.access.clone().expect("it speaks TLS");
        let second = certificate(&old, &old.pem());
        set.renew(TLS, second.clone());
        reconnect(&set, "default");
        assert_shown(&set, &first);
        reload(&set);
        assert_shown(&set, &second);
        for (of, trusted) in [(&old, &both), (&new, &both), (&new, &new.pem())] {
            set.renew(TLS, certificate(of, trusted));
            reload(&set);
            reconnect(&set, "default");
        }
        // So whoever still showed or trusted what is old would be out by now.
        let now = set.access.as_ref().and_then(|access| access.tls_dir()).expect("it speaks TLS");
        let was: &Path = of_first.tls_dir().expect("it spoke TLS");
        for pod in set.pods.values() {
            assert_eq!(handshake(pod.address(), now, Some(was)), None, "{}", set.version);
        }
        assert_eq!(pasts(&set), before, "{}", set.version);
        // The other way that the documents name: pods are restarted some time after the renewal.
        let last = certificate(&new, &new.pem());
        set.renew(TLS, last.clone());
        assert_shown(&lives(set), &last);
    });
}

/// The same Secret with another text for another in one of its files.
fn with(secret: &Files, file: &str, from: &str, to: &str) -> Files {
    let mut secret = secret.clone();
    let text = secret.get_mut(file).expect("the Secret has it");
    assert!(text.contains(from), "{file} has no {from:?}");
    *text = text.replace(from, to);
    secret
}

/// The new password beside the old one, then the file, then the old one goes: as
/// `docs/operations.md` has it for any server.
fn rotate_by_hand(set: &mut Set) {
    let (secret, new) = (set.rendered.secrets[AUTH].clone(), "the first new one");
    let old = secret["rejoin"].clone();
    order(set, &["ACL", "SETUSER", "rejoin", &format!(">{new}")]);
    let renewed = with(&secret, "rejoin", &old, new);
    set.renew(AUTH, with(&renewed, "users.acl", &hashed(&old), &hashed(new)));
    reconnect(set, "rejoin");
    order(set, &["ACL", "SETUSER", "rejoin", &format!("<{old}")]);
    reconnect(set, "rejoin");
}

/// The same by the Secret alone, for the user of the replicas too: as `docs/kubernetes.md` has it.
fn rotate_by_the_secret(set: &mut Set) {
    let mut secret = set.rendered.secrets[AUTH].clone();
    let line = secret["replication.conf"].lines().find_map(|line| line.strip_prefix("masterauth "));
    let replica = line.expect("it has one").to_owned();
    let pairs =
        [("rejoin", secret["rejoin"].clone(), "new-1"), ("replication.conf", replica, "new-2")];
    for (_, old, new) in &pairs {
        let two = format!("{} {}", hashed(old), hashed(new));
        secret = with(&secret, "users.acl", &hashed(old), &two);
    }
    set.renew(AUTH, secret.clone());
    order(set, &["ACL", "LOAD"]);
    for (file, old, new) in &pairs {
        secret = with(&secret, file, old, new);
    }
    set.renew(AUTH, secret.clone());
    order(set, &["CONFIG", "SET", "masterauth", pairs[1].2]);
    reconnect(set, "rejoin");
    for (_, old, _) in &pairs {
        secret = with(&secret, "users.acl", &format!("{} ", hashed(old)), "");
    }
    set.renew(AUTH, secret);
    order(set, &["ACL", "LOAD"]);
    reconnect(set, "rejoin");
}

#[test]
fn passwords_are_changed_under_servers_that_run() {
    for (name, words) in [
        ("docs/operations.md", &["`ACL SETUSER rejoin >new`", "`<old`"][..]),
        ("docs/kubernetes.md", &["`ACL LOAD`", "`CONFIG SET masterauth NEW`"]),
    ] {
        let page = page(name);
        words.iter().for_each(|words| assert!(page.contains(words), "{name}: no {words}"));
    }
    let Some(mut rendered) = Rendered::of("k8s/overlays/locked-down") else { return };
    for of in ["tls", "auth"] {
        let Some(yaml) = make_secret(of) else { return };
        rendered = rendered.with_secret(&yaml);
    }
    each(&rendered, |mut set| {
        let before = pasts(&set);
        for rotate in [rotate_by_hand, rotate_by_the_secret] {
            let old = set.access.clone().expect("it has users");
            rotate(&mut set);
            for pod in set.pods.values() {
                let refused = old.ask(pod.address(), USERS[0], &["INFO"]);
                let is_so = refused.as_ref().is_err_and(|error| error.contains("WRONGPASS"));
                assert!(is_so, "{}: {refused:?}", set.version);
            }
            assert_eq!(pasts(&set), before, "{}", set.version);
        }
        // Replicas log in anew as well.
        for pod in set.pods.values() {
            ask(&set, pod, &["CLIENT", "KILL", "TYPE", "master"]);
        }
        set.wait_whole();
        lives(set);
    });
}
