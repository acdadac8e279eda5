//! What the documents quote is what there is.

use std::fs;
use std::time::Instant;

use rejoin::board::Board;
use rejoin::telemetry::metrics::Metrics;

use crate::manifests::own;

/// The text of every source file, with strings that go over several lines in one piece.
fn sources() -> String {
    fn collect(dir: &std::path::Path, text: &mut String) {
        for entry in fs::read_dir(dir).expect("the source is here").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, text);
            } else {
                text.push_str(&fs::read_to_string(&path).expect("source is text"));
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
fn log_lines_of_the_troubleshooting_page_are_those_that_are_printed() {
    let page = fs::read_to_string(own("docs/troubleshooting.md")).expect("it is there");
    let sources = sources();
    let mut count = 0;
    for block in page.split("```log\n").skip(1) {
        for line in block.split("```").next().unwrap_or_default().lines() {
            let line = line.trim_start_matches("rejoin: ").trim_start_matches("held: ");
            for piece in line.split('…').map(|piece| piece.trim_start_matches("not ready: ")) {
                // What stands between two things that differ, as the format string has it.
                let is_there = sources.contains(piece.trim());
                assert!(is_there, "nothing prints {piece:?}, of {line:?}");
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count} pieces");
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
