//! A cluster that runs in plain text comes to speak TLS, step by step as the documents say it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};

use crate::manifests::{make_secret, of_a_reader, own};
use crate::support::engine::Network;

use super::load::{Load, Seen, assert_keys, assert_none_lost, write_keys};
use super::set::{PORT, Set, ask};
use super::{HANDED_OVER, Rendered, each_version, formed, newest};

const KEYS: usize = 200;
const HEADING: &str = "\n### From plain text to TLS\n";

/// What is applied, step by step.
struct Steps {
    both_ports: Rendered,
    bus: Rendered,
    tls_only: Rendered,
    usual_port: Rendered,
}

/// The section of the page, and what its overlay and the changes to it render to.
fn documented(secret: &str) -> Option<(String, Steps)> {
    let page = fs::read_to_string(own("docs/kubernetes.md")).expect("it is there");
    let (_, section) = page.split_once(HEADING).expect("it has the heading");
    let section = section.split("\n## ").next().expect("it has a first part").to_owned();
    let (_, block) = section.split_once("```yaml\n").expect("it has a block");
    let (first, _) = block.split_once("```").expect("the block ends");
    for words in
        ["`tls-cluster yes` and `tls-replication yes`", "`port 0` in the place of `port 6379`"]
    {
        assert!(section.contains(words), "no {words}");
    }
    let rendered = |text: &str| {
        Some(Rendered::read("the page's overlay", &of_a_reader(text)?).with_secret(secret))
    };
    let changed = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "no {from:?} in {text}");
        text.replace(from, to)
    };
    let line = "        tls-port 6380\n";
    let more = format!("{line}        tls-cluster yes\n        tls-replication yes\n");
    let second = changed(first, line, &more);
    let third = changed(&second, "=port 6379\n", "=port 0\n");
    let (head, rest) = third.split_once("configMapGenerator:").expect("it has one");
    let (_, patches) = rest.split_once("patches:").expect("they come after it");
    let steps = Steps {
        both_ports: rendered(first)?,
        bus: rendered(&second)?,
        tls_only: rendered(&third)?,
        usual_port: rendered(&format!("{head}patches:{patches}"))?,
    };
    Some((section, steps))
}

/// The same without the 5 s that a master waits for more replicas before each full copy.
fn at_once(mut rendered: Rendered) -> Rendered {
    for text in rendered.config.values_mut().filter_map(|files| files.get_mut("redis.conf")) {
        text.push_str("\nrepl-diskless-sync-delay 0\n");
    }
    rendered
}

/// What decides whether pods are restarted when it is applied.
fn template(rendered: &Rendered) -> String {
    format!("{:?} {:?}", rendered.set, rendered.config)
}

/// Why each pod has ceased to be ready so far.
fn lapses(set: &Set) -> BTreeMap<usize, Vec<String>> {
    set.pods.iter().map(|(ordinal, pod)| (*ordinal, pod.verdict().lapses)).collect()
}

/// Applies this as a rolling update does: every master hands over, and no pod but the one whose turn
/// it is ceases to be ready.
#[track_caller]
fn roll(set: &mut Set, to: &Rendered) {
    let mut before = lapses(set);
    set.apply(at_once(to.clone()));
    for ordinal in (0..6).rev() {
        let slots = set.pods[&ordinal].view().expect("its view").me().slot_count();
        let ended = set.replace(ordinal);
        assert_eq!(ended.code, 0, "redis-{ordinal} on {}: {}", set.version, ended.log);
        let has_handed_over = ended.log.contains(HANDED_OVER);
        assert_eq!(has_handed_over, slots > 0, "{}: {}", set.version, ended.log);
        before.insert(ordinal, Vec::new());
        set.wait_ready(ordinal);
        assert_eq!(lapses(set), before, "{}", set.version);
    }
    set.wait_whole();
    assert_eq!(lapses(set), before, "{}", set.version);
    assert_keys(set, KEYS);
}

/// Has every server do at once what the page says.
fn switch(set: &Set, section: &str) {
    let line = section.lines().find(|line| line.contains(" config set tls-cluster "));
    let (_, command) = line.and_then(|line| line.split_once(" -- ")).expect("it has the command");
    let words: Vec<&str> = command.trim_end_matches('&').split_whitespace().collect();
    std::thread::scope(|scope| {
        for pod in set.pods.values() {
            let words = &words;
            scope.spawn(move || assert_eq!(pod.container.exec(words).as_deref(), Ok("OK")));
        }
    });
}

#[test]
fn cluster_in_plain_text_moves_to_the_overlay_with_tls_pod_by_pod() {
    let Some(secret) = make_secret("tls") else { return };
    let (Some(base), Some((section, steps)), Some(last)) =
        (Rendered::of("k8s"), documented(&secret), Rendered::of("k8s/overlays/tls"))
    else {
        return;
    };
    // So the last thing to be applied changes no pod.
    assert_eq!(template(&steps.usual_port), template(&last));
    each_version(&newest(), |version| {
        let mut set = formed(Set::new(at_once(base.clone()), version, Network::new()));
        write_keys(&set, KEYS);
        let ids = |set: &Set| -> Vec<String> {
            set.pods.values().map(|pod| pod.ask(&["CLUSTER", "MYID"]).expect("its id")).collect()
        };
        let before = ids(&set);
        let load = Load::start(&set);
        roll(&mut set, &steps.both_ports);
        switch(&set, &section);
        roll(&mut set, &steps.bus);
        let seen = load.end();
        println!("{version}: clients in plain text: {seen:?}");
        assert_none_lost(&set, &seen);
        roll(&mut set, &steps.tls_only);
        roll(&mut set, &steps.usual_port);
        for pod in set.pods.values() {
            assert_eq!(pod.address().port(), PORT);
            let gone = TcpStream::connect(SocketAddr::new(pod.ip, PORT + 1));
            assert!(gone.is_err(), "{version}: {gone:?}");
            let plain = ask(pod.address(), &["PING"]);
            assert!(plain.is_err(), "{version}: {plain:?}");
        }
        let access = set.access.as_ref().expect("it speaks TLS");
        for Seen { key, last, .. } in &seen {
            let found = access.play(set.pods[&0].address(), &format!("GET {key}\n"));
            let number = found.as_ref().ok().and_then(|found| found[0].parse::<u64>().ok());
            assert!(number >= Some(*last), "{version}: {key}: {found:?}");
        }
        assert_eq!(ids(&set), before, "{version}");
    });
}
