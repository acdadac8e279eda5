//! Whether a command line starts a Redis or Valkey server, and what it configures.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::tokens;

/// The variable whose words the entrypoint of the official Valkey image adds to the command line.
pub const EXTRA_FLAGS: &str = "VALKEY_EXTRA_FLAGS";

/// The configuration part of a server's command line.
#[derive(Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The configuration file, as written. `None`: defaults and options only.
    pub file: Option<OsString>,
    /// Whether a `-` asks for more configuration on standard input.
    pub stdin: bool,
    /// The options as the text that the server makes of them and reads after the file.
    pub options: Vec<u8>,
}

/// Without the options, which may hold passwords.
impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invocation { file, stdin, options: _ } = self;
        f.debug_struct("Invocation")
            .field("file", file)
            .field("stdin", stdin)
            .finish_non_exhaustive()
    }
}

/// Reads a command line: `None` where it starts no server that is to be looked after.
///
/// Known are `redis-server` and `valkey-server` under any path, and the `docker-entrypoint.sh` of
/// the official images in front of them, which supplies the name where the first argument starts
/// with `-` or ends in `.conf`. Sentinels are no servers, nor are runs that print or test something
/// and exit. `extra` is the value of [`EXTRA_FLAGS`].
pub fn read(command: &[OsString], extra: Option<&OsStr>) -> Option<Invocation> {
    let (program, args) = command.split_first()?;
    let skipped = skipped(program, args)?;
    let mut args = args[skipped..].to_vec();
    if !is_server(program) {
        // An unquoted expansion in a shell: words, and no quotes.
        let words = extra.unwrap_or_default().as_bytes().split(|byte| b" \t\n".contains(byte));
        let words = words.filter(|word| !word.is_empty());
        args.extend(words.map(|word| OsStr::from_bytes(word).to_owned()));
    }
    of_server(&args)
}

/// The command with one more option, in front of the user's own, which therefore win. A command
/// that starts no server stays as it is.
pub fn with_option(command: &[OsString], name: &str, value: &str) -> Vec<OsString> {
    let mut command = command.to_vec();
    if let Some((program, args)) = command.split_first()
        && let Some(skipped) = skipped(program, args)
    {
        let is_file = |arg: &OsString| !arg.as_bytes().starts_with(b"-");
        let file = usize::from(args.get(skipped).is_some_and(is_file));
        let at = 1 + skipped + file;
        command.splice(at..at, [format!("--{name}").into(), value.into()]);
    }
    command
}

/// How many arguments come before those of the server. `None`: no server.
fn skipped(program: &OsStr, args: &[OsString]) -> Option<usize> {
    if is_server(program) {
        return Some(0);
    }
    if base_name(program) != b"docker-entrypoint.sh" {
        return None;
    }
    let first = args.first()?;
    let bytes = first.as_bytes();
    match bytes.starts_with(b"-") || bytes.ends_with(b".conf") {
        true => Some(0),
        false => is_server(first).then_some(1),
    }
}

fn base_name(program: &OsStr) -> &[u8] {
    Path::new(program).file_name().unwrap_or_default().as_bytes()
}

fn is_server(program: &OsStr) -> bool {
    matches!(base_name(program), b"redis-server" | b"valkey-server")
}

