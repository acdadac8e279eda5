//! The manifests that are shipped: each overlay renders, is what Kubernetes' own schemas say, and
//! says what the documents say it does.

pub(crate) mod rendered;
mod secrets;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::left_out::left_out;
use crate::support::process::run;

/// A directory or file of this repository.
pub(crate) fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program that `scripts/tools` brings, else the one in `PATH`. `None`, and said so: there is
/// none on this machine.
pub(crate) fn tool(name: &str) -> Option<Command> {
    let path = own("target/tools/bin").join(name);
    let program = if path.exists() { path } else { PathBuf::from(name) };
    let is_there = Command::new("sh").arg("-c").arg("command -v \"$0\"").arg(&program).is_ok();
    if !is_there {
        left_out(&format!("manifests: no {name} (see scripts/tools)"));
    }
    is_there.then(|| Command::new(program))
}

/// What `k8s/make-secret` prints: a Secret with new contents each time. `None`, and said so: there
/// is no `openssl` on this machine, which it needs.
///
/// # Panics
/// When it fails.
#[track_caller]
pub(crate) fn make_secret(of: &str) -> Option<String> {
    tool("openssl")?;
    Some(output_of(Command::new(own("k8s/make-secret")).arg(of)))
}

/// Whether a command runs and succeeds.
trait IsOk {
    fn is_ok(&mut self) -> bool;
}

impl IsOk for Command {
    fn is_ok(&mut self) -> bool {
        run(self).status.success()
    }
}

/// The overlays, as paths; the first is what `kubectl apply -k k8s` takes.
pub(crate) fn overlays() -> Vec<String> {
    let found = std::fs::read_dir(own("k8s/overlays")).expect("there are overlays");
    let mut names: Vec<String> = found
        .map(|entry| entry.expect("it can be listed").file_name().into_string().expect("text"))
        .map(|name| format!("k8s/overlays/{name}"))
        .collect();
    names.sort();
    names.insert(0, "k8s".to_owned());
    names
}

/// What a command prints.
///
/// # Panics
/// When it fails.
#[track_caller]
pub(crate) fn output_of(command: &mut Command) -> String {
    let output = run(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out
}

#[test]
fn every_overlay_renders_and_is_valid_for_kubernetes() {
    let dir = tempfile::tempdir().expect("the directory for temporary files is writable");
    for overlay in overlays() {
        let Some(mut kubectl) = tool("kubectl") else { return };
        let yaml = output_of(kubectl.args(["kustomize"]).arg(own(&overlay)));
        let file = dir.path().join("all.yaml");
        std::fs::write(&file, &yaml).expect("the test's directory is writable");
        let Some(mut validate) = tool("kubernetes-validate") else { return };
        let said = output_of(validate.arg("--strict").arg(&file));
        assert!(said.contains("statefulset/redis"), "{overlay}: {said}");
    }
}

#[test]
fn alert_rules_and_their_tests_pass_promtool() {
    let Some(mut promtool) = tool("promtool") else { return };
    output_of(promtool.args(["check", "rules"]).arg(own("k8s/monitoring/rules.yaml")));
    let Some(mut promtool) = tool("promtool") else { return };
    output_of(promtool.args(["test", "rules"]).arg(own("k8s/monitoring/rules.test.yaml")));
}

#[test]
fn grace_period_covers_hand_over_and_the_servers_own_end() {
    for overlay in overlays() {
        let Some(set) = rendered::Rendered::of(&overlay).map(|rendered| rendered.set) else {
            return;
        };
        if overlay.ends_with("drop-in") {
            continue;
        }
        // REJOIN_HANDOVER_TIMEOUT and shutdown-timeout, both as they are by default.
        let grace = set.spec.template.spec.termination_grace_period_seconds;
        assert!(grace.is_some_and(|grace| grace > 20 + 10), "{overlay}: {grace:?}");
    }
}
