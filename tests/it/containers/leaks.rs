//! What pods show to whoever looks, and that nothing of the Secrets is in it.

use std::fs;
use std::net::SocketAddr;

use crate::support::http;
use crate::support::process::descendants;

use super::Rendered;
use super::set::{Pod, Set};

/// Where the probes are, in every manifest.
const HTTP: u16 = 8080;

/// All of the Secrets that nobody may see: passwords, the hashes that stand for them in `users.acl`,
/// and the lines of private keys.
fn secrets(rendered: &Rendered) -> Vec<String> {
    let files = rendered.secrets.values().flatten();
    let secret = |(name, text): (&String, &String)| -> Vec<String> {
        let words = text.split_whitespace().map(str::to_owned);
        match name.as_str() {
            "tls.crt" | "ca.crt" => Vec::new(),
            "tls.key" => {
                text.lines().filter(|line| !line.starts_with('-')).map(Into::into).collect()
            }
            "users.acl" => words.filter_map(|word| Some(word.strip_prefix('#')?.into())).collect(),
            "replication.conf" => words.skip_while(|word| word != "masterauth").skip(1).collect(),
            _ => vec![text.trim_end().to_owned()],
        }
    };
    let found: Vec<String> = files.flat_map(secret).collect();
    assert!(found.len() >= 3 && found.iter().all(|secret| secret.len() > 3), "{found:?}");
    found
}

/// What a pod shows, each under its place.
fn shown(pod: &Pod) -> Vec<(String, String)> {
    let container = &pod.container;
    let mut shown = vec![
        ("log".to_owned(), container.log()),
        // As whoever may read the pod sees it.
        ("configuration".to_owned(), container.inspect("json .Config")),
    ];
    for path in ["/status", "/status.txt", "/metrics", "/readyz", "/livez", "/startupz"] {
        let answer = http::get(SocketAddr::new(pod.ip, HTTP), path).expect("it answers");
        shown.push((path.to_owned(), answer.body));
    }
    for words in [&["rejoin", "status"][..], &["rejoin", "status", "--json"]] {
        shown.push((words.join(" "), container.exec(words).expect("it answers")));
    }
    let first = container.pid();
    for pid in descendants(first).into_iter().chain([first]) {
        for part in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{part}")).unwrap_or_default();
            shown.push((format!("{part} of {pid}"), String::from_utf8_lossy(&text).into_owned()));
        }
    }
    shown
}

/// No pod shows anything of the Secrets, nor of these.
#[track_caller]
pub fn show_no_secret(set: &Set, more: &[String]) {
    let mut secrets = secrets(&set.rendered);
    secrets.extend(more.iter().cloned());
    for pod in set.pods.values() {
        let shown = shown(pod);
        // So something was looked at.
        let all: String = shown.iter().map(|(_, text)| text.as_str()).collect();
        for mark in ["started the server", "rejoin_probe", "redis-server", "POD_IP="] {
            assert!(all.contains(mark), "{}: no {mark} in {all}", set.version);
        }
        for (place, text) in &shown {
            for secret in &secrets {
                let leaks = text.contains(secret);
                assert!(!leaks, "{}: {secret} in {place}: {text}", set.version);
            }
        }
    }
}
