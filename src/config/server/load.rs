//! Reads the files and options in the server's order: the file, what it includes at the place
//! where it does, then the options (`loadServerConfig` in `config.c`).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::files::Files;
use super::invocation::Invocation;
use super::options::Options;
use super::{Note, ServerConfig, tokens};

/// Deeper includes are taken for a circle, in which the server would end too.
const DEPTH_MAX: usize = 64;

/// Why it cannot be known how the server will be configured, and so where `nodes.conf` is.
#[derive(Debug, thiserror::Error)]
pub enum ServerConfigError {
    /// A configuration file cannot be read.
    #[error(
        "cannot read the configuration file {path:?} ({at}), so the place of nodes.conf is unknown: \
         check that it is there and readable by this user"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Where it is named.
        at: String,
        /// What the system says.
        source: io::Error,
    },
    /// The directory of `dir` cannot be entered.
    #[error(
        "cannot enter the directory {dir:?} ({at}), so the place of nodes.conf is unknown: \
         check that the volume is mounted and usable by this user"
    )]
    Dir {
        /// The directory.
        dir: PathBuf,
        /// The file and line of the option.
        at: String,
        /// What the system says.
        source: io::Error,
    },
    /// Files include each other.
    #[error("more than {DEPTH_MAX} includes inside each other at {at}: remove the circle")]
    Circle {
        /// The file and line of the last one.
        at: String,
    },
    /// The server would read its configuration from standard input, which is read once only.
    #[error(
        "the configuration on standard input (-) cannot be read before the server does: \
         put it into a file"
    )]
    Stdin,
}

/// Reads the whole configuration of a server that is started in `cwd`.
///
/// # Errors
/// Where the place of `nodes.conf` cannot be known. All else that the server would refuse becomes
/// a note, and the server is left to say so itself.
pub fn load(
    invocation: &Invocation,
    cwd: &Path,
    files: &impl Files,
) -> Result<ServerConfig, ServerConfigError> {
    if invocation.stdin {
        return Err(ServerConfigError::Stdin);
    }
    let mut loader = Loader { files, cwd: cwd.to_owned(), options: Options::new(), depth: 0 };
    let mut text = match &invocation.file {
        None => Text::default(),
        Some(file) => {
            // The server makes the path absolute first, and trims it as it does so.
            let file = trim(file.as_bytes());
            loader.open(OsStr::from_bytes(file), "command line")?
        }
    };
    text.push("command line".to_owned(), &[b"\n", &invocation.options[..]].concat());
    loader.text(&text)?;
    Ok(loader.options.finish(loader.cwd))
}

/// Files one behind the other, as the server joins them before it splits them into lines.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    /// Where in `bytes` each file starts, and its name.
    sources: Vec<(usize, String)>,
}

impl Text {
    fn push(&mut self, name: String, bytes: &[u8]) {
        self.sources.push((self.bytes.len(), name));
        self.bytes.extend_from_slice(bytes);
    }

    /// The file and line of the byte at `offset`.
    fn at(&self, offset: usize) -> String {
        let source = self.sources.iter().rev().find(|(start, _)| *start <= offset);
        match source {
            Some((_, name)) if name == "command line" => name.clone(),
            Some((start, name)) => {
                let lines = self.bytes[*start..offset].iter().filter(|&&byte| byte == b'\n');
                format!("{name}:{}", lines.count() + 1)
            }
            None => String::new(),
        }
    }
}

struct Loader<'a, F> {
    files: &'a F,
    /// The server's working directory, which `dir` changes as soon as it is read.
    cwd: PathBuf,
    options: Options,
    depth: usize,
}

