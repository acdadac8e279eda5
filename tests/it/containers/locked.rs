//! The overlays that lock the cluster, with the Secrets that `k8s/make-secret` prints.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use crate::manifests::rendered::files_of;
use crate::manifests::{Objects, make_secret, own, render, validate};
use crate::support::engine::{Network, versions};

use super::access::{handshake, written};
use super::cert_manager::Issuer;
use super::leaks::show_no_secret;
use super::load::{assert_keys, write_keys};
use super::set::{PORT, ask};
use super::{HANDED_OVER, Rendered, Set, come_back, each_version, formed};

const KEYS: usize = 100;
const BUS_PORT: u16 = PORT + 10_000;

/// An overlay with these Secrets, formed in every version.
fn each(overlay: &str, secrets: &[&str], check: impl Fn(Set) + Sync) {
    let Some(mut rendered) = Rendered::of(overlay) else { return };
    for of in secrets {
        let Some(yaml) = make_secret(of) else { return };
        rendered = rendered.with_secret(&yaml);
    }
    each_version(&versions(), |version| {
        check(formed(Set::new(rendered.clone(), version, Network::new())));
    });
}

/// What every locked set can do: exec probes answer, a master hands over, and all come back.
pub fn lives(mut set: Set) -> Set {
    write_keys(&set, KEYS);
    for pod in set.pods.values() {
        for (probe, said) in [("ready", "ready: "), ("live", "live: "), ("startup", "started: ")] {
            let line = pod.container.exec(&["rejoin", probe]).expect("the probe succeeds");
            assert!(line.starts_with(said), "{}: {line}", set.version);
        }
    }
    let master = set.pods.values().find(|pod| pod.view().is_ok_and(|view| view.me().is("master")));
    let master = master.expect("a set has masters").ordinal;
    let log = set.replace(master).log;
    assert!(log.contains(HANDED_OVER), "{}: {log}", set.version);
    set.wait_whole();
    assert_keys(&set, KEYS);
    come_back(&mut set, KEYS);
    set
}

/// A file of a Secret is for the group of the pod, and for nobody else.
#[track_caller]
fn is_private(set: &Set, file: &str) {
    let container = &set.pods[&0].container;
    let mode = container.exec(&["stat", "--dereference", "--format=%A %g", file]);
    assert_eq!(mode.as_deref(), Ok("-r--r----- 999"), "{file} on {}", set.version);
}

/// Nothing but TLS with a certificate of the own CA gets in, on either port.
#[track_caller]
fn speaks_tls_only(set: &Set, foreign: &Path) {
    let pod = &set.pods[&0];
    let ours = set.access.as_ref().and_then(|access| access.tls_dir()).expect("it speaks TLS");
    let plain = ask(pod.address(), &["PING"]);
    assert!(plain.is_err(), "{}: {plain:?}", set.version);
    for port in [PORT, BUS_PORT] {
        let to = SocketAddr::new(pod.ip, port);
        let what = format!("port {port} on {}", set.version);
        assert_ne!(handshake(to, ours, Some(ours)), None, "{what}: our own certificate");
        assert_eq!(handshake(to, ours, None), None, "{what}: no certificate");
        assert_eq!(handshake(to, ours, Some(foreign)), None, "{what}: one of another CA");
    }
    is_private(set, "/tls/tls.key");
    show_no_secret(set, &[]);
    // As the documents say it.
    let cli = ["redis-cli", "--tls", "--cacert", "/tls/ca.crt", "--cert", "/tls/tls.crt", "--key"];
    let said = pod.container.exec(&[&cli[..], &["/tls/tls.key", "-c", "set", "a", "b"]].concat());
    assert!(said.as_ref().is_ok_and(|said| said.ends_with("OK")), "{}: {said:?}", set.version);
}

/// Each user may do what it is for, and nobody else anything.
#[track_caller]
fn has_users_only(set: &Set) {
    let access = set.access.as_ref().expect("it has users");
    let pod = &set.pods[&0];
    let refused = |user: &str, args: &[&str]| {
        let said = access.ask(pod.address(), user, args);
        let is_refused = said.as_ref().is_err_and(|error| error.contains("NOPERM"));
        assert!(is_refused, "{}: {user}: {args:?}: {said:?}", set.version);
    };
    refused("rejoin", &["GET", "key-0"]);
    refused("rejoin", &["FLUSHALL"]);
    refused("rejoin", &["ACL", "LIST"]);
    refused("rejoin", &["CONFIG", "GET", "masterauth"]);
    refused("app", &["FLUSHALL"]);
    refused("app", &["CONFIG", "GET", "masterauth"]);
    refused("app", &["CLUSTER", "MEET", "192.0.2.1", "6379"]);
    refused("app", &["ACL", "LIST"]);
    is_private(set, "/auth/rejoin");
    // The application's password is not the pod's business.
    let listed = pod.container.exec(&["ls", "/auth"]).expect("it can be listed");
    assert_eq!(
        listed.split_whitespace().collect::<Vec<_>>(),
        ["rejoin", "replication.conf", "users.acl"]
    );
    show_no_secret(set, &[]);
}

#[test]
fn cluster_with_tls_forms_hands_over_and_lets_no_stranger_in() {
    let Some(foreign) = make_secret("tls") else { return };
    let foreign = written(&files_of(&foreign).1);
    each("k8s/overlays/tls", &["tls"], |set| speaks_tls_only(&lives(set), foreign.path()));
}

#[test]
fn cluster_with_the_secret_of_cert_manager_forms_comes_back_and_lets_no_stranger_in() {
    let (Some(foreign), Some(yaml)) = (make_secret("tls"), render(&own("k8s/cert-manager"))) else {
        return;
    };
    let foreign = written(&files_of(&foreign).1);
    let objects = Objects::read(&yaml);
    let issuer = Issuer::new(objects.spec("Certificate", "redis-ca"));
    let asked = objects.spec("Certificate", "redis");
    let secret = issuer.secret(asked);
    let Some(said) = validate(&secret) else { return };
    assert!(said.contains("secret/redis-tls"), "{said}");
    // What a reader gets who leaves out the line of the key.
    let mut by_default = asked.clone();
    by_default["privateKey"] = Value::Null;
    let by_default = files_of(&issuer.secret(&by_default)).1;
    for (files, kind) in [(&files_of(&secret).1, "EC"), (&by_default, "RSA")] {
        assert!(files["tls.key"].contains(&format!("BEGIN {kind} PRIVATE KEY")), "not {kind}");
    }
    let Some(rendered) = Rendered::of("k8s/overlays/tls") else { return };
    let rendered = rendered.with_secret(&secret);
    each_version(&versions(), |version| {
        let mut set = formed(Set::new(rendered.clone(), version, Network::new()));
        write_keys(&set, KEYS);
        speaks_tls_only(&set, foreign.path());
        set.renew("redis-tls", by_default.clone());
        come_back(&mut set, KEYS);
        speaks_tls_only(&set, foreign.path());
    });
}

#[test]
fn cluster_with_users_forms_hands_over_and_lets_no_stranger_in() {
    each("k8s/overlays/auth", &["auth"], |set| {
        let set = lives(set);
        let nobody = ask(set.pods[&0].address(), &["PING"]).expect_err("refused");
        assert!(nobody.contains("NOAUTH"), "{}: {nobody}", set.version);
        has_users_only(&set);
    });
}

#[test]
fn cluster_with_tls_and_users_forms_and_hands_over() {
    each("k8s/overlays/locked-down", &["tls", "auth"], |set| has_users_only(&lives(set)));
}
