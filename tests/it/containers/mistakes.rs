//! Pods of a locked cluster with a Secret or a configuration that is wrong: each says so and where
//! it was read, is alive, and is well again once it is put right; the others do not notice.

use crate::manifests::rendered::Files;
use crate::manifests::{make_secret, own};
use crate::support::engine::Network;
use crate::support::lock::{Authority, Leaf};
use crate::support::wait::wait_ok;

use super::access::{ADMIN, Access};
use super::leaks::show_no_secret;
use super::load::{assert_keys, write_keys};
use super::renewal::{AUTH, TLS, certificate_like, reloading};
use super::set::{Pod, Set};
use super::{LIMIT, Rendered, each_version, formed, newest};

const KEYS: usize = 100;

const EXPIRED: Leaf = Leaf { days: Some((-2, -1)) };
const TOO_EARLY: Leaf = Leaf { days: Some((1, 2)) };

/// Has `rejoin` connect to its own server anew.
const RECONNECT: &str = "CLIENT KILL TYPE normal USER rejoin\n";

/// What a pod is since its start: its container's, its server's, and why it has ceased to be ready.
fn past(pod: &Pod) -> (String, String, Vec<String>) {
    let started = pod.container.inspect(".State.StartedAt");
    let run_id = pod.field(&["INFO", "server"], "run_id").expect("the server answers");
    (started, run_id, pod.verdict().lapses)
}

/// The pasts of these pods, which are ready.
#[track_caller]
fn pasts(set: &Set, which: impl Fn(usize) -> bool) -> Vec<(String, String, Vec<String>)> {
    let pods: Vec<&Pod> = set.pods.values().filter(|pod| which(pod.ordinal)).collect();
    let well = |pod: &&Pod| pod.verdict().ready && pod.verdict().restart.is_none();
    assert!(pods.iter().all(well), "{}: {pods:?}", set.version);
    pods.into_iter().map(past).collect()
}

/// Waits until the probes say of a pod that it is alive, and not ready for a reason with all of these
/// words.
#[track_caller]
fn wait_doubt(set: &Set, ordinal: usize, words: &[&str]) {
    let pod = &set.pods[&ordinal];
    wait_ok(LIMIT, &format!("redis-{ordinal} on {} to say {words:?}", set.version), || {
        let verdict = pod.verdict();
        let says = words.iter().all(|word| verdict.said[1].contains(word));
        let is_so = !verdict.ready && verdict.restart.is_none() && says;
        if is_so { Ok(()) } else { Err(format!("{verdict:?}")) }
    });
    let live = pod.container.exec(&["rejoin", "live"]);
    assert!(live.is_ok(), "{}: {live:?}", set.version);
}

/// Some pods are wrong in some way for a while: see the module. Nothing is restarted.
#[track_caller]
fn are_wrong_for_a_while(
    set: &Set,
    odd: &[usize],
    spoil: impl FnOnce(),
    says: impl Fn(usize) -> Vec<String>,
    mend: impl FnOnce(),
) {
    let before = pasts(set, |ordinal| !odd.contains(&ordinal));
    let of_the_odd = |set: &Set| -> Vec<(String, String)> {
        let pasts = pasts(set, |ordinal| odd.contains(&ordinal)).into_iter();
        pasts.map(|(started, run_id, _)| (started, run_id)).collect()
    };
    let odd_before = of_the_odd(set);
    spoil();
    for &ordinal in odd {
        let said = says(ordinal);
        let words: Vec<&str> = said.iter().map(String::as_str).collect();
        wait_doubt(set, ordinal, &words);
        wait_ok(LIMIT, "it to be in the log", || {
            let log = set.pods[&ordinal].container.log();
            let so = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
            if so { Ok(()) } else { Err(log) }
        });
    }
    assert_keys(set, KEYS);
    mend();
    set.wait_whole();
    assert_eq!(pasts(set, |ordinal| !odd.contains(&ordinal)), before, "{}", set.version);
    assert_eq!(of_the_odd(set), odd_before, "{}", set.version);
}

/// Nothing is held back in the others.
#[track_caller]
fn hold_nothing(set: &Set, odd: &[usize]) {
    for pod in set.pods.values().filter(|pod| !odd.contains(&pod.ordinal)) {
        let said = pod.container.exec(&["rejoin", "status"]).expect("it answers");
        assert!(said.contains("held back: nothing"), "{}: {said}", set.version);
    }
}

