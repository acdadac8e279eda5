//! Row p: what TLS costs a cluster in which nothing happens.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::row::{Row, Target, Unit};
use crate::running::{SETTLE, WATCHED, on_processor};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::{PORT, Pod};
use crate::support::process::{rest, run};
use crate::support::server::any_server;
use crate::support::wait::wait_ok;

const LIMIT: Duration = Duration::from_secs(120);

/// Processor time of the first process of each pod, over TLS and in plain text, in the same seconds.
pub fn at_rest() -> Vec<Row> {
    let recipe = Recipe::wrapped(&any_server(), 3);
    let plain = Fleet::started(&recipe);
    let dir = tempfile::tempdir().expect("the directory for temporary files is writable");
    certificate(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let conf = vec![
        "port 0".to_owned(),
        format!("tls-port {PORT}"),
        "tls-cluster yes".to_owned(),
        "tls-replication yes".to_owned(),
        format!("tls-cert-file {}", file("tls.crt")),
        format!("tls-key-file {}", file("tls.key")),
        format!("tls-ca-cert-file {}", file("ca.crt")),
    ];
    let tls = Fleet::started(&Recipe { conf, ..recipe });
    for pod in plain.pods.iter().chain(&tls.pods) {
        wait_ok(LIMIT, "every pod to be ready", || match pod.http("/readyz")? {
            answer if answer.status == 200 => Ok(()),
            answer => Err(format!("{}: {}", pod.name(), answer.body)),
        });
    }
    let shown: Value = serde_json::from_str(&tls.pods[0].http("/status").expect("it answers").body)
        .expect("the status is JSON");
    assert_eq!(shown["nodes"].as_array().map(Vec::len), Some(6), "one cluster of six: {shown}");
    rest(SETTLE);
    let busy =
        |fleet: &Fleet| -> Vec<f64> { fleet.pods.iter().map(Pod::pid).map(on_processor).collect() };
    let (start, before) = (Instant::now(), (busy(&tls), busy(&plain)));
    rest(WATCHED);
    let (took, after) = (start.elapsed().as_secs_f64(), (busy(&tls), busy(&plain)));
    let part = |before: &[f64], after: &[f64]| -> Vec<f64> {
        before.iter().zip(after).map(|(before, after)| (after - before) / took).collect()
    };
    vec![Row {
        what: "processor time of rejoin at rest over TLS, median of six pods".to_owned(),
        ours: part(&before.0, &after.0),
        rival: part(&before.1, &after.1),
        rival_name: "in plain text".to_owned(),
        unit: Unit::Core,
        target: Target::Ratio(2.0),
        wrong: None,
    }]
}

/// Writes the files of the Secret that `k8s/make-secret` prints.
fn certificate(dir: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s").join("make-secret");
    let output = run(Command::new(script).arg("tls"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let yaml = String::from_utf8(output.stdout).expect("YAML is text");
    let secret: Value = serde_saphyr::from_str(&yaml).expect("a Secret");
    for (name, text) in secret["stringData"].as_object().expect("it has files") {
        let text = text.as_str().expect("a file is text");
        fs::write(dir.join(name), text).expect("the test's directory is writable");
    }
}
