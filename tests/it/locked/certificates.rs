//! Certificates that are wrong, and ones that change.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::fleet::{Fleet, Recipe};
use crate::support::keys::{assert_keys, write_keys};
use crate::support::left_out::left_out;
use crate::support::lock::{Authority, Leaf, Lock};
use crate::support::pod::PORT;
use crate::support::process::run;
use crate::support::server::{any_server, servers};

use super::leaks::pod_shows_nothing;
use super::{
    LIMIT, alone, disconnect, file, one_of_six_is_in_doubt, wait_all_ready, wait_doubt, well,
};
use crate::healing::{PATIENT, six};

const EXPIRED: Leaf = Leaf { days: Some((-2, -1)) };
const TOO_EARLY: Leaf = Leaf { days: Some((1, 2)) };

/// The server takes the certificate of the file that it has, as people do after a renewal.
fn reload(fleet: &Fleet) {
    let (cert, key) = (file(fleet, "server.crt"), file(fleet, "server.key"));
    let pod = &fleet.pods[0];
    let set = ["CONFIG", "SET", "tls-cert-file", text(&cert), "tls-key-file", text(&key)];
    pod.redis(&set).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One certificate for the server, another for `rejoin`.
fn with_own_certificate() -> Fleet {
    let mut fleet = alone(&any_server());
    let own = file(&fleet, "own");
    fs::create_dir(&own).unwrap();
    Authority::shared().write(&own, &Leaf::default());
    let lines = ["cert", "key"].map(|part| {
        let end = if part == "cert" { "crt" } else { "key" };
        format!("tls-client-{part}-file {}/server.{end}", own.display())
    });
    fleet.pods[0].conf.extend(lines);
    fleet.start_all();
    wait_all_ready(&fleet);
    fleet
}

#[test]
fn certificate_of_ours_that_the_server_refuses_is_named_and_heals_without_a_restart() {
    let fleet = with_own_certificate();
    let (pod, own, pid) = (&fleet.pods[0], file(&fleet, "own"), fleet.pods[0].server_pid());
    let shown =
        format!("it refuses us, who show tls-client-cert-file {}/server.crt", own.display());
    for (authority, leaf, alert) in [
        (Authority::shared(), EXPIRED, "CertificateExpired"),
        (Authority::shared(), TOO_EARLY, "BadCertificate"),
        (&Authority::new("another"), Leaf::default(), "UnknownCA"),
    ] {
        authority.write(&own, &leaf);
        disconnect(pod);
        wait_doubt(pod, &[&shown, alert]);
        Authority::shared().write(&own, &Leaf::default());
        wait_all_ready(&fleet);
    }
    assert_eq!(pod.server_pid(), pid, "the server was started once");
}

#[test]
fn one_pod_of_six_with_a_certificate_of_another_ca_says_which_and_heals_without_a_restart() {
    let recipe = Recipe { lock: Lock::Locked, ..six(&any_server(), PATIENT) };
    let mut fleet = Fleet::new(&recipe);
    let own = file(&fleet, "of-5");
    fs::create_dir(&own).unwrap();
    Authority::shared().write(&own, &Leaf::default());
    let dir = own.display();
    let lines = format!("tls-cert-file {dir}/server.crt\ntls-key-file {dir}/server.key");
    fleet.pods[5].conf.push(lines);
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    wait_all_ready(&fleet);
    let shown = format!("it refuses us, who show tls-cert-file {dir}/server.crt: UnknownCA");
    // The server has read its own at its start.
    let spoil = || Authority::new("another").write(&own, &Leaf::default());
    let mend = || Authority::shared().write(&own, &Leaf::default());
    one_of_six_is_in_doubt(&fleet, spoil, &["no TLS with the server", &shown], mend);
}

#[test]
fn certificate_of_the_server_that_we_refuse_is_named_and_heals_once_it_is_renewed() {
    for server in servers() {
        // The user of the test is let in without any look at the certificate.
        let fleet = well(&server);
        let (pod, pid) = (&fleet.pods[0], fleet.pods[0].server_pid());
        let trusted = format!("(tls-ca-cert-file {})", text(&file(&fleet, "ca.crt")));
        for (leaf, why) in [
            (EXPIRED, "its certificate has expired"),
            (TOO_EARLY, "its certificate is not valid yet"),
        ] {
            Authority::shared().write(fleet.dir(), &leaf);
            reload(&fleet);
            disconnect(pod);
            wait_doubt(pod, &[why, &trusted]);
            Authority::shared().write(fleet.dir(), &Leaf::default());
            reload(&fleet);
            wait_all_ready(&fleet);
        }
        fs::write(file(&fleet, "ca.crt"), Authority::new("another").pem()).unwrap();
        disconnect(pod);
        wait_doubt(pod, &["its certificate is of a CA that we do not trust", &trusted]);
        // Both, as while one CA follows another.
        let both = Authority::new("another").pem() + &Authority::shared().pem();
        fs::write(file(&fleet, "ca.crt"), both).unwrap();
        wait_all_ready(&fleet);
        assert_eq!(pod.server_pid(), pid, "the server was started once");
    }
}

#[test]
fn plain_text_where_tls_is_wanted_is_refused() {
    let mut fleet = well(&any_server());
    let pod = &mut fleet.pods[0];
    // Over one connection, which stays as it is.
    let mut connection = pod.access.client(pod.address()).unwrap().get_connection().unwrap();
    for (option, port) in [("tls-port", PORT + 1), ("port", PORT)] {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg(option).arg(port).query::<()>(&mut connection).unwrap();
    }
    pod.access.tls = false;
    disconnect(pod);
    wait_doubt(pod, &["no TLS with the server: it speaks plain text there"]);
    // Nothing of a login was sent.
    let clients = pod.text(&["CLIENT", "LIST"]).unwrap();
    assert!(!clients.contains("user=keeper"), "{clients}");
}

#[test]
fn empty_master_that_does_not_trust_its_replica_waits_until_it_does() {
    for server in servers() {
        let conf = vec!["appendonly no".to_owned(), "save \"\"".to_owned()];
        let node_timeout = Duration::from_secs(15);
        let recipe =
            Recipe { lock: Lock::Locked, node_timeout, conf, ..Recipe::wrapped(&server, 1) };
        let mut fleet = Fleet::started(&recipe);
        fleet.wait_whole(LIMIT);
        write_keys(&fleet);
        fleet.pods[0].kill();
        fs::write(file(&fleet, "ca.crt"), Authority::new("another").pem()).unwrap();
        fleet.pods[0].start();
        let pod = &fleet.pods[0];
        wait_doubt(
            pod,
            &["without its data", "without TLS: its certificate is of a CA that we do"],
        );
        assert!(pod.server_pid().is_none());
        fs::write(file(&fleet, "ca.crt"), Authority::shared().pem()).unwrap();
        fleet.wait_whole(LIMIT);
        assert_eq!(fleet.pods[0].field(&["INFO", "replication"], "role").unwrap(), "slave");
        assert_keys(&fleet);
    }
}

fn openssl(dir: &Path, line: &str) -> Result<String, String> {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec openssl {line}")]).current_dir(dir);
    let output = run(&mut command);
    let [out, err] =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    if output.status.success() {
        Ok(out.trim().to_owned())
    } else {
        Err(err.trim().replace('\n', "; "))
    }
}

#[test]
fn directory_of_authorities_is_read() {
    let mut fleet = alone(&any_server());
    let dir = file(&fleet, "authorities");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("README"), "no certificate\n").unwrap();
    fs::write(dir.join("other.pem"), Authority::new("another").pem()).unwrap();
    let hash = match openssl(fleet.dir(), "x509 -in ca.crt -noout -subject_hash") {
        Ok(hash) => hash,
        Err(why) => return left_out(&format!("a directory of CAs: no openssl: {why}")),
    };
    fs::copy(file(&fleet, "ca.crt"), dir.join(format!("{hash}.0"))).unwrap();
    let conf = &mut fleet.pods[0].conf;
    conf.retain(|line| !line.starts_with("tls-ca-cert-file"));
    conf.push(format!("tls-ca-cert-dir {}", dir.display()));
    fleet.start_all();
    wait_all_ready(&fleet);
}

