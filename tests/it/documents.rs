//! What the documents quote is what there is.

mod commands;

use std::fs;
use std::path::Path;
use std::time::Instant;

use rejoin::board::Board;
use rejoin::telemetry::metrics::Metrics;
use serde_json::{Value, json};

use crate::manifests::{output_of, own, tool};

/// A source file without its comments and what is for its own tests: what may be printed.
fn printable(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if code == "#[cfg(test)]" {
            let end = line.replace(code, "}");
            let is_one_line = lines.next().expect("an item").ends_with(';');
            assert!(is_one_line || lines.any(|line| line == end), "no end of tests in {text}");
        } else if !code.starts_with("//") {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// The text of every source file, as [`printable`] has it, with strings that go over several lines
/// in one piece.
fn sources() -> String {
    fn collect(dir: &Path, text: &mut String) {
        for entry in fs::read_dir(dir).expect("the source is here").flatten() {
            let path = entry.path();
            if path.file_stem().is_some_and(|name| name == "tests") {
                continue;
            }
            if path.is_dir() {
                collect(&path, text);
            } else {
                text.push_str(&printable(&fs::read_to_string(&path).expect("source is text")));
            }
        }
    }
    let mut text = String::new();
    collect(&own("src"), &mut text);
    let mut pieces = text.split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.trim_start())
}

#[test]
fn comments_and_unit_tests_are_not_what_is_printed() {
    let text = "//! a\nfn b() {\n    // c\n    d(\"//e\");\n    #[cfg(test)]\n    if f {\n        g();\n    }\n}\n\
                #[cfg(test)]\nmod h;\n#[cfg(test)]\nmod i {\n    fn j() {\n    }\n}\nfn k() {}\n";
    assert_eq!(printable(text), "fn b() {\n    d(\"//e\");\n}\nfn k() {}\n");
    assert!(!sources().contains("#[test]"));
}

/// The lines of the blocks of a page that are marked as logs, without what begins many of them.
fn log_lines(page: &str) -> Vec<String> {
    let text = fs::read_to_string(own(page)).expect("it is there");
    let blocks = text.split("```log\n").skip(1);
    let lines = blocks.flat_map(|rest| rest.split("```").next().unwrap_or_default().lines());
    let without = |line: &str| {
        ["rejoin: ", "held: ", "not ready: "].iter().fold(line.to_owned(), |line, start| {
            line.strip_prefix(start).unwrap_or(&line).to_owned()
        })
    };
    lines.map(without).collect()
}

#[test]
fn log_lines_of_the_troubleshooting_page_are_those_that_are_printed() {
    let sources = sources();
    let mut count = 0;
    for line in log_lines("docs/troubleshooting.md") {
        for piece in line.split('…').map(|piece| piece.trim_start_matches("not ready: ")) {
            // What stands between two things that differ, as the format string has it.
            let is_there = sources.contains(piece.trim());
            assert!(is_there, "nothing prints {piece:?}, of {line:?}");
            count += 1;
        }
    }
    assert!(count > 30, "{count} pieces");
}

/// What differs from line to line in the examples of `docs/operations.md`, beside what has a number
/// or a path in it.
const EXAMPLES: [&str; 16] = [
    "rejoin",
    "default",
    "replica",
    "REJOIN_USERNAME",
    "REJOIN_PASSWORD_FILE",
    "requirepass",
    "masteruser",
    "masterauth",
    "WRONGPASS",
    "NOPERM",
    "'cluster|meet'",
    "tls-ca-cert-file",
    "tls-cert-file",
    "CertificateExpired",
    "ms",
    // Of a certificate, which may be too early as well.
    "has",
];

#[test]
fn log_lines_of_the_operations_page_are_those_that_are_printed() {
    let sources = sources();
    let marks: &[char] = &[' ', ',', ';', ':', ')'];
    let differs = |word: &&str| {
        let bare = word.trim_matches(marks);
        word.contains(|c: char| c.is_ascii_digit() || c == '/' || c == '…')
            || EXAMPLES.contains(&bare)
    };
    let mut count = 0;
    for line in log_lines("docs/operations.md") {
        // What happened, its cause, and the login stand in strings of their own.
        for part in line.split(": ").flat_map(|part| part.split('(')) {
            let words: Vec<&str> = part.split(' ').collect();
            for piece in words.split(differs).map(|words| words.join(" ")) {
                let piece = piece.trim_matches(marks);
                assert!(sources.contains(piece), "nothing prints {piece:?}, of {line:?}");
                count += usize::from(piece.contains(' '));
            }
        }
    }
    assert!(count > 10, "{count} pieces of more than a word");
}

#[test]
fn kinds_in_the_alert_rules_are_kinds_of_what_is_held() {
    let source = printable(&fs::read_to_string(own("src/cluster/plan/hold.rs")).expect("it is"));
    let (_, body) = source.split_once("fn kind(&self)").expect("what names them");
    let (body, _) = body.split_once("\n    }\n").expect("its end");
    let kinds: Vec<&str> = body.split('"').skip(1).step_by(2).collect();
    assert!(kinds.len() > 20, "{kinds:?}");
    let rules = fs::read_to_string(own("k8s/monitoring/rules.yaml")).expect("it is there");
    let named =
        rules.split("kind=~\"").skip(1).map(|rest| rest.split('"').next().expect("it ends"));
    let named: Vec<&str> = named.flat_map(|kinds| kinds.split('|')).collect();
    assert!(!named.is_empty());
    for kind in named {
        assert!(kinds.contains(&kind), "nothing is held as {kind}: {kinds:?}");
    }
}

/// Every `expr` in a part of the dashboard.
fn expressions(part: &Value) -> Vec<String> {
    match part {
        Value::Object(fields) => {
            let own = fields.get("expr").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(expressions)).collect()
        }
        Value::Array(parts) => parts.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn expressions_of_the_dashboard_pass_promtool() {
    let text = fs::read_to_string(own("k8s/monitoring/dashboard.json")).expect("it is there");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut rules = Vec::new();
    for panel in panels {
        let found = expressions(panel);
        assert!(!found.is_empty(), "nothing is asked for {}", panel["title"]);
        for expr in found {
            // As Grafana fills them in.
            let expr = expr.replace("$namespace", ".*").replace("$__rate_interval", "5m");
            assert!(!expr.contains('$'), "a variable that nobody fills in: {expr}");
            rules.push(json!({"record": format!("panel:{}", rules.len()), "expr": expr}));
        }
    }
    let dir = tempfile::tempdir().expect("the directory for temporary files is writable");
    let file = dir.path().join("rules.yaml");
    let all = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, all.to_string()).expect("the test's directory is writable");
    let Some(mut promtool) = tool("promtool") else { return };
    let said = output_of(promtool.args(["check", "rules"]).arg(file));
    assert!(said.contains(&format!("{} rules found", rules.len())), "{said}");
}

#[test]
fn metrics_of_the_rules_and_the_dashboard_are_there() {
    let (board, metrics) = (Board::new("redis-0", ""), Metrics::default());
    metrics.handover("order", std::time::Duration::from_millis(8));
    metrics.action("meet");
    let text = metrics.encode(&board, Instant::now()).expect("they can be written");
    // They are there only where something is held, or the server has answered.
    let rare = ["rejoin_holds", "rejoin_server_answer_age_seconds"];
    for file in ["rules.yaml", "dashboard.json"] {
        let written = fs::read_to_string(own("k8s/monitoring").join(file)).expect("it is there");
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = written.split(|c| !is_of_name(c)).filter(|word| word.starts_with("rejoin_"));
        for name in names {
            let is_there = text.lines().any(|line| line.split(['{', ' ']).next() == Some(name));
            assert!(is_there || rare.contains(&name), "{file}: no {name} in\n{text}");
        }
    }
}

#[test]
fn diff_of_the_drop_in_is_the_overlay() {
    for page in ["README.md", "docs/migrating.md"] {
        let page_text = fs::read_to_string(own(page)).expect("it is there");
        let (_, diff) = page_text.split_once("```diff\n").expect("it has a diff");
        let (diff, _) = diff.split_once("```").expect("the diff ends");
        let lines = |sign| -> Vec<&str> {
            diff.lines().filter_map(|line| line.strip_prefix(sign)).map(str::trim).collect()
        };
        let before =
            fs::read_to_string(own("k8s/overlays/drop-in/fix-ip.yaml")).expect("it is there");
        for line in lines('-') {
            assert!(before.contains(line), "{page}: fix-ip.yaml has no {line:?}");
        }
        let patch = fs::read_to_string(own("k8s/overlays/drop-in/kustomization.yaml"));
        let patch = patch.expect("it is there");
        let values = ["redis-rejoin:8", "rejoin", "[rejoin, ready]", "[rejoin, live]"];
        for value in values {
            assert!(patch.contains(&format!("value: {value}\n")), "{value:?} is not in {patch}");
            assert!(lines('+').iter().any(|line| line.contains(value.trim_matches(['[', ']']))));
        }
        assert_eq!(patch.matches("op:").count(), values.len());
        assert_eq!(lines('+').len(), values.len(), "{page}");
    }
}
