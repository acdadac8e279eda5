//! What the base promises to a cluster, in every overlay: the pods find each other, clients find
//! ready ones, the bus is the set's own, and not two pods are taken at once.

use serde_json::{Value, json};

use super::{Objects, of_the_base};

/// The labels of the pods.
fn labels(all: &Objects) -> &Value {
    &all.spec("StatefulSet", "redis")["template"]["metadata"]["labels"]
}

/// Whether these labels are asked for, one at least, and every pod has them.
fn selects(labels: &Value, wanted: &Value) -> bool {
    let wanted = wanted.as_object().expect("labels");
    !wanted.is_empty() && wanted.iter().all(|(name, value)| labels[name] == *value)
}

/// The pods' only container.
fn container(all: &Objects) -> &Value {
    &all.spec("StatefulSet", "redis")["template"]["spec"]["containers"][0]
}

/// The number of a port of the container, given by its name or number.
fn port(all: &Objects, named: &Value) -> u64 {
    let ports = container(all)["ports"].as_array().expect("ports");
    let is_it = |port: &&Value| port["name"] == *named || port["containerPort"] == *named;
    let found = ports.iter().find(is_it).unwrap_or_else(|| panic!("no port {named}"));
    found["containerPort"].as_u64().expect("a number")
}

#[test]
fn pods_find_each_other_before_they_are_ready_and_clients_find_ready_ones() {
    for (overlay, all) in of_the_base() {
        let set = all.spec("StatefulSet", "redis");
        assert!(selects(labels(&all), &set["selector"]["matchLabels"]), "{overlay}");
        let headless = all.spec("Service", set["serviceName"].as_str().expect("a name"));
        assert_eq!(headless["clusterIP"], "None", "{overlay}");
        assert_eq!(headless["publishNotReadyAddresses"], true, "{overlay}");
        let clients = all.spec("Service", "redis");
        // By default false.
        assert!(matches!(clients["publishNotReadyAddresses"], Value::Null | Value::Bool(false)));
        assert_ne!(clients["clusterIP"], "None", "{overlay}");
        for (service, expected) in [(headless, &[6379, 16379][..]), (clients, &[6379])] {
            assert!(selects(labels(&all), &service["selector"]), "{overlay}: {service}");
            let ports = service["ports"].as_array().expect("ports");
            let inside: Vec<u64> = ports.iter().map(|it| port(&all, &it["targetPort"])).collect();
            assert_eq!(inside, expected, "{overlay}: {service}");
            let outside: Vec<u64> = ports.iter().filter_map(|it| it["port"].as_u64()).collect();
            // Servers announce their own port, and a Service without an address changes none.
            assert_eq!(outside, expected, "{overlay}: {service}");
        }
    }
}

#[test]
fn one_pod_at_most_is_taken_at_once_and_they_are_spread_over_nodes_and_zones() {
    for (overlay, all) in of_the_base() {
        let budget = all.spec("PodDisruptionBudget", "redis");
        assert_eq!(budget["maxUnavailable"], 1, "{overlay}");
        assert!(selects(labels(&all), &budget["selector"]["matchLabels"]), "{overlay}");
        let pod = &all.spec("StatefulSet", "redis")["template"]["spec"];
        let spread = pod["topologySpreadConstraints"].as_array().expect("constraints");
        let keys: Vec<&Value> = spread.iter().map(|it| &it["topologyKey"]).collect();
        assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"], "{overlay}");
        for over in spread {
            assert_eq!(over["maxSkew"], 1, "{overlay}: {over}");
            assert!(selects(labels(&all), &over["labelSelector"]["matchLabels"]), "{over}");
        }
    }
}

#[test]
fn bus_is_for_the_pods_of_the_set_only() {
    for (overlay, all) in of_the_base() {
        let (labels, bus) = (labels(&all), port(&all, &json!("bus")));
        let policy = all.spec("NetworkPolicy", "redis");
        assert!(selects(labels, &policy["podSelector"]["matchLabels"]), "{overlay}");
        assert_eq!(policy["policyTypes"], json!(["Ingress"]), "{overlay}");
        let rules = policy["ingress"].as_array().expect("rules");
        let opens = |rule: &&Value| match rule["ports"].as_array() {
            // No list of ports is all of them.
            None => true,
            Some(ports) => ports.iter().any(|it| port(&all, &it["port"]) == bus),
        };
        let opening: Vec<&Value> = rules.iter().filter(opens).collect();
        assert_eq!(opening.len(), 1, "{overlay}: {rules:?}");
        let from = opening[0]["from"].as_array().expect("the bus is not for all");
        assert_eq!(from.len(), 1, "{overlay}: {from:?}");
        let who = from[0].as_object().expect("who");
        assert_eq!(who.keys().collect::<Vec<_>>(), ["podSelector"], "{overlay}: {who:?}");
        assert!(selects(labels, &who["podSelector"]["matchLabels"]), "{overlay}: {who:?}");
        // Policies add up: no other one opens what this one does not.
        let ingress = |it: &&Value| it["spec"]["ingress"].is_array();
        assert_eq!(all.of_kind("NetworkPolicy").filter(ingress).count(), 1, "{overlay}");
    }
}

#[test]
fn pods_have_all_three_probes_on_a_port_of_theirs() {
    for (overlay, all) in of_the_base() {
        let container = container(&all);
        for (probe, path) in
            [("startup", "/startupz"), ("readiness", "/readyz"), ("liveness", "/livez")]
        {
            let get = &container[format!("{probe}Probe")]["httpGet"];
            assert_eq!(get["path"], path, "{overlay}");
            assert_eq!(port(&all, &get["port"]), 8080, "{overlay}");
        }
    }
}

#[test]
fn number_of_pods_is_that_of_the_shape() {
    for (overlay, all) in of_the_base() {
        let env = container(&all)["env"].as_array().expect("variables");
        let number = |name: &str| -> u64 {
            let variable = env.iter().find(|it| it["name"] == name).expect("it is set");
            variable["value"].as_str().and_then(|value| value.parse().ok()).expect("a number")
        };
        let pods = number("REJOIN_SHARDS") * (1 + number("REJOIN_REPLICAS"));
        assert_eq!(all.spec("StatefulSet", "redis")["replicas"], pods, "{overlay}");
    }
}
