//! The manifests that are shipped: each overlay renders, is what Kubernetes' own schemas say, and
//! says what the documents say it does.

mod base;
mod parts;
pub(crate) mod rendered;
mod secrets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

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
    let found = fs::read_dir(own("k8s/overlays")).expect("there are overlays");
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

/// What `kubectl kustomize` makes of a directory. `None`, and said so: there is no `kubectl`.
///
/// # Panics
/// When it does not render.
#[track_caller]
pub(crate) fn render(dir: &Path) -> Option<String> {
    Some(output_of(tool("kubectl")?.arg("kustomize").arg(dir)))
}

/// What a kustomization of somebody's who reads the documents renders to. He has this repository
/// beside his own, as `../rejoin`, and a `redis.conf`.
///
/// # Panics
/// When it does not render.
#[track_caller]
pub(crate) fn of_a_reader(kustomization: &str) -> Option<String> {
    // Below target this repository is two directories up.
    let dir = tempfile::tempdir_in(own("target")).expect("target is writable");
    let text = kustomization.replace("../rejoin/k8s", "../../k8s");
    fs::write(dir.path().join("kustomization.yaml"), text).expect("the directory is ours");
    fs::copy(own("k8s/base/redis.conf"), dir.path().join("redis.conf")).expect("the same");
    render(dir.path())
}

/// The first block of this language below this heading of a page of the documents.
#[track_caller]
pub(crate) fn block(page: &str, heading: &str, language: &str) -> String {
    let text = fs::read_to_string(own(page)).expect("it is there");
    let (_, below) = text.split_once(&format!("\n{heading}\n")).expect("it has the heading");
    let (before, block) = below.split_once(&format!("```{language}\n")).expect("it has a block");
    // In a list it is indented.
    let indent = before.rsplit('\n').next().unwrap_or_default();
    let (block, _) = block.split_once(&format!("\n{indent}```")).expect("the block ends");
    block.lines().map(|line| line.strip_prefix(indent).unwrap_or(line).to_owned() + "\n").collect()
}

/// What the schemas of Kubernetes say of objects, one line for each. `None`, and said so: they are
/// not here.
///
/// # Panics
/// When an object is not valid.
#[track_caller]
pub(crate) fn validate(yaml: &str) -> Option<String> {
    let dir = tempfile::tempdir().expect("the directory for temporary files is writable");
    let file = dir.path().join("all.yaml");
    fs::write(&file, yaml).expect("the test's directory is writable");
    Some(output_of(tool("kubernetes-validate")?.arg("--strict").arg(file)))
}

/// Objects of Kubernetes, all that were rendered of a directory.
pub(crate) struct Objects(Vec<Value>);

impl Objects {
    pub(crate) fn read(yaml: &str) -> Self {
        Self(serde_saphyr::from_multiple(yaml).expect("kustomize's YAML"))
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |it| it["kind"] == kind)
    }

    #[track_caller]
    pub(crate) fn named(&self, kind: &str, name: &str) -> &Value {
        let is_it = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
        let found = self.0.iter().find(is_it);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    #[track_caller]
    pub(crate) fn spec(&self, kind: &str, name: &str) -> &Value {
        &self.named(kind, name)["spec"]
    }
}

/// Each overlay that is made from the base. None where there is no `kubectl`, which is said.
fn of_the_base() -> Vec<(String, Objects)> {
    let overlays = overlays().into_iter().filter(|overlay| !overlay.ends_with("drop-in"));
    let rendered = |it: String| render(&own(&it)).map(|yaml| (it, Objects::read(&yaml)));
    overlays.map_while(rendered).collect()
}

#[test]
fn every_overlay_renders_and_is_valid_for_kubernetes() {
    for overlay in overlays() {
        let Some(said) = render(&own(&overlay)).and_then(|yaml| validate(&yaml)) else { return };
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
    let page = |name| fs::read_to_string(own("docs").join(name)).expect("it is there");
    for (overlay, all) in of_the_base() {
        let pod = &all.spec("StatefulSet", "redis")["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_u64();
        let grace = grace.unwrap_or_else(|| panic!("{overlay}: none"));
        // REJOIN_HANDOVER_TIMEOUT and shutdown-timeout, both as they are by default.
        assert!(grace > 20 + 10, "{overlay}: {grace}");
        let documented = format!("| `terminationGracePeriodSeconds` | {grace}: ");
        assert!(page("operations.md").contains(&documented), "{overlay}: {grace}");
        let documented = format!("| `terminationGracePeriodSeconds: {grace}` |");
        assert!(page("kubernetes.md").contains(&documented), "{overlay}: {grace}");
    }
}
