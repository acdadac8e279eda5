//! Whole files and whole replies.

use std::borrow::Cow;
use std::net::IpAddr;

use super::error::{Doubt, ParseError};
use super::line::{View, is_blank};
use super::model::{Node, NodesConf};
use super::scan::{Reading, at_line, closes_with_vars, lines};

/// Reads a `nodes.conf` of any version. Blank lines, trailing NULs, carriage returns, a `vars` line
/// at any place or none, and variables that nobody knows yet are accepted, as servers accept them.
///
/// # Errors
/// The first line that was not understood, or a missing or second `myself`.
pub fn parse(file: &[u8]) -> Result<NodesConf, ParseError> {
    Reading::of(file).map(|reading| reading.to_nodes_conf())
}

/// Reads the reply to `CLUSTER NODES`: lines as in the file, without `vars`, with nodes in
/// handshake. Flags of later versions are passed over.
///
/// # Errors
/// The first line that was not understood.
pub fn parse_reply(reply: impl AsRef<[u8]>) -> Result<Vec<Node>, ParseError> {
    lines(reply.as_ref())
        .map(|line| match View::of_reply(line.text) {
            Ok(view) => Ok(view.to_node()),
            Err(error) => Err(at_line(line.number, error)),
        })
        .collect()
}

/// The file with `ip` as the own node's address, and every other byte as it was: the bytes given
/// where the address is right already (also where it is spelled in another way).
///
/// Two things more are put right. Another node that has this address, and the own bus port, gets
/// [`NOWHERE`](super::NOWHERE) instead: it cannot be there. And a replica whose shard id is not its
/// master's gets its master's, as the latest servers do when they load the file: servers leave such
/// files, and then many of them refuse to start.
///
/// # Errors
/// As [`parse`]: what was not understood in all its lines is not rewritten.
pub fn with_own_ip(file: &[u8], ip: IpAddr) -> Result<Cow<'_, [u8]>, ParseError> {
    Ok(match Reading::of(file)?.corrected(ip) {
        None => Cow::Borrowed(file),
        Some(corrected) => Cow::Owned(corrected.parts.concat()),
    })
}

