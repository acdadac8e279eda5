//! The targets of `make fuzz`, each with input that is made of what it reads: captured, damaged,
//! put together from its words, or arbitrary. `REJOIN_FUZZ_SECONDS` has them run for longer, for
//! machines without a fuzzer.

mod entries;

use std::fs;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::manifests::own;

/// The contents of the files of a directory whose names end like this.
fn files(dir: &str, end: &str) -> Vec<Vec<u8>> {
    let listed = fs::read_dir(own(dir)).expect("the directory is there");
    let paths = listed.map(|entry| entry.expect("it can be listed").path());
    let mut paths: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{dir} has no {end}");
    paths.iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

/// One of `seeds`, with some of its bytes changed, cut out or doubled.
fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..6);
    (prop::sample::select(seeds), edits).prop_map(|(mut bytes, edits)| {
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len() + 1).min(bytes.len().saturating_sub(1));
            match edit {
                _ if bytes.is_empty() => bytes.push(byte),
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

/// Checks an entry for a few hundred inputs, or for as long as was asked for.
#[track_caller]
fn holds(entry: fn(&[u8]), seeds: Vec<Vec<u8>>, words: &'static [&'static str]) {
    seeds.iter().for_each(|seed| entry(seed));
    let glued = prop::collection::vec(prop::sample::select(words), 0..20);
    let input = prop_oneof![
        damaged(seeds),
        glued.prop_map(|words| words.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..400),
    ];
    let seconds = std::env::var("REJOIN_FUZZ_SECONDS").unwrap_or_default().parse().unwrap_or(0);
    let (start, limit) = (Instant::now(), Duration::from_secs(seconds));
    let mut runs = 0;
    loop {
        let config =
            ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() };
        runs += config.cases;
        let result = TestRunner::new(config).run(&input, |bytes| {
            entry(&bytes);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
        if start.elapsed() >= limit {
            break;
        }
    }
    println!("{runs} inputs in {:.1?}", start.elapsed());
}

#[test]
fn any_nodes_conf_is_refused_or_rewritten_in_the_own_ip() {
    let words = &[
        "07c37dfeb235213a872192d90877d0cd55635b91",
        "1",
        "-",
        ":",
        ".",
        "@",
        ",",
        " ",
        "\n",
        "\r\n",
        "myself",
        "master",
        "slave",
        "fail?",
        "noaddr",
        "connected",
        "0-16383",
        "[5-<-",
        "vars ",
        "currentEpoch ",
        "shard-id=",
        "\0",
    ];
    holds(entries::nodes_conf, files("tests/fixtures/nodes_conf", ".conf"), words);
}

#[test]
fn any_cluster_nodes_is_refused_or_whole() {
    let words = &[
        "07c37dfeb235213a872192d90877d0cd55635b91",
        " 10.0.0.1:6379@16379",
        ":0@0",
        "myself,",
        "master",
        "slave",
        "fail,",
        "handshake,",
        "noaddr,",
        " - ",
        " 0 0 1 ",
        "connected",
        " 0-5460",
        " 7",
        " [5->-",
        "\n",
        ",redis-0",
        "\u{fffd}",
    ];
    holds(entries::cluster_nodes, files("tests/fixtures/nodes_conf", ".reply"), words);
}

#[test]
fn any_info_is_read_line_by_line() {
    let words = &[
        "role:",
        "slave",
        "master",
        "master_link_status:",
        "up",
        "master_host:",
        "10.0.0.1",
        "fd00::1",
        "master_port:",
        "6379",
        "-1",
        "99999999999999999999",
        "db0:",
        "keys=",
        ",",
        "master_replid:",
        "slave_repl_offset:",
        "redis_version:",
        "valkey_version:",
        "\r\n",
        "\n",
        "\r",
        ":",
        "master_link_down_since_seconds:",
        "cluster_state:ok",
    ];
    holds(entries::info, files("tests/fixtures/info", ".reply"), words);
}

#[test]
fn any_redis_conf_is_read_the_same_each_time() {
    let words = &[
        "include ",
        "0",
        "1",
        "*",
        "dir ",
        "none",
        "port ",
        "save ",
        "60 ",
        "\"",
        "'",
        "\\x",
        "\\",
        "\n",
        " ",
        "#",
        "rename-command ",
        "user ",
        "requirepass ",
        "bind ",
        "tls-port ",
        "-",
        "cluster-config-file ",
        "cluster-node-timeout ",
        "shutdown-on-sigterm ",
        "now ",
        "99999999999",
        "\u{ff}",
        "\0",
        "loadmodule ",
        "yes",
    ];
    let mut seeds = files("k8s/base", ".conf");
    seeds.extend(files("k8s/overlays/cache", ".conf"));
    seeds.extend(files("k8s/components/tls", ".conf"));
    // One that includes the others.
    let others = seeds.join(&0xff);
    seeds.push([b"include 1\ninclude *\ndir /a\nsave \"\"\n\xff", &others[..]].concat());
    holds(entries::redis_conf, seeds, words);
}

#[test]
fn any_dns_answer_is_an_address_a_failure_or_none() {
    let words = &["redis", ".", "svc", "cluster.local", "\n", "\u{e4}", "*", "_", "-", " "];
    let name = |text: &str| Name::from_ascii(text).expect("a name");
    let answered = |code, records: Vec<RData>| {
        let mut message = Message::response(7, hickory_proto::op::OpCode::Query);
        message.metadata.response_code = code;
        message.add_query(Query::query(name("redis.svc."), RecordType::A));
        for data in records {
            message.add_answer(Record::from_rdata(name("redis.svc."), 5, data));
        }
        message.to_vec().expect("it can be written")
    };
    let address = || RData::A(A::new(10, 0, 0, 1));
    let seeds = vec![
        answered(ResponseCode::NoError, vec![address(); 6]),
        answered(ResponseCode::NoError, vec![]),
        answered(ResponseCode::NoError, vec![RData::CNAME(CNAME(name("other.svc."))), address()]),
        answered(ResponseCode::NXDomain, vec![]),
        answered(ResponseCode::NXDomain, vec![address()]),
        answered(ResponseCode::ServFail, vec![]),
        answered(ResponseCode::Refused, vec![]),
    ];
    holds(entries::dns_answer, seeds, words);
}

#[test]
fn any_http_request_has_one_answer_at_most_and_an_end() {
    let words = &[
        "GET ",
        "HEAD ",
        "POST ",
        "/livez",
        "/status.txt",
        "?color",
        "0",
        "65536",
        "&color",
        "/../",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\n",
        "\r\n\r\n",
        "Host: x",
        "Content-Length: ",
        "1",
        "-1",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Connection: keep-alive",
        "Upgrade: h2c",
        "\0",
        ": ",
        "%00",
        "http://x",
    ];
    let seeds = [
        "GET /livez HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nUser-Agent: kube-probe/1.33\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /status.txt?color HTTP/1.0\r\n\r\n",
        "POST /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    let seeds = seeds.map(|text| text.as_bytes().to_vec()).into();
    holds(entries::http_request, seeds, words);
}
