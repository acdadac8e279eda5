//! What the container tests take from a rendered overlay. A field that nothing here knows fails the
//! test, so that no part of a pod is shipped that the tests leave out without a word.

#![allow(dead_code, reason = "some fields are named only so that they are not unknown")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{own, render};

/// An overlay, as `kubectl kustomize` renders it.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Its StatefulSet.
    pub set: StatefulSet,
    /// The files of each ConfigMap.
    pub config: BTreeMap<String, Files>,
    /// The files of each Secret, which no overlay brings: see [`Rendered::with_secret`].
    pub secrets: BTreeMap<String, Files>,
}

/// Files, by name.
pub type Files = BTreeMap<String, String>;

impl Rendered {
    /// Renders the overlay at this path of the repository. `None`: there is no `kubectl` here.
    ///
    /// # Panics
    /// When it does not render, or holds what is not understood.
    pub fn of(overlay: &str) -> Option<Self> {
        Some(Self::read(overlay, &render(&own(overlay))?))
    }

    /// Reads what was rendered of `overlay`.
    ///
    /// # Panics
    /// When it holds what is not understood.
    pub fn read(overlay: &str, yaml: &str) -> Self {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("kustomize's YAML");
        let mut set = None;
        let mut config = BTreeMap::new();
        for document in documents {
            match document["kind"].as_str() {
                Some("StatefulSet") => set = Some(understood(overlay, document)),
                Some("ConfigMap") => {
                    let map: ConfigMap = understood(overlay, document);
                    config.insert(map.metadata.name, map.data);
                }
                _ => {}
            }
        }
        let set = set.expect("an overlay has a StatefulSet");
        Self { set, config, secrets: BTreeMap::new() }
    }

    /// The same with a Secret that is there when the overlay is applied, as YAML.
    ///
    /// # Panics
    /// When it is not understood.
    pub fn with_secret(mut self, yaml: &str) -> Self {
        let (name, files) = files_of(yaml);
        self.secrets.insert(name, files);
        self
    }

    /// The only container of a pod.
    pub fn container(&self) -> &Container {
        &self.set.spec.template.spec.containers[0]
    }

    /// The same, to be changed.
    pub fn container_mut(&mut self) -> &mut Container {
        &mut self.set.spec.template.spec.containers[0]
    }
}

/// The name of a Secret, given as YAML, and its files.
///
/// # Panics
/// When it is not understood.
pub fn files_of(yaml: &str) -> (String, Files) {
    let secret: Secret = serde_saphyr::from_str(yaml).expect("a Secret");
    (secret.metadata.name, secret.string_data)
}

fn understood<T: for<'a> Deserialize<'a>>(overlay: &str, document: Value) -> T {
    serde_json::from_value(document).unwrap_or_else(|error| panic!("{overlay}: {error}"))
}

#[derive(Debug, Clone, Deserialize)]
struct ConfigMap {
    metadata: Metadata,
    data: Files,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Secret {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(rename = "type")]
    of: Option<String>,
    string_data: Files,
}

/// The name of an object.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// Its name.
    pub name: String,
}

/// A StatefulSet.
#[derive(Debug, Clone, Deserialize)]
pub struct StatefulSet {
    /// Its name, which its pods' names begin with.
    pub metadata: Metadata,
    /// The rest.
    pub spec: SetSpec,
}

/// A StatefulSet's `spec`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetSpec {
    /// The headless Service.
    pub service_name: String,
    /// The number of pods.
    pub replicas: usize,
    /// What is the same for every pod.
    pub template: Template,
    /// The volumes that outlive a pod.
    #[serde(default)]
    pub volume_claim_templates: Vec<Claim>,
    pod_management_policy: Option<Value>,
    selector: Value,
}

/// A pod's template.
#[derive(Debug, Clone, Deserialize)]
pub struct Template {
    /// The pod.
    pub spec: PodSpec,
}

/// A claim of a volume.
#[derive(Debug, Clone, Deserialize)]
pub struct Claim {
    /// Its name is that of the volume in the pod.
    pub metadata: Metadata,
}

/// A pod's `spec`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSpec {
    /// They run first, one after the other.
    #[serde(default)]
    pub init_containers: Vec<Container>,
    /// They run together.
    pub containers: Vec<Container>,
    /// The volumes but those of the claims.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Who the processes are.
    #[serde(default)]
    pub security_context: PodSecurity,
    /// From SIGTERM to SIGKILL, in seconds; 30 by default.
    pub termination_grace_period_seconds: Option<u64>,
    // For the scheduler, or without a meaning where there is no Kubernetes.
    automount_service_account_token: Option<Value>,
    enable_service_links: Option<Value>,
    topology_spread_constraints: Option<Value>,
}