/// What became of a file, judged by its bytes.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// Not one byte: servers take it for a first boot and make up a new id.
    ZeroLength,
    /// Line ends and NULs only, as a power cut may leave. Servers refuse to start on it.
    Padding,
    /// Cut short or mixed up: servers refuse to start on it.
    Torn(ParseError),
    /// Complete to its last line, yet a word of it is unknown: written by a newer server, or
    /// damaged.
    Strange(ParseError),
    /// A server loads it, but none leaves it so.
    Doubtful(Reading<'a>, Doubt),
    /// As a server left it.
    Whole(Reading<'a>),
}

/// Judges the bytes of a `nodes.conf`.
pub fn assess(file: &[u8]) -> Verdict<'_> {
    if file.is_empty() {
        return Verdict::ZeroLength;
    }
    if file.iter().all(|byte| *byte == 0 || is_blank(*byte)) {
        return Verdict::Padding;
    }
    match Reading::of(file) {
        Ok(reading) => match reading.doubt() {
            Some(doubt) => Verdict::Doubtful(reading, doubt),
            None => Verdict::Whole(reading),
        },
        Err(error) if error.is_unknown_word() && closes_with_vars(file) => Verdict::Strange(error),
        Err(error) => Verdict::Torn(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_line;
    use super::*;

    const OWN: &str = "07c37dfeb235213a872192d90877d0cd55635b91 10.0.0.1:7000@17000 \
                       myself,master - 0 0 4 connected 0-5460\n";
    const PEER: &str = "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 10.0.0.2:7000@17000 \
                        master - 0 5 2 connected 5461-16383\n";
    const VARS: &str = "vars currentEpoch 6 lastVoteEpoch 3\n";

    #[track_caller]
    fn refused(parts: &[&str], expected: &str) {
        let error = parse(parts.concat().as_bytes()).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn whole_files_may_be_padded_and_have_any_order_and_line_ends() {
        let windows = [OWN, PEER, VARS].concat().replace('\n', "\r\n");
        let table: [&[&str]; 6] = [
            &[OWN, VARS],
            &[VARS, PEER, OWN],
            &["\n", OWN, "\n \n", PEER, VARS, "\n\n\n"],
            &[OWN, VARS, "\0\0\0\0"],
            &[OWN, "vars currentEpoch 6 moonPhase full lastVoteEpoch 3\n"],
            &[&windows],
        ];
        for parts in table {
            let file = parts.concat();
            let Verdict::Whole(reading) = assess(file.as_bytes()) else { panic!("{parts:?}") };
            let conf = reading.to_nodes_conf();
            assert_eq!((conf.current_epoch, conf.last_vote_epoch), (6, 3), "{parts:?}");
            assert!(conf.myself().flags.myself, "{parts:?}");
        }
    }

    #[test]
    fn files_that_load_but_that_no_server_leaves_are_doubtful() {
        let id = parse_line(PEER.as_bytes()).expect("a node").id;
        let table: [(&[&str], Doubt); 5] = [
            (&[OWN], Doubt::NoVars),
            (&[OWN, "vars currentEpoch 6\n"], Doubt::NoVars),
            (&[OWN, VARS.trim_end()], Doubt::NoNewline),
            (&[VARS, OWN.trim_end(), "\0\0"], Doubt::NoNewline),
            (&[PEER, OWN, PEER, VARS], Doubt::Duplicate { id }),
        ];
        for (parts, expected) in table {
            let file = parts.concat();
            let Verdict::Doubtful(_, doubt) = assess(file.as_bytes()) else {
                panic!("{parts:?}");
            };
            assert_eq!(doubt, expected, "{parts:?}");
        }
    }

    #[test]
    fn unknown_word_is_strange_in_a_complete_file_and_a_tear_in_another() {
        let strange = PEER.replace("master", "witness");
        let zeroed = PEER.replace("master", "ma\0\0er");
        let complete = [OWN, &strange, VARS].concat();
        assert!(matches!(assess(complete.as_bytes()), Verdict::Strange(_)));
        for file in [[OWN, &strange].concat(), [OWN, &zeroed, VARS].concat()] {
            assert!(matches!(assess(file.as_bytes()), Verdict::Torn(_)), "{file}");
        }
    }

    #[test]
    fn errors_name_line_and_column() {
        refused(&[PEER, VARS], "line 2, column 1: the file ends and no line has the flag myself");
        refused(
            &[OWN, PEER, OWN],
            "line 3, column 62: a second line has the flag myself, after line 1",
        );
        refused(
            &[OWN, "vars currentEpoch 6 lastVoteEpoch\n"],
            "line 2, column 21: the vars line has a name without a value",
        );
        refused(
            &[OWN, "vars currentEpoch six\n"],
            "line 2, column 19: \"six\" is not a whole number",
        );
        refused(
            &["# by hand\n", OWN],
            "line 1, column 10: the line has 3 fields, and a node has 8 at least",
        );
    }

    #[test]
    fn address_spelled_another_way_is_right_already() {
        let file = OWN.replace("10.0.0.1", "fd00:0:0::1");
        let same = with_own_ip(file.as_bytes(), "fd00::1".parse().expect("an address"));
        assert!(matches!(same, Ok(Cow::Borrowed(_))));
    }

    /// The own node, a master, and its replica, in the shards of these digits.
    fn shards(master: &str, replica: &str) -> [String; 2] {
        let in_shard = |line: &str, digit: &str| {
            let address = format!("000,,tls-port=0,shard-id={},x=y ", digit.repeat(40));
            line.replacen("000 ", &address, 1)
        };
        let replica = in_shard(PEER, replica)
            .replacen("master -", &format!("slave {}", &OWN[..40]), 1)
            .replace(" 5461-16383", "");
        [in_shard(OWN, master), replica]
    }

    #[test]
    fn replica_is_put_into_the_shard_of_its_master() {
        let ([own, stray], [_, right]) = (shards("a", "b"), shards("a", "a"));
        for (file, expected) in [
            ([own.as_str(), &stray, VARS], [own.as_str(), &right, VARS]),
            ([&stray, VARS, &own], [&right, VARS, &own]),
        ] {
            let (file, expected) = (file.concat(), expected.concat());
            for ip in ["10.0.0.1", "fd00::1"] {
                let new = with_own_ip(file.as_bytes(), ip.parse().expect("an address"));
                let new = String::from_utf8(new.expect("whole").into_owned()).expect("text");
                assert_eq!(new, expected.replace("10.0.0.1", ip));
            }
        }
    }

    #[test]
    fn shard_ids_are_left_alone_where_they_are_right_or_nothing_to_go_by() {
        let ([own, right], [_, stray]) = (shards("a", "a"), shards("a", "b"));
        let nobody = stray.replace(&OWN[..40], &"c".repeat(40));
        let no_id = own.replace(&"a".repeat(40), "a");
        for parts in [[&own, &right], [&own, &nobody], [&OWN.to_owned(), &stray], [&no_id, &stray]]
        {
            let file = [parts[0], parts[1], VARS].concat();
            let same = with_own_ip(file.as_bytes(), "10.0.0.1".parse().expect("an address"));
            assert!(matches!(same, Ok(Cow::Borrowed(_))), "{file}");
        }
    }

    #[test]
    fn empty_ip_and_host_name_are_replaced() {
        for before in ["", "pod-0.redis.svc", "fd00:1::2"] {
            let file = [PEER, &OWN.replace("10.0.0.1", before), VARS].concat();
            let new = with_own_ip(file.as_bytes(), "10.0.0.1".parse().expect("an address"));
            assert_eq!(new.expect("whole").as_ref(), [PEER, OWN, VARS].concat().as_bytes());
        }
    }

    #[test]
    fn files_that_differ_in_times_and_own_ip_say_the_same() {
        let moved = OWN.replace("10.0.0.1", "10.0.0.9");
        let later = PEER.replace("0 5 2 connected", "7 6 2 disconnected");
        let elsewhere = PEER.replace("10.0.0.2", "10.0.0.3");
        let [one, same, other] =
            [[OWN, PEER, VARS], [&later, &moved, VARS], [OWN, &elsewhere, VARS]]
                .map(|f| f.concat());
        let [one, same, other] =
            [&one, &same, &other].map(|file| Reading::of(file.as_bytes()).expect("whole"));
        assert!(one.says_the_same_as(&same) && same.says_the_same_as(&one));
        assert!(!one.says_the_same_as(&other));
    }
}
