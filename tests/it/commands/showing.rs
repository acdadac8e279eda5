//! `rejoin status`, and logs.

use super::{LIMIT, ready, typed, wait_ready};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::server::any_server;
use crate::support::wait::wait_for;

#[test]
fn status_is_a_table_without_colour_where_there_is_no_terminal() {
    let fleet = ready(&any_server());
    let pod = &fleet.pods[0];
    let output = pod.rejoin(&["status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(!text.contains('\x1b'), "{text:?}");
    let id = pod.text(&["CLUSTER", "MYID"]).unwrap();
    for part in [
        "redis-0",
        &id[..8],
        &pod.address().to_string(),
        "master",
        "0-16383",
        "held back: nothing",
        "done last:",
        "live: the server answered OK",
        "ready: a master, cluster_state is ok",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn status_as_json_says_the_same_as_the_server() {
    let fleet = ready(&any_server());
    let pod = &fleet.pods[0];
    let output = pod.rejoin(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let is = |path: &str, expected: serde_json::Value| {
        assert_eq!(status.pointer(path), Some(&expected), "{path} in {status:#}");
    };
    is("/pod", "redis-0".into());
    is("/id", pod.text(&["CLUSTER", "MYID"]).unwrap().into());
    is("/server_version", pod.field(&["INFO", "server"], "redis_version").unwrap().into());
    is("/phase", "running".into());
    is("/probes/ready/ok", true.into());
    is("/cluster/state", "ok".into());
    is("/cluster/slots_assigned", 16384.into());
    is("/nodes/0/address", pod.address().to_string().into());
    is("/nodes/0/slots", "0-16383".into());
    is("/held", serde_json::json!([]));
    is("/agent_restarts", 0.into());
    let http: serde_json::Value = serde_json::from_str(&pod.http("/status").unwrap().body).unwrap();
    assert_eq!(http.pointer("/id"), status.pointer("/id"));
}

#[test]
fn status_says_what_is_held_and_why() {
    let mut fleet = Fleet::new(&Recipe { replicas: 0, ..Recipe::wrapped(&any_server(), 1) });
    let pod = &mut fleet.pods[0];
    // A key that the cluster to be formed does not know of.
    pod.env.remove("REJOIN_SHARDS");
    pod.conf.push("cluster-require-full-coverage no".to_owned());
    pod.start();
    pod.wait_answers(LIMIT);
    pod.redis(&["CLUSTER", "ADDSLOTS", "12182"]).unwrap();
    wait_for(LIMIT, "a slot to be served", || pod.redis(&["SET", "foo", "bar"]).is_ok());
    pod.redis(&["CLUSTER", "DELSLOTS", "12182"]).unwrap();
    pod.env.insert("REJOIN_SHARDS".to_owned(), "1".to_owned());
    assert!(pod.stop().success());
    std::fs::remove_file(pod.data().join("nodes.conf")).unwrap();
    pod.start();
    wait_for(LIMIT, "something to be held", || {
        let text = String::from_utf8(pod.rejoin(&["status"]).stdout).unwrap();
        text.contains("held back:\n") && text.contains("1 keys")
    });
    assert!(pod.http("/metrics").unwrap().body.contains("rejoin_holds{kind=\"holds_keys\"} 1\n"));
    assert_eq!(pod.text(&["DBSIZE"]).unwrap(), "1", "nothing that holds data is touched");
}

#[test]
fn status_of_nobody_is_one_line_and_exit_1() {
    let dir = tempfile::tempdir().unwrap();
    let output = typed(dir.path(), &["--http", "127.0.0.1:1", "status"], &[]);
    super::is_refused(&output, 1, &["no rejoin answers at 127.0.0.1:1", "connection refused"]);
}

#[test]
fn logs_as_json_are_one_object_a_line() {
    let mut fleet = Fleet::new(&Recipe { replicas: 0, ..Recipe::wrapped(&any_server(), 1) });
    let pod = &mut fleet.pods[0];
    pod.env.insert("REJOIN_LOG_FORMAT".to_owned(), "json".to_owned());
    pod.env.insert("REJOIN_LOG".to_owned(), "trace".to_owned());
    // The server's own lines go to a file of its own.
    pod.conf.push("logfile server.log".to_owned());
    pod.start();
    wait_ready(&fleet);
    assert!(fleet.pods[0].stop().success());
    let log = fleet.pods[0].log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    assert!(lines.len() > 3, "{log}");
    for line in &lines {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(line.get(key).is_some_and(serde_json::Value::is_string), "{key} in {line}");
        }
    }
}