fn access(set: &Set) -> &Access {
    set.access.as_ref().expect("it is locked")
}

/// Has servers do this, each line over one connection.
#[track_caller]
fn order(set: &Set, ordinals: &[usize], lines: &str) {
    for ordinal in ordinals {
        let said = access(set).order(set.pods[ordinal].address(), lines);
        said.unwrap_or_else(|said| panic!("redis-{ordinal} on {}: {said}", set.version));
    }
}

fn wrong_password(set: &Set) -> String {
    let wrong = "hunter2-of-another-place".to_owned();
    let right = &set.rendered.secrets[AUTH];
    let mut other = right.clone();
    other.insert("rejoin".to_owned(), wrong.clone());
    let words = [
        "our login is refused: WRONGPASS",
        "(user rejoin of REJOIN_USERNAME, password of REJOIN_PASSWORD_FILE in /auth/rejoin)",
    ];
    let spoil = || {
        set.mount(5, AUTH, &other);
        order(set, &[5], RECONNECT);
    };
    let says = |_| words.map(str::to_owned).into();
    let mend = || {
        hold_nothing(set, &[5]);
        set.mount(5, AUTH, right);
    };
    are_wrong_for_a_while(set, &[5], spoil, says, mend);
    wrong
}

/// Certificates that are wrong, each with how a server calls it and how `rejoin` does.
fn wrong_certificates(ours: &Authority) -> [(usize, Files, &'static str, &'static str); 3] {
    let foreign = Authority::new("another");
    let of = |of: &Authority, leaf: &Leaf| certificate_like(of, leaf, &ours.pem());
    [
        (3, of(ours, &TOO_EARLY), "BadCertificate", "is not valid yet"),
        (4, of(ours, &EXPIRED), "CertificateExpired", "has expired"),
        (5, of(&foreign, &Leaf::default()), "UnknownCA", "is of a CA that we do not trust"),
    ]
}

/// The files are wrong, while the servers have what they read at their start.
fn wrong_files(set: &Set, ours: &Authority) {
    let wrong = wrong_certificates(ours);
    let right = &set.rendered.secrets[TLS];
    let spoil = || {
        wrong.iter().for_each(|(ordinal, files, _, _)| set.mount(*ordinal, TLS, files));
        order(set, &[3, 4, 5], RECONNECT);
    };
    let says = |ordinal: usize| {
        let (_, _, alert, _) = wrong[ordinal - 3];
        let shown = "it refuses us, who show tls-cert-file /tls/tls.crt";
        vec!["no TLS with the server".to_owned(), format!("{shown}: {alert}")]
    };
    let mend = || {
        hold_nothing(set, &[3, 4, 5]);
        [3, 4, 5].iter().for_each(|ordinal| set.mount(*ordinal, TLS, right));
    };
    are_wrong_for_a_while(set, &[3, 4, 5], spoil, says, mend);
}

/// The servers have read them as well.
fn wrong_servers(set: &Set, ours: &Authority) {
    let wrong = wrong_certificates(ours);
    let right = &set.rendered.secrets[TLS];
    let spoil = || {
        wrong.iter().for_each(|(ordinal, files, _, _)| set.mount(*ordinal, TLS, files));
        let reload = "CONFIG SET tls-cert-file /tls/tls.crt tls-key-file /tls/tls.key\n";
        order(set, &[3, 4, 5], &format!("{reload}{RECONNECT}"));
    };
    let says = |ordinal: usize| {
        let (_, _, _, why) = wrong[ordinal - 3];
        vec![format!(
            "no TLS with the server: its certificate {why} (tls-ca-cert-file /tls/ca.crt)"
        )]
    };
    let mend = || {
        hold_nothing(set, &[3, 4, 5]);
        for ordinal in [3, 4, 5] {
            set.mount(ordinal, TLS, right);
            reload_whatever_it_shows(set, ordinal);
        }
    };
    are_wrong_for_a_while(set, &[3, 4, 5], spoil, says, mend);
}