/// `main` of `server.c`, Redis 7.0.1 and later: an option name takes at least one value, even one
/// that starts with `--`; only `--save` may stand alone.
fn of_server(args: &[OsString]) -> Option<Invocation> {
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let only_prints: &[&[u8]] =
        &[b"-v", b"--version", b"-h", b"--help", b"--test-memory", b"--check-system"];
    if args.first().is_some_and(|first| only_prints.contains(first))
        || args.contains(&b"--sentinel".as_slice())
    {
        return None;
    }
    let file = args.first().filter(|first| !first.starts_with(b"-"));
    let start = usize::from(file.is_some());
    let mut invocation = Invocation {
        file: file.map(|file| OsStr::from_bytes(file).to_owned()),
        stdin: false,
        options: Vec::new(),
    };
    let mut has_value = true;
    for (index, &arg) in args.iter().enumerate().skip(start) {
        let last = index + 1 == args.len();
        let options = &mut invocation.options;
        if arg == b"-" && (index == 0 || last) {
            invocation.stdin = true;
        } else if has_value && let Some(name) = arg.strip_prefix(b"--") {
            if !options.is_empty() {
                options.push(b'\n');
            }
            options.extend_from_slice(name);
            options.push(b' ');
            has_value = tokens::split(arg).map(|words| words.len()) != Ok(1);
            let next_is_option = args.get(index + 1).is_some_and(|next| next.starts_with(b"--"));
            if arg.eq_ignore_ascii_case(b"--save") && (last || next_is_option) {
                options.extend_from_slice(b"\"\"");
                has_value = true;
            }
        } else {
            options.extend(tokens::quote(arg));
            options.push(b' ');
            has_value = true;
        }
    }
    Some(invocation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<OsString> {
        words.iter().map(Into::into).collect()
    }

    #[track_caller]
    fn reads(words: &[&str], file: Option<&str>, options: &str) {
        let read = read(&command(words), None).expect("a server");
        assert_eq!(read.file.as_deref(), file.map(OsStr::new));
        assert_eq!(String::from_utf8_lossy(&read.options), options);
    }

    #[test]
    fn servers_are_known_under_any_path_and_behind_the_entrypoint() {
        reads(&["redis-server"], None, "");
        reads(&["/usr/local/bin/valkey-server", "/a.conf"], Some("/a.conf"), "");
        reads(&["docker-entrypoint.sh", "redis-server", "a.conf"], Some("a.conf"), "");
        reads(&["/x/docker-entrypoint.sh", "a.conf", "--port", "1"], Some("a.conf"), "port \"1\" ");
        reads(&["docker-entrypoint.sh", "--port", "1"], None, "port \"1\" ");
    }

    #[test]
    fn commands_that_are_no_server_are_left_alone() {
        for words in [
            &["sh", "-c", "redis-server"][..],
            &["redis-sentinel", "a.conf"],
            &["redis-server", "a.conf", "--sentinel"],
            &["redis-server", "--version"],
            &["redis-server", "-h"],
            &["redis-server", "--test-memory", "1"],
            &["redis-server", "--check-system"],
            &["redis-cli"],
            &["docker-entrypoint.sh"],
            &["docker-entrypoint.sh", "sh"],
            &["docker-entrypoint.sh", "redis-server", "-v"],
            &[],
        ] {
            assert_eq!(read(&command(words), None), None, "{words:?}");
        }
    }

    #[test]
    fn options_become_the_text_that_the_server_makes_of_them() {
        reads(&["redis-server", "--port", "1", "--bind", "a", "b"], None, {
            "port \"1\" \nbind \"a\" \"b\" "
        });
        reads(&["redis-server", "--port 1", "--dir", "/d"], None, "port 1 \ndir \"/d\" ");
        reads(&["redis-server", "--requirepass", "--x", "--port", "1"], None, {
            "requirepass \"--x\" \nport \"1\" "
        });
        reads(&["redis-server", "--save", "--port", "1"], None, "save \"\"\nport \"1\" ");
        reads(&["redis-server", "--SAVE"], None, "SAVE \"\"");
        reads(&["redis-server", "a.conf", "x y"], Some("a.conf"), "\"x y\" ");
    }

    #[test]
    fn added_option_stands_before_those_of_the_user() {
        for (words, expected) in [
            (&["redis-server"][..], &["redis-server", "--x", "1"][..]),
            (&["redis-server", "a"], &["redis-server", "a", "--x", "1"]),
            (&["redis-server", "--x", "2"], &["redis-server", "--x", "1", "--x", "2"]),
            (&["/docker-entrypoint.sh", "-a"], &["/docker-entrypoint.sh", "--x", "1", "-a"]),
            (
                &["docker-entrypoint.sh", "valkey-server", "a.conf", "--save"],
                &["docker-entrypoint.sh", "valkey-server", "a.conf", "--x", "1", "--save"],
            ),
            (&["docker-entrypoint.sh", "a.conf"], &["docker-entrypoint.sh", "a.conf", "--x", "1"]),
            (&["sh", "-c", "redis-server"], &["sh", "-c", "redis-server"]),
            (&[], &[]),
        ] {
            assert_eq!(with_option(&command(words), "x", "1"), command(expected));
        }
    }

    #[test]
    fn options_are_in_no_debug_output() {
        let read = read(&command(&["redis-server", "--requirepass", "hunter2"]), None);
        assert!(!format!("{read:?}").contains("hunter2"));
    }

    #[test]
    fn lone_dash_asks_for_standard_input_first_or_last_only() {
        let stdin = |words: &[&str]| read(&command(words), None).expect("a server").stdin;
        assert!(stdin(&["redis-server", "-"]));
        assert!(stdin(&["redis-server", "a.conf", "--port", "1", "-"]));
        assert!(!stdin(&["redis-server", "a.conf", "--bind", "-", "::1"]));
    }

    #[test]
    fn extra_flags_count_behind_the_entrypoint_only() {
        let extra = OsStr::new(" --port  7000\n--dir /d ");
        let behind = read(&command(&["docker-entrypoint.sh", "valkey-server"]), Some(extra));
        let expected: &[u8] = b"port \"7000\" \ndir \"/d\" ";
        assert_eq!(behind.expect("a server").options, expected);
        let bare = read(&command(&["valkey-server"]), Some(extra));
        assert_eq!(bare.expect("a server").options, b"");
    }
}
