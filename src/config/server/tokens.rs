//! Words of a configuration line, split and quoted as the server does it (`sdssplitargs` and
//! `sdscatrepr` in `sds.c`; the same from Redis 3 to 8 and in Valkey).

/// A quote was opened and not closed, or closed in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// Splits a line into words. Double quotes know `\n \r \t \b \a \xHH` and take any other
/// character after `\` as it is; single quotes know `\'` only. A NUL ends the line.
///
/// # Errors
/// [`Unbalanced`] where a quote is not closed or not followed by a blank.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let end = line.iter().position(|&byte| byte == 0).unwrap_or(line.len());
    let mut rest = &line[..end];
    let mut words = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(words);
        }
        let mut word = Vec::new();
        rest = take_word(rest, &mut word)?;
        words.push(word);
    }
}

/// Quotes bytes so that [`split`] gives them back as one word.
pub fn quote(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(bytes.len() + 2);
    quoted.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => quoted.extend([b'\\', byte]),
            b'\n' => quoted.extend(b"\\n"),
            b'\r' => quoted.extend(b"\\r"),
            b'\t' => quoted.extend(b"\\t"),
            0x07 => quoted.extend(b"\\a"),
            0x08 => quoted.extend(b"\\b"),
            b' '..=b'~' => quoted.push(byte),
            _ => quoted.extend(format!("\\x{byte:02x}").into_bytes()),
        }
    }
    quoted.push(b'"');
    quoted
}

/// C's `isspace`, which has the vertical tab beside what Rust calls ASCII white space.
pub fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Reads one word, which does not start with a blank, and returns what follows it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [b'"', tail @ ..] => return after_quote(take_double(tail, word)?),
            [b'\'', tail @ ..] => return after_quote(take_single(tail, word)?),
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// A word ends with its closing quote, so a blank must follow.
fn after_quote(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest {
        [byte, ..] if !is_space(*byte) => Err(Unbalanced),
        _ => Ok(rest),
    }
}

fn take_double<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, tail @ ..]
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) =>
            {
                word.push(high << 4 | low);
                tail
            }
            [b'\\', byte, tail @ ..] => {
                word.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                tail
            }
            [b'"', tail @ ..] => return Ok(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
            [] => return Err(Unbalanced),
        };
    }
}

fn take_single<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [b'\'', tail @ ..] => return Ok(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
            [] => return Err(Unbalanced),
        };
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn splits(line: &str, words: &[&str]) {
        let expected: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(split(line.as_bytes()), Ok(expected), "{line:?}");
    }

    #[test]
    fn blanks_of_every_kind_separate_words() {
        splits("", &[]);
        splits(" \t\r\n\u{b}\u{c}", &[]);
        splits("port 7000", &["port", "7000"]);
        splits("  save  900\t1 ", &["save", "900", "1"]);
        splits("a\u{b}b c", &["a\u{b}b", "c"]);
        splits("port 7000 # no comment", &["port", "7000", "#", "no", "comment"]);
    }

    #[test]
    fn quotes_join_and_escape_as_the_server_does() {
        splits(r#"requirepass "two words""#, &["requirepass", "two words"]);
        splits(r#"a "\x41\n\q\"\\" 'it\'s \n'"#, &["a", "A\nq\"\\", r"it's \n"]);
        splits(r#"save """#, &["save", ""]);
        splits(r#"save ''"#, &["save", ""]);
        splits(r#"pre"fix" b"#, &["prefix", "b"]);
        splits(r#""\xZZ" "\x4""#, &["xZZ", "x4"]);
        splits("a\0b", &["a"]);
    }

    #[test]
    fn quote_left_open_or_glued_is_unbalanced() {
        for line in [r#"a ""#, r#"a "b"c"#, "a 'b'c", "a 'b", r#""\"#, "\"\0\""] {
            assert_eq!(split(line.as_bytes()), Err(Unbalanced), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn quoted_bytes_come_back(words in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let line = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(&b' ');
            prop_assert_eq!(split(&line), Ok(words));
        }

        #[test]
        fn arbitrary_bytes_never_panic(line in any::<Vec<u8>>()) {
            let _ = split(&line);
        }

        #[test]
        fn arbitrary_quotes_never_panic(line in r#"["' \\xnA0]{0,40}"#) {
            let _ = split(line.as_bytes());
        }
    }
}
