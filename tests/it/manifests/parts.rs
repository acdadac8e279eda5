//! What is put together with an overlay, or beside it: components, the monitoring, and the YAML of
//! the documents.

use std::fs;

use serde_json::{Value, json};

use super::{Objects, of_a_reader, own, render, validate};

/// The components, by their names.
fn components() -> Vec<String> {
    let found = fs::read_dir(own("k8s/components")).expect("there are components");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("text");
    let mut names: Vec<String> =
        found.map(|entry| name(entry.expect("it can be listed"))).collect();
    names.sort();
    names
}

#[test]
fn every_component_renders_in_an_overlay_of_ones_own_alone_and_with_all_others() {
    let names = components();
    let alone = names.iter().map(std::slice::from_ref);
    for names in alone.chain([&names[..]]) {
        let places: Vec<String> =
            names.iter().map(|name| format!("../rejoin/k8s/components/{name}")).collect();
        let written = json!({"resources": ["../rejoin/k8s"], "components": places});
        let Some(yaml) = of_a_reader(&written.to_string()) else { return };
        let Some(said) = validate(&yaml) else { return };
        assert!(said.contains("statefulset/redis"), "{names:?}: {said}");
        // Each leaves something of its own.
        for name in names {
            let mark = if name == "egress" { "redis-egress" } else { &format!("redis-{name}") };
            assert!(yaml.contains(mark), "{names:?}: no {mark} in\n{yaml}");
        }
    }
}

#[test]
fn pods_that_may_send_nothing_else_ask_for_names_and_reach_each_other() {
    let written = json!({
        "resources": ["../rejoin/k8s"], "components": ["../rejoin/k8s/components/egress"]
    });
    let Some(yaml) = of_a_reader(&written.to_string()) else { return };
    let all = Objects::read(&yaml);
    let policy = all.spec("NetworkPolicy", "redis-egress");
    assert_eq!(policy["policyTypes"], json!(["Egress"]));
    let labels = &all.spec("StatefulSet", "redis")["template"]["metadata"]["labels"];
    let set = json!({"matchLabels": labels});
    assert_eq!(policy["podSelector"], set);
    let expected = json!([
        {"to": [{"podSelector": set}], "ports": [{"port": "redis"}, {"port": "bus"}]},
        {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    ]);
    assert_eq!(policy["egress"], expected);
}

#[test]
fn monitoring_renders_to_what_grafana_and_prometheus_are_to_read() {
    let Some(yaml) = render(&own("k8s/monitoring")) else { return };
    let Some(said) = validate(&yaml) else { return };
    assert!(said.contains("configmap/rejoin-dashboard"), "{said}");
    let all = Objects::read(&yaml);
    for (name, file) in [("rejoin-dashboard", "dashboard.json"), ("rejoin-rules", "rules.yaml")] {
        let text = fs::read_to_string(own("k8s/monitoring").join(file)).expect("it is there");
        assert_eq!(all.named("ConfigMap", name)["data"], json!({file: text}));
    }
    let labels = &all.named("ConfigMap", "rejoin-dashboard")["metadata"]["labels"];
    assert_eq!(labels["grafana_dashboard"], "1");
}

/// The YAML of a page, block by block.
fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(own(page)).expect("it is there");
    let block = |rest: &str| rest.split_once("```").expect("it ends").0.to_owned();
    text.split("```yaml\n").skip(1).map(block).collect()
}

/// What a reader has when he has put a block where it belongs: what is no object of its own is for
/// the kustomization, or for the container of the pods.
fn in_place(block: &str) -> Option<String> {
    let parsed: Vec<Value> = serde_saphyr::from_multiple(block).expect("YAML");
    if parsed.iter().all(|it| it["kind"].is_string() && it["kind"] != "Kustomization") {
        return Some(block.to_owned());
    }
    let [part] = &parsed[..] else { panic!("more than one of what is no object: {block}") };
    let of_container = ["env", "command"].iter().any(|field| !part[field].is_null());
    let mut whole = if of_container {
        let mut container = part.clone();
        container["name"] = json!("redis");
        let patch = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "redis"},
            "spec": {"template": {"spec": {"containers": [container]}}}
        });
        json!({"patches": [{"patch": patch.to_string()}]})
    } else {
        part.clone()
    };
    if whole["resources"].is_null() {
        whole["resources"] = json!(["../rejoin/k8s"]);
    }
    of_a_reader(&whole.to_string())
}

#[test]
fn yaml_of_the_documents_fits_what_is_there_and_is_valid() {
    let mut count = 0;
    for page in ["kubernetes", "migrating", "operations", "external-access"]
        .map(|name| format!("docs/{name}.md"))
        .iter()
        .chain([&"README.md".to_owned()])
    {
        for block in blocks(page) {
            let Some(said) = in_place(&block).and_then(|yaml| validate(&yaml)) else { return };
            println!("{page}: {said}");
            count += 1;
        }
    }
    assert!(count > 10, "{count} blocks");
}
