//! Servers that speak TLS only, and do not come to terms with us.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::refusing::wait_refused;
use super::{LIMIT, WELL, hold, open_alone as alone, wait_says};
use crate::support::fleet::Fleet;
use crate::support::left_out::left_out;
use crate::support::pod::{PORT, Pod};
use crate::support::process::run;
use crate::support::server::any_server;
use crate::support::wait::wait_ok;

/// Makes `ca.crt`, and `server.crt` with `server.key`, or says what is missing for it.
fn certificates(dir: &Path) -> Result<(), String> {
    fs::write(dir.join("ext"), "basicConstraints=CA:FALSE\n").map_err(|error| error.to_string())?;
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for line in [
        format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=ca"),
        format!("req {key} -keyout server.key -out server.csr -subj /CN=server"),
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext \
         -out server.crt"
            .to_owned(),
    ] {
        let mut openssl = Command::new("sh");
        openssl.args(["-c", &format!("exec openssl {line}")]).current_dir(dir);
        let output = run(&mut openssl);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "));
        }
    }
    Ok(())
}

/// A cluster of one pod with no other port than that of TLS, well; or says what is left out.
#[track_caller]
fn well(what: &str) -> Option<Fleet> {
    if !any_server().has_tls() {
        left_out(&format!("{what}: the server is built without TLS"));
        return None;
    }
    let mut fleet = alone(&any_server());
    let dir = fleet.dir().to_owned();
    if let Err(reason) = certificates(&dir) {
        left_out(&format!("{what}: no certificates can be made here: {reason}"));
        return None;
    }
    let pod = &mut fleet.pods[0];
    let file = |name: &str| dir.join(name).display().to_string();
    pod.conf.extend([
        "port 0".to_owned(),
        format!("tls-port {PORT}"),
        format!("tls-cert-file {}", file("server.crt")),
        format!("tls-key-file {}", file("server.key")),
        format!("tls-ca-cert-file {}", file("ca.crt")),
        "tls-auth-clients no".to_owned(),
        "maxclients 20".to_owned(),
    ]);
    pod.start();
    wait_says(pod, WELL);
    Some(fleet)
}

/// Closes every connection to the server.
#[track_caller]
fn close_all(pod: &Pod) {
    let mut cli = Command::new(&pod.server.cli);
    cli.args(["--tls", "--insecure", "-h", &pod.ip.to_string(), "-p", &PORT.to_string()]);
    let output = run(cli.args(["CLIENT", "KILL", "TYPE", "normal"]));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn server_without_room_for_a_client_by_tls_is_alive_but_not_ready() {
    let Some(fleet) = well("a full server that speaks TLS") else { return };
    let pod = &fleet.pods[0];
    close_all(pod);
    let held: Vec<_> = (0..40).map(|_| hold(pod)).collect();
    let full = "the server closes our connections at once; has it too many clients?";
    wait_refused(pod, "by closing the connection", full);
    drop(held);
    wait_says(pod, WELL);
}

#[test]
fn server_with_a_certificate_that_we_do_not_trust_is_alive_but_not_ready() {
    let Some(fleet) = well("a server with a certificate of another CA") else { return };
    let pod = &fleet.pods[0];
    let other = tempfile::tempdir().unwrap();
    certificates(other.path()).unwrap();
    let kept = fs::read(fleet.dir().join("ca.crt")).unwrap();
    fs::copy(other.path().join("ca.crt"), fleet.dir().join("ca.crt")).unwrap();
    close_all(pod);
    wait_refused(pod, "without TLS", "no TLS with the server: its certificate is of a CA that ");
    fs::remove_file(fleet.dir().join("ca.crt")).unwrap();
    let why = "the server could not be asked: cannot use ";
    wait_says(pod, [&format!("live: {why}"), &format!("not ready: {why}"), "started: "]);
    // Another reason than that before, which lasts.
    wait_ok(LIMIT, "the log to say so", || {
        if pod.log().contains(&format!("not ready: {why}")) { Ok(()) } else { Err(pod.log()) }
    });
    fs::write(fleet.dir().join("ca.crt"), kept).unwrap();
    wait_says(pod, WELL);
}