/// By the command of the documents, as they say it for a server that shows what nobody trusts.
#[track_caller]
fn reload_whatever_it_shows(set: &Set, ordinal: usize) {
    let password = format!("REDISCLI_AUTH={}", set.rendered.secrets[AUTH][ADMIN]);
    let page = std::fs::read_to_string(own("docs/kubernetes.md")).expect("it is there");
    let instead = "`--insecure` in the place of `--cacert /tls/ca.crt`";
    assert!(page.contains(instead), "no {instead}");
    let command = reloading().replace("--cacert /tls/ca.crt", "--insecure");
    let command = command.replace(" config set ", &format!(" --user {ADMIN} config set "));
    let words = ["env", &password].into_iter().chain(command.split_whitespace());
    let words: Vec<&str> = words.collect();
    let said = set.pods[&ordinal].container.exec(&words);
    assert_eq!(said.as_deref(), Ok("OK"), "{}", set.version);
}

/// A server that speaks plain text at the port where TLS is expected.
fn plain_server(set: &Set) {
    let spoil = || {
        order(set, &[5], &format!("CONFIG SET tls-port 6380\nCONFIG SET port 6379\n{RECONNECT}"));
    };
    let says = |_| vec!["no TLS with the server: it speaks plain text there".to_owned()];
    let mend = || {
        let plain = access(set).in_plain_text();
        let at = set.pods[&5].address();
        // Nothing of a login was sent.
        let clients = plain.order(at, "CLIENT LIST TYPE normal\n").expect("it answers");
        let ours =
            |line: &&str| line.contains(" addr=127.0.0.1:") && line.contains(" user=rejoin ");
        assert_eq!(clients.lines().find(ours), None, "{}", set.version);
        plain.order(at, "CONFIG SET port 0\nCONFIG SET tls-port 6379\n").expect("it does so");
    };
    are_wrong_for_a_while(set, &[5], spoil, says, mend);
}

/// A pod that is made from something else for a while, and made again.
fn made_wrong(set: &mut Set, wrong: &Rendered, words: &[&str], mend: impl FnOnce(&mut Set)) {
    let before = pasts(set, |ordinal| ordinal != 5);
    let right = std::mem::replace(&mut set.rendered, wrong.clone());
    set.replace(5);
    set.rendered = right;
    wait_doubt(set, 5, words);
    assert_keys(set, KEYS);
    mend(set);
    set.wait_whole();
    assert_eq!(pasts(set, |ordinal| ordinal != 5), before, "{}", set.version);
}

#[test]
fn pods_with_wrong_secrets_say_which_touch_no_other_and_heal_without_a_restart() {
    let (Some(rendered), Some(users), Some(base)) =
        (Rendered::of("k8s/overlays/locked-down"), make_secret("auth"), Rendered::of("k8s"))
    else {
        return;
    };
    let ours = Authority::new("ours");
    let mut rendered = rendered.with_secret(&users);
    let tls = certificate_like(&ours, &Leaf::default(), &ours.pem());
    rendered.secrets.insert(TLS.to_owned(), tls);
    each_version(&newest(), |version| {
        let mut set = formed(Set::new(rendered.clone(), version, Network::new()));
        write_keys(&set, KEYS);
        let wrong = wrong_password(&set);
        wrong_files(&set, &ours);
        wrong_servers(&set, &ours);
        plain_server(&set);
        let mut foreign = rendered.clone();
        let [_, _, (_, files, _, _)] = wrong_certificates(&ours);
        foreign.secrets.insert(TLS.to_owned(), files);
        made_wrong(
            &mut set,
            &foreign,
            &["its certificate is of a CA that we do not trust"],
            |set| {
                set.mount(5, TLS, &set.rendered.secrets[TLS]);
                reload_whatever_it_shows(set, 5);
            },
        );
        made_wrong(&mut set, &base, &["0 of the 3 masters answer"], |set| {
            // It is told nothing, and the servers say of whom they have refused.
            let log = set.pods[&5].container.log();
            assert!(log.contains("that address answers by closing the connection, as one that is full or speaks TLS only"), "{log}");
            let log = set.pods[&0].container.log();
            assert!(log.contains("wrong version number"), "{version}: {log}");
            set.replace(5);
        });
        show_no_secret(&set, &[wrong]);
    });
}