impl<F: Files> Loader<'_, F> {
    fn open(&self, name: &OsStr, at: &str) -> Result<Text, ServerConfigError> {
        let mut text = Text::default();
        let paths = match name.as_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            true => self.files.glob(&self.cwd, &name.to_string_lossy()),
            false => vec![self.cwd.join(name)],
        };
        for path in paths {
            match self.files.read(&path) {
                Ok(bytes) => text.push(path.display().to_string(), &bytes),
                Err(source) => {
                    return Err(ServerConfigError::Read { path, at: at.to_owned(), source });
                }
            }
        }
        Ok(text)
    }

    fn text(&mut self, text: &Text) -> Result<(), ServerConfigError> {
        self.options.enter_file();
        let mut offset = 0;
        for line in text.bytes.split(|&byte| byte == b'\n') {
            self.line(trim(line), &|| text.at(offset))?;
            offset += line.len() + 1;
        }
        self.options.leave_file();
        Ok(())
    }

    fn line(&mut self, line: &[u8], at: &dyn Fn() -> String) -> Result<(), ServerConfigError> {
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(());
        }
        let Ok(words) = tokens::split(line) else {
            let what = "unbalanced quotes".to_owned();
            self.options.note(Note { at: at(), what });
            return Ok(());
        };
        let Some((name, values)) = words.split_first() else { return Ok(()) };
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        match (&*name, values) {
            ("include", [file]) => self.include(OsStr::from_bytes(file), &at()),
            ("dir", [dir]) => self.enter(Path::new(OsStr::from_bytes(dir)), at),
            _ => {
                match self.options.set(&name, values) {
                    Ok(()) => self.options.was_at(&name, at),
                    Err(why) => {
                        self.options.note(Note { at: at(), what: format!("{name}: {why}") });
                    }
                }
                Ok(())
            }
        }
    }

    fn include(&mut self, file: &OsStr, at: &str) -> Result<(), ServerConfigError> {
        if self.depth == DEPTH_MAX {
            return Err(ServerConfigError::Circle { at: at.to_owned() });
        }
        if file.is_empty() {
            let source = io::ErrorKind::NotFound.into();
            return Err(ServerConfigError::Read {
                path: PathBuf::new(),
                at: at.to_owned(),
                source,
            });
        }
        let text = self.open(file, at)?;
        self.depth += 1;
        self.text(&text)?;
        self.depth -= 1;
        Ok(())
    }

    fn enter(&mut self, dir: &Path, at: &dyn Fn() -> String) -> Result<(), ServerConfigError> {
        let path = self.cwd.join(dir);
        let entered = match dir.as_os_str().is_empty() {
            // `chdir` refuses an empty name, where joining it would stay.
            true => Err(io::ErrorKind::NotFound.into()),
            false => self.files.enter(&path),
        };
        self.cwd =
            entered.map_err(|source| ServerConfigError::Dir { dir: path, at: at(), source })?;
        Ok(())
    }
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..]
    | [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = line
    {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use proptest::prelude::*;

    use super::*;
    use crate::config::server::files::fake::Fake;
    use crate::config::server::{AuthClients, SavePoint};

    fn read(command: &str, files: &[(&str, &str)]) -> Result<ServerConfig, ServerConfigError> {
        let command: Vec<OsString> = command.split_whitespace().map(Into::into).collect();
        let config = ServerConfig::read(&command, None, Path::new("/cwd"), &Fake::new(files));
        config.map(|config| config.expect("a server"))
    }

    /// The configuration of one file of this text.
    #[track_caller]
    fn of_file(text: &str) -> ServerConfig {
        let files = [("/cwd/r.conf", text), ("/data/x", ""), ("/data/sub/x", "")];
        read("redis-server r.conf", &files).expect("a configuration")
    }

    fn notes(config: &ServerConfig) -> Vec<String> {
        config.notes.iter().map(|note| format!("{}: {}", note.at, note.what)).collect()
    }

    fn save(points: &[(u64, u64)]) -> Vec<SavePoint> {
        points.iter().map(|&(seconds, changes)| SavePoint { seconds, changes }).collect()
    }

    #[test]
    fn server_without_options_has_the_defaults_of_its_directory() {
        let config = read("redis-server", &[]).expect("a configuration");
        assert_eq!(config, ServerConfig::defaults(Path::new("/cwd")));
        assert_eq!(config.nodes_conf, Path::new("/cwd/nodes.conf"));
    }

    #[test]
    fn files_are_relative_to_the_last_directory() {
        let config = of_file("cluster-config-file n.conf\ntls-cert-file c\ndir /data\ndir sub\n");
        assert_eq!(config.dir, Path::new("/data/sub"));
        assert_eq!(config.nodes_conf, Path::new("/data/sub/n.conf"));
        assert_eq!(config.tls.cert_file.as_deref(), Some(Path::new("/data/sub/c")));
        let config = of_file("dir /data\ncluster-config-file /conf/n\n");
        assert_eq!(config.nodes_conf, Path::new("/conf/n"));
    }

    #[test]
    fn last_value_wins_and_the_command_line_comes_last() {
        let files = [("/cwd/r.conf", "port 1\nPORT 2\r\n\t# port 3\n\n  port  4")];
        assert_eq!(read("redis-server r.conf", &files).expect("read").port, 4);
        assert_eq!(read("redis-server r.conf --port 5", &files).expect("read").port, 5);
    }

    #[test]
    fn include_is_read_in_its_place_and_relative_to_the_directory_of_the_moment() {
        let files = [
            ("/cwd/r.conf", "port 1\ninclude a.conf\ndir /data\ninclude b.conf\ntls-port 3"),
            ("/cwd/a.conf", "port 2\ncluster-port 2\ntls-port 2\n"),
            ("/data/b.conf", "cluster-port 3\n"),
        ];
        let config = read("redis-server r.conf", &files).expect("a configuration");
        assert_eq!((config.port, config.cluster_port, config.tls_port), (2, 3, 3));
        let config = read("redis-server --include a.conf", &files).expect("a configuration");
        assert_eq!(config.port, 2);
    }

    #[test]
    fn include_pattern_takes_files_in_order_and_none_is_no_error() {
        let files = [
            ("/cwd/r.conf", "include conf.d/*.conf\ninclude none/*\n"),
            ("/cwd/conf.d/2.conf", "port 2\n"),
            ("/cwd/conf.d/1.conf", "port 1\ncluster-enabled YES\n"),
        ];
        let config = read("redis-server r.conf", &files).expect("a configuration");
        assert_eq!((config.port, config.cluster_enabled), (2, true));
    }

    #[test]
    fn included_files_of_one_pattern_are_joined_without_a_line_end() {
        let files = [
            ("/cwd/r.conf", "include *.inc"),
            ("/cwd/1.inc", "tls-port 1\nport 7"),
            ("/cwd/2.inc", "0\ntls-port x\n"),
        ];
        let config = read("redis-server r.conf", &files).expect("a configuration");
        assert_eq!((config.port, config.tls_port), (70, 1));
        let expected = ["/cwd/2.inc:2: tls-port: not a port from 0 to 65535"];
        assert_eq!(notes(&config), expected);
    }

    #[test]
    fn save_lines_add_up_until_an_empty_one() {
        let saves = |text| of_file(text).persistence.save;
        assert_eq!(saves("save 900 1\nsave 60 2 30 4"), save(&[(900, 1), (60, 2), (30, 4)]));
        assert_eq!(saves("save 900 1\nsave \"\""), []);
        assert_eq!(saves("save 900 1\nsave 60"), save(&[(900, 1)]));
        assert_eq!(saves("save 0 1"), ServerConfig::defaults(Path::new("/")).persistence.save);
        let files =
            [("/cwd/r.conf", "save 9 9\ninclude i\nsave 5 5\nsave 6 6"), ("/cwd/i", "save 1 1")];
        let after_include = read("redis-server r.conf", &files).expect("a configuration");
        assert_eq!(after_include.persistence.save, save(&[(6, 6)]));
    }

    #[test]
    fn aliases_set_the_same_field() {
        let config = of_file("slave-serve-stale-data no\nprimaryauth p\nprimaryuser u");
        assert!(!config.replica_serve_stale_data);
        assert_eq!(config.masterauth.as_ref().map(|secret| secret.expose()), Some(&b"p"[..]));
        assert_eq!(config.masteruser.as_deref(), Some("u"));
    }

    #[test]
    fn renamed_commands_are_known_by_their_last_name() {
        let config =
            of_file("rename-command config C1\nrename-command c1 C2\nrename-command ROLE \"\"\n");
        assert_eq!(config.command("CONFIG"), Some("C2"));
        assert_eq!(config.command("role"), None);
        assert_eq!(config.command("PING"), Some("PING"));
    }

    #[test]
    fn value_that_the_server_refuses_is_noted_and_the_old_one_kept() {
        let config = of_file(
            "port 1\nport 01\nport 70000\nport 1 2\nport\nappendonly maybe\n\
             requirepass \"open\nrequirepass a b\ncluster-config-file \"\"\nmaxmemory x y\n\
             cluster-enabled yes\n",
        );
        assert_eq!(config.port, 1);
        assert_eq!(config.requirepass, None);
        assert_eq!(config.nodes_conf, Path::new("/cwd/nodes.conf"));
        let expected = [
            "/cwd/r.conf:2: port: not a port from 0 to 65535",
            "/cwd/r.conf:3: port: not a port from 0 to 65535",
            "/cwd/r.conf:4: port: wrong number of values",
            "/cwd/r.conf:5: port: wrong number of values",
            "/cwd/r.conf:6: appendonly: neither yes nor no",
            "/cwd/r.conf:7: unbalanced quotes",
            "/cwd/r.conf:8: requirepass: wrong number of values",
            "cluster-config-file: empty",
        ];
        assert_eq!(notes(&config), expected);
    }

    #[test]
    fn every_other_option_reaches_its_field() {
        let config = of_file(
            "bind-source-addr 10.0.0.1\nunixsocket s\nprotected-mode no\naclfile a\n\
             user alice on >x ~*\nuser bob\nuser default off ~*\n\
             cluster-node-timeout 5000\nshutdown-timeout 3\n\
             shutdown-on-sigterm NOSAVE now\ntls-auth-clients optional\ntls-cluster yes\n\
             cluster-announce-ip 1.2.3.4\ncluster-announce-port 1\ncluster-announce-bus-port 2\n\
             cluster-announce-tls-port 3\ncluster-announce-hostname h\nappendonly yes\n\
             cluster-manual-failover-timeout 7000\n\
             appendfilename f\nappenddirname d\ndbfilename r\nbind 10.0.0.1 -::1\n",
        );
        assert_eq!(config.bind_source_addr.as_deref(), Some("10.0.0.1"));
        assert_eq!(config.unixsocket.as_deref(), Some(Path::new("/cwd/s")));
        assert_eq!(config.aclfile.as_deref(), Some(Path::new("/cwd/a")));
        assert_eq!(config.users, ["alice", "bob", "default"]);
        assert!(config.default_is_restricted);
        assert_eq!(config.node_timeout.as_millis(), 5000);
        assert_eq!(config.manual_failover_timeout.as_millis(), 7000);
        assert_eq!(config.shutdown_timeout.as_secs(), 3);
        assert_eq!(config.shutdown_on_sigterm, ["nosave", "now"]);
        assert_eq!(config.tls.auth_clients, AuthClients::Optional);
        assert!(config.tls.cluster && !config.protected_mode && config.persistence.appendonly);
        let announce = &config.announce;
        assert_eq!(announce.ip.as_deref(), Some("1.2.3.4"));
        assert_eq!((announce.port, announce.bus_port, announce.tls_port), (1, 2, 3));
        assert_eq!(announce.hostname.as_deref(), Some("h"));
        assert_eq!(config.bind, ["10.0.0.1", "-::1"]);
        assert_eq!(notes(&config), [""; 0]);
    }

    #[test]
    fn what_only_clients_are_told_is_known() {
        let to_clients = |text: &str| of_file(text).announce.to_clients;
        assert!(to_clients("cluster-announce-client-ipv4 192.0.2.1\n"));
        assert!(to_clients("cluster-announce-client-ipv6 2001:db8::1\n"));
        assert!(to_clients("cluster-announce-client-port 30001\n"));
        assert!(to_clients("cluster-announce-client-tls-port 30001\n"));
        assert!(!to_clients("cluster-announce-client-ipv4 \"\"\ncluster-announce-client-port 0\n"));
        assert!(!to_clients("cluster-announce-ip 192.0.2.1\n"));
    }

    #[test]
    fn passwords_are_in_no_debug_output() {
        let config = of_file(
            "requirepass hunter2\nmasterauth hunter2\ntls-key-file-pass hunter2\n\
             tls-client-key-file-pass hunter2\nuser a >hunter2\nrequirepass hunter2 x\n",
        );
        assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
    }

    #[test]
    fn what_hides_the_place_of_nodes_conf_is_an_error_that_says_where() {
        let circle = [("/cwd/c.conf", "include c.conf\n")];
        fn error(command: &str, files: &[(&str, &str)]) -> String {
            read(command, files).expect_err("an error").to_string()
        }
        assert!(error("redis-server c.conf", &circle).contains("at /cwd/c.conf:1"));
        assert!(error("redis-server none.conf", &[]).contains("\"/cwd/none.conf\" (command line)"));
        assert!(error("redis-server -", &[]).contains("standard input"));
        let include = [("/cwd/r.conf", "\ninclude none\n")];
        assert!(error("redis-server r.conf", &include).contains("\"/cwd/none\" (/cwd/r.conf:2)"));
        for dir in ["dir /none", "dir \"\""] {
            let files = [("/cwd/r.conf", dir)];
            assert!(error("redis-server r.conf", &files).contains("(/cwd/r.conf:1)"), "{dir}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_files_never_panic(main in any::<Vec<u8>>(), part in any::<Vec<u8>>()) {
            let files = [("/cwd/r.conf", [&b"include p\n"[..], &main].concat()), ("/cwd/p", part)];
            let files = Fake(files.map(|(path, bytes)| (path.into(), bytes)).into());
            let _ = ServerConfig::read(
                &["redis-server".into(), "r.conf".into()],
                None,
                Path::new("/cwd"),
                &files,
            );
        }
    }
}
