//! Configurations made at random from words that are hard to read.

use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::case::{Case, LIMIT};
use super::fields::{fields, server_fields};
use crate::support::wait::wait_ok;

/// Words as they may stand in a file: plain, quoted in either way, glued, torn.
const WORDS: &[&str] = &[
    "0",
    "00",
    "7",
    "-1",
    "+5",
    "5000",
    "70000",
    "yes",
    "NO",
    "\"\"",
    "''",
    "a",
    "\"a b\"",
    "'it\\'s'",
    "\"\\x41\\n\"",
    "a\"b\"",
    "\"a\"b",
    "\"open",
    "#",
    "a/b",
    "{ip}",
    "one",
    "{dir}/one",
    "..",
    "now",
    "force",
    "default",
    "save",
    "nosave",
    "*.conf",
    "one/i.conf",
    "60",
    "60 1",
    "\"60 1\"",
    "\" \"",
    "optional",
    "--port",
    "--save",
    "--dir one",
    "x\nport 0",
    "\\",
];

/// Options that are ours, and whose values are judged when they are read and not later.
const NAMES: &[&str] = &[
    "PORT",
    "appenddirname",
    "appendfilename",
    "bind-source-addr",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-config-file",
    "cluster-node-timeout",
    "cluster-port",
    "dir",
    "include",
    "masterauth",
    "masteruser",
    "port",
    "protected-mode",
    "requirepass",
    "save",
    "shutdown-on-sigterm",
    "shutdown-timeout",
    "slave-serve-stale-data",
    "tls-auth-clients",
    "tls-ca-cert-file",
];

/// Up to three options, each with up to two words.
fn options() -> impl Strategy<Value = Vec<(&'static str, Vec<&'static str>)>> {
    let words = prop::collection::vec(prop::sample::select(WORDS), 0..3);
    prop::collection::vec((prop::sample::select(NAMES), words), 0..4)
}

/// Both agree on every value, or the server refuses and we have noted something.
fn agree_or_refuse(case: &mut Case) -> Result<(), TestCaseError> {
    let read = case.read();
    case.start();
    let socket = case.root().join("s");
    let refused = wait_ok(LIMIT, "the server to exit or listen", || {
        let exited = case.has_ended().is_some();
        let listens = UnixStream::connect(&socket).is_ok();
        if exited || listens { Ok(exited) } else { Err(case.log()) }
    });
    match read {
        Ok(config) if config.notes.is_empty() => {
            prop_assert!(!refused, "refused:\n{}", case.log());
            let live = case.ask(&config);
            let ours = fields(&config);
            prop_assert_eq!(&ours, &server_fields(&ours, &live));
        }
        other => prop_assert!(refused, "taken, but for us it is {other:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn random_configuration_is_read_as_the_server_reads_it(
        lines in options(),
        args in options(),
    ) {
        let lines = lines.iter().map(|(name, words)| format!("{name} {}\n", words.join(" ")));
        let text = "port 0\nbind {ip}\nunixsocket {dir}/s\n".to_owned() + &lines.collect::<String>();
        let included = "save 3 3\nport 0\ninclude *.none\nsave 4 4";
        let files = [("r.conf", &*text), ("one/i.conf", included), ("one/one/x.conf", "")];
        let args = args.iter().flat_map(|(name, words)| {
            std::iter::once(format!("--{name}")).chain(words.iter().map(ToString::to_string))
        });
        let args: Vec<_> = std::iter::once("r.conf".to_owned()).chain(args).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        agree_or_refuse(&mut Case::new(&files, &args))?;
    }
}
