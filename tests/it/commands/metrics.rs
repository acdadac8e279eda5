//! `/metrics`, read by the rules of OpenMetrics 1.0.

use std::collections::{BTreeMap, BTreeSet};

use super::ready;
use crate::support::server::any_server;

/// One sample.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads a whole exposition, strictly: every sample belongs to the family announced last, every
/// family has a type and a help text once, counters end in `_total` and never sink below zero, no
/// series comes twice, and the last line is the end.
fn parse(text: &str) -> Result<Vec<Sample>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let mut samples = Vec::new();
    for line in body.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
            if !is_name(name) || help.is_empty() || !families.insert(name.to_owned()) {
                return Err(wrong("no new family"));
            }
            (family, kind) = (name.to_owned(), String::new());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, is) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            let known = ["counter", "gauge", "info"].contains(&is);
            if name != family || !kind.is_empty() || !known {
                return Err(wrong("no type of this family"));
            }
            kind = is.to_owned();
        } else {
            let sample = sample(line).ok_or_else(|| wrong("no sample"))?;
            let suffix = match kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                "gauge" => "",
                _ => return Err(wrong("no type before it")),
            };
            let finite = sample.value.is_finite();
            let sound = match kind.as_str() {
                "counter" => finite && sample.value >= 0.0,
                "info" => sample.value == 1.0,
                _ => finite,
            };
            if sample.name != format!("{family}{suffix}") || !sound {
                return Err(wrong("no sample of this family"));
            }
            if !series.insert(format!("{} {:?}", sample.name, sample.labels)) {
                return Err(wrong("twice"));
            }
            samples.push(sample);
        }
    }
    Ok(samples)
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}')?),
        None => (series, ""),
    };
    let mut read = BTreeMap::new();
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (key, value) = label.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        if !is_name(key) || value.contains(['"', '\\', '\n']) {
            return None;
        }
        read.insert(key.to_owned(), value.to_owned());
    }
    let value = value.parse().ok()?;
    is_name(name).then(|| Sample { name: name.to_owned(), labels: read, value })
}

fn is_name(text: &str) -> bool {
    let start = text.starts_with(|c: char| c.is_ascii_lowercase());
    start && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn metrics_of_a_formed_cluster_are_valid_and_complete() {
    let fleet = ready(&any_server());
    let answer = fleet.pods[0].http("/metrics").unwrap();
    assert!(answer.head.contains("application/openmetrics-text; version=1.0.0"), "{answer:?}");
    let samples = parse(&answer.body).unwrap_or_else(|why| panic!("{why} in\n{}", answer.body));
    let value = |name: &str, label: Option<(&str, &str)>| -> Option<f64> {
        let has = |sample: &&Sample| {
            sample.name == name
                && label.is_none_or(|(key, value)| {
                    sample.labels.get(key).is_some_and(|seen| seen == value)
                })
        };
        samples.iter().find(has).map(|sample| sample.value)
    };
    let version = Some(("version", env!("CARGO_PKG_VERSION")));
    assert_eq!(value("rejoin_build_info", version), Some(1.0), "{}", answer.body);
    for probe in ["live", "ready", "startup"] {
        assert_eq!(value("rejoin_probe", Some(("probe", probe))), Some(1.0), "{probe}");
    }
    assert!(value("rejoin_keeper_rounds_total", None).is_some_and(|rounds| rounds > 1.0));
    assert_eq!(value("rejoin_agent_restarts_total", None), Some(0.0));
    assert_eq!(value("rejoin_log_lines_lost_total", None), Some(0.0));
    assert_eq!(value("rejoin_server_up", None), Some(1.0));
    assert!(value("rejoin_server_answer_age_seconds", None).is_some_and(|age| age < 5.0));
    let actions: Vec<&Sample> =
        samples.iter().filter(|sample| sample.name == "rejoin_actions_total").collect();
    assert!(actions.len() >= 2, "{actions:?}");
    assert!(actions.iter().all(|action| action.labels.contains_key("kind") && action.value >= 1.0));
    assert!(!samples.iter().any(|sample| sample.name == "rejoin_holds"), "nothing is held");
}

#[test]
fn checker_of_metrics_refuses_what_is_wrong() {
    let head = "# HELP a A.\n# TYPE a counter\n";
    assert_eq!(parse(&format!("{head}a_total{{b=\"c\"}} 1\n# EOF\n")).unwrap().len(), 1);
    for wrong in [
        format!("{head}a 1\n# EOF\n"),
        format!("{head}a_total 1\n"),
        format!("{head}a_total -1\n# EOF\n"),
        format!("{head}a_total 1\na_total 2\n# EOF\n"),
        format!("{head}b_total 1\n# EOF\n"),
        format!("{head}{head}# EOF\n"),
        format!("{head}a_total{{b=c}} 1\n# EOF\n"),
        "a 1\n# EOF\n".to_owned(),
    ] {
        parse(&wrong).unwrap_err();
    }
}