/// A container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// Its name in the pod.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Instead of the image's entrypoint and command.
    #[serde(default)]
    pub command: Vec<String>,
    /// Its variables.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Until it succeeds the others wait.
    pub startup_probe: Option<Probe>,
    /// Whether clients are sent here.
    pub readiness_probe: Option<Probe>,
    /// Whether it has to be restarted.
    pub liveness_probe: Option<Probe>,
    /// Where its volumes are.
    #[serde(default)]
    pub volume_mounts: Vec<Mount>,
    /// What it may do.
    #[serde(default)]
    pub security_context: ContainerSecurity,
    /// What it may use.
    #[serde(default)]
    pub resources: Resources,
    /// Its ports, by name.
    #[serde(default)]
    pub ports: Vec<Port>,
    image_pull_policy: Option<Value>,
}

/// A variable of a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// Where its value comes from instead.
    pub value_from: Option<ValueFrom>,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueFrom {
    /// A field of the pod.
    pub field_ref: FieldRef,
}

/// A field of the pod.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldRef {
    /// `status.podIP` and the like.
    pub field_path: String,
}

/// A port of a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its number.
    pub container_port: u16,
}

/// A probe, with the defaults of Kubernetes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// A command in the container; or
    pub exec: Option<Exec>,
    /// a request.
    pub http_get: Option<HttpGet>,
    /// Seconds before the first.
    #[serde(default)]
    pub initial_delay_seconds: u64,
    /// Seconds between two.
    #[serde(default = "ten")]
    pub period_seconds: u64,
    /// Seconds that one may take.
    #[serde(default = "one")]
    pub timeout_seconds: u64,
    /// So many failures in a row count.
    #[serde(default = "three")]
    pub failure_threshold: u64,
}

fn one() -> u64 {
    1
}

fn three() -> u64 {
    3
}

fn ten() -> u64 {
    10
}

/// A command of a probe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The command.
    pub command: Vec<String>,
}

/// A request of a probe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGet {
    /// The path.
    pub path: String,
    /// The name of the port.
    pub port: String,
}

/// Where a volume is in a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// The volume.
    pub name: String,
    /// The place.
    pub mount_path: String,
    /// The directory of the volume that is mounted instead of the whole.
    pub sub_path: Option<String>,
    /// Whether nothing may be written there.
    #[serde(default)]
    pub read_only: bool,
}

/// A volume of a pod: one of the four.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Files of a ConfigMap.
    pub config_map: Option<ConfigMapVolume>,
    /// Files of a Secret.
    pub secret: Option<SecretVolume>,
    /// A directory that lives as long as the pod.
    pub empty_dir: Option<Value>,
    /// The files of an image, which nobody can write.
    pub image: Option<ImageVolume>,
}

/// The files of an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageVolume {
    /// The image.
    pub reference: String,
    pull_policy: Option<Value>,
}

/// Files of a Secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretVolume {
    /// The Secret.
    pub secret_name: String,
    /// The mode of the files; 0644 by default.
    pub default_mode: Option<u32>,
    /// The files that are mounted; all where there are none.
    #[serde(default)]
    pub items: Vec<Item>,
}

/// One file of a Secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its name in the Secret.
    pub key: String,
    /// Its name in the volume.
    pub path: String,
}

/// Files of a ConfigMap.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapVolume {
    /// The ConfigMap.
    pub name: String,
    /// The mode of the files; 0644 by default.
    pub default_mode: Option<u32>,
}

/// Who the processes of a pod are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSecurity {
    /// The user; the image's own where there is none.
    pub run_as_user: Option<u32>,
    /// The group.
    pub run_as_group: Option<u32>,
    /// The group of the volumes.
    pub fs_group: Option<u32>,
    /// The profile of system calls; the engine's own is `RuntimeDefault`.
    pub seccomp_profile: Option<Seccomp>,
    run_as_non_root: Option<Value>,
    fs_group_change_policy: Option<Value>,
}

/// The profile of system calls.
#[derive(Debug, Clone, Deserialize)]
pub struct Seccomp {
    /// `RuntimeDefault`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a container may do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerSecurity {
    /// `false`: no program gains rights by being run.
    pub allow_privilege_escalation: Option<bool>,
    /// Whether nothing may be written but volumes.
    #[serde(default)]
    pub read_only_root_filesystem: bool,
    /// What is taken from root.
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// Capabilities.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Those that are taken away.
    #[serde(default)]
    pub drop: Vec<String>,
}

/// What a container may use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// `memory` and the like.
    #[serde(default)]
    pub limits: BTreeMap<String, String>,
    /// For the scheduler.
    #[serde(default)]
    pub requests: BTreeMap<String, String>,
}