#[test]
fn key_with_a_passphrase_is_used_and_a_wrong_one_is_named() {
    let mut fleet = alone(&any_server());
    let line = "pkcs8 -topk8 -in server.key -out encrypted.key -passout pass:hunter2";
    if let Err(why) = openssl(fleet.dir(), line) {
        return left_out(&format!("an encrypted key: no openssl: {why}"));
    }
    let dir = fleet.dir().display().to_string();
    fleet.pods[0].conf.push(format!("tls-key-file {dir}/encrypted.key\ntls-key-file-pass hunter2"));
    fleet.start_all();
    wait_all_ready(&fleet);
    // A pair that the server itself uses only towards its peers.
    let pod = &mut fleet.pods[0];
    pod.kill();
    let line = "pkcs8 -topk8 -in server.key -out other.key -passout pass:hunter3";
    openssl(fleet.dir(), line).unwrap();
    let pod = &mut fleet.pods[0];
    pod.env.insert("REJOIN_LOG".to_owned(), "debug".to_owned());
    let pair =
        format!("tls-client-cert-file {dir}/server.crt\ntls-client-key-file {dir}/other.key");
    pod.conf.push(format!("{pair}\ntls-client-key-file-pass hunter3"));
    pod.start();
    wait_all_ready(&fleet);
    // What all the passphrases begin with.
    pod_shows_nothing(&fleet.pods[0], &["hunter"], "passphrases that are right");
    // Changed under a pod that runs: the file is read for each connection.
    let line = "pkcs8 -topk8 -in server.key -out other.key -passout pass:hunter4";
    openssl(fleet.dir(), line).unwrap();
    let pod = &fleet.pods[0];
    pod.redis(&["CLIENT", "KILL", "USER", "keeper"]).unwrap();
    wait_doubt(pod, &[&format!("cannot use the TLS key {dir}/other.key: its passphrase is wrong")]);
    pod_shows_nothing(pod, &["hunter"], "a passphrase that is wrong");
}
