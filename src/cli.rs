//! What the user typed. Options of ours stop at the command: all behind it belongs to it, byte
//! for byte. The name that we were called by makes no difference, so that a link or a copy named
//! `fix-ip.sh` behaves the same.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::config::settings::Variable;

/// A parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cli {
    /// The flags that were given, each under its variable.
    pub flags: BTreeMap<Variable, OsString>,
    /// What is to be done.
    pub action: Action,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fix, start, supervise, serve the probes, form, join and heal. Never empty.
    Run(Vec<OsString>),
    /// The readiness probe.
    Ready,
    /// The liveness probe.
    Live,
    /// The startup probe.
    Startup,
    /// The cluster as this pod sees it.
    Status {
        /// For machines.
        json: bool,
    },
    /// Fix, then become the command. Never empty.
    Exec(Vec<OsString>),
    /// Fix only.
    Fix(FixTarget),
    /// Copy this program to that place.
    Install(PathBuf),
}

/// Which `nodes.conf` is to be fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FixTarget {
    /// The one of the server that this command line would start.
    Server(Vec<OsString>),
    /// This one. Without any argument it is `nodes.conf` in the working directory, which the
    /// official images set to the data volume.
    File(PathBuf),
}

/// Why there is nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CliError {
    /// `--help` or `--version` was asked for: print this on standard output and exit 0.
    #[error("{0}")]
    Shown(String),
    /// Wrong usage, in one line; exit 78.
    #[error("{0}")]
    Usage(String),
}

/// Parses a command line, the program's own name first.
///
/// # Errors
/// [`CliError::Shown`] for help and version, [`CliError::Usage`] for all that is wrong.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, CliError> {
    // The name is fixed, so that usage lines of a `fix-ip.sh` still say what to type.
    let args = args.into_iter().skip(1);
    let typed = Typed::try_parse_from(std::iter::once("rejoin".into()).chain(args))
        .map_err(|error| brief(&error))?;
    let action = match (typed.sub, typed.command) {
        (Some(sub), _) => sub.action(),
        (None, command) if command.is_empty() => {
            let usage = "no command to run: give one, such as rejoin redis-server /conf/redis.conf";
            return Err(CliError::Usage(format!("{usage}; see rejoin --help")));
        }
        (None, command) => Action::Run(command),
    };
    Ok(Cli { flags: typed.flags.given(), action })
}

/// The first paragraph of clap's message, which says what is wrong, on one line.
fn brief(error: &clap::Error) -> CliError {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return CliError::Shown(text);
    }
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = first.split_whitespace().skip_while(|&word| word == "error:").collect();
    CliError::Usage(format!("{}; see rejoin --help", words.join(" ")))
}

const ABOUT: &str = "\
PID 1 for a Redis or Valkey Cluster pod: corrects its address in nodes.conf, starts the
server, answers the probes, forms, joins and heals the cluster.";

const USAGE: &str = "\
rejoin [OPTIONS] [--] COMMAND [ARG...]
       rejoin [OPTIONS] ready | live | startup | status [--json]
       rejoin [OPTIONS] exec COMMAND [ARG...]
       rejoin [OPTIONS] fix [--nodes-conf PATH | COMMAND [ARG...]]
       rejoin install PATH";

const TEMPLATE: &str = "\
{about}

Usage: {usage}

Commands:
{subcommands}

Options, each also a variable (the flag wins):
{options}{after-help}";

const AFTER: &str = "\
The variable REJOIN_PASSWORD has no flag, since arguments are for all to read. Without a
password of ours, the one in redis.conf is used.

Examples:
  rejoin redis-server /conf/redis.conf       as the container's command
  rejoin --shards 3 redis-server --cluster-enabled yes
                                             six pods form a cluster by themselves
  rejoin ready                               as an exec readiness probe (or httpGet /readyz)
  rejoin fix redis-server /conf/redis.conf   in an init container
  rejoin install /shared/                    copies this program for a stock Redis image
  rejoin -- ready                            runs a command that is named like one of ours

Exit status: the command's own; 128+N after signal N; 127 not found; 126 not executable;
78 wrong usage or setting, or a nodes.conf that needs a person; 74 a file cannot be read
or written. Probes: 0 yes, 1 no.";

#[derive(Parser)]
#[command(
    name = "rejoin",
    version,
    about = ABOUT,
    override_usage = USAGE,
    help_template = TEMPLATE,
    after_help = AFTER,
    disable_help_subcommand = true,
    args_override_self = true
)]
struct Typed {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    sub: Option<Sub>,
    #[arg(trailing_var_arg = true, value_name = "COMMAND", hide = true)]
    command: Vec<OsString>,
}

/// Each option's help ends with its variable, and keeps to one line.
#[derive(Args)]
struct Flags {
    #[arg(long, global = true, value_name = "IP", help = "This pod's own address [POD_IP]")]
    pod_ip: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help = "This pod's name (default: the host name) [POD_NAME]"
    )]
    pod_name: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "N",
        help = "Masters at first boot (default: never form) [REJOIN_SHARDS]"
    )]
    shards: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "N",
        help = "Replicas of each master (default: 1) [REJOIN_REPLICAS]"
    )]
    replicas: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "WHAT",
        help = "hold, or recreate it empty (default: hold) [REJOIN_ON_LOST_SHARD]"
    )]
    on_lost_shard: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help = "Headless Service (default: from /etc/hosts) [REJOIN_SERVICE]"
    )]
    service: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "LIST",
        help = "HOST[:PORT],... instead of the Service [REJOIN_PEERS]"
    )]
    peers: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        help = "Probes and /metrics (default: :8080) [REJOIN_HTTP]"
    )]
    http: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        help = "Longest hand-over (default: 20s) [REJOIN_HANDOVER_TIMEOUT]"
    )]
    handover_timeout: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "ON|OFF",
        help = "Roles go back when all is well (default: off) [REJOIN_PREFER_HOME]"
    )]
    prefer_home: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help = "ACL user to log in as [REJOIN_USERNAME]"
    )]
    username: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        help = "Read anew at each login [REJOIN_PASSWORD_FILE]"
    )]
    password_file: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        help = "error to debug, or a filter (default: info) [REJOIN_LOG]"
    )]
    log: Option<OsString>,
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        help = "text or json (default: text) [REJOIN_LOG_FORMAT]"
    )]
    log_format: Option<OsString>,
}

impl Flags {
    fn given(self) -> BTreeMap<Variable, OsString> {
        let all = [
            (Variable::PodIp, self.pod_ip),
            (Variable::PodName, self.pod_name),
            (Variable::Shards, self.shards),
            (Variable::Replicas, self.replicas),
            (Variable::OnLostShard, self.on_lost_shard),
            (Variable::Service, self.service),
            (Variable::Peers, self.peers),
            (Variable::Http, self.http),
            (Variable::HandoverTimeout, self.handover_timeout),
            (Variable::PreferHome, self.prefer_home),
            (Variable::Username, self.username),
            (Variable::PasswordFile, self.password_file),
            (Variable::Log, self.log),
            (Variable::LogFormat, self.log_format),
        ];
        all.into_iter().filter_map(|(variable, value)| Some((variable, value?))).collect()
    }
}

#[derive(Subcommand)]
enum Sub {
    /// Readiness probe: exit 0 or 1, and one line that says why
    Ready,
    /// Liveness probe: exit 0 or 1, and one line that says why
    Live,
    /// Startup probe: exit 0 or 1, and one line that says why
    Startup,
    /// Show the cluster as this pod sees it
    Status {
        /// Print JSON, for machines
        #[arg(long)]
        json: bool,
    },
    /// Correct nodes.conf, then become COMMAND: nothing stays behind
    Exec {
        /// The command and its arguments, untouched
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Correct nodes.conf and exit: for an init container
    Fix {
        /// The file to correct (default: nodes.conf in the working directory)
        #[arg(long, value_name = "PATH", conflicts_with = "command")]
        nodes_conf: Option<PathBuf>,
        /// The server's command line, to find its nodes.conf; it is not run
        #[arg(trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Copy this program to PATH, a file or a directory
    Install {
        /// The file or directory to copy to
        path: PathBuf,
    },
}

impl Sub {
    fn action(self) -> Action {
        match self {
            Sub::Ready => Action::Ready,
            Sub::Live => Action::Live,
            Sub::Startup => Action::Startup,
            Sub::Status { json } => Action::Status { json },
            Sub::Exec { command } => Action::Exec(command),
            Sub::Fix { nodes_conf: Some(path), .. } => Action::Fix(FixTarget::File(path)),
            Sub::Fix { command, .. } if command.is_empty() => {
                Action::Fix(FixTarget::File("nodes.conf".into()))
            }
            Sub::Fix { command, .. } => Action::Fix(FixTarget::Server(command)),
            Sub::Install { path } => Action::Install(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use clap::CommandFactory;

    use super::*;

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(Into::into).collect()
    }

    #[track_caller]
    fn action(line: &[&str]) -> Action {
        let name: &[&str] = &["rejoin"];
        parse(words(&[name, line].concat())).expect("a command line").action
    }

    #[track_caller]
    fn usage(line: &[&str]) -> String {
        let name: &[&str] = &["rejoin"];
        match parse(words(&[name, line].concat())) {
            Err(CliError::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn definition_is_sound() {
        Typed::command().debug_assert();
    }

    #[test]
    fn options_stop_at_the_command() {
        for line in [
            &["sh", "-c", "exit 3"][..],
            &["redis-server", "--port", "7000", "--help"],
            &["redis-server", "--shards", "3", "--version", "--", "ready"],
            &["redis-server", "-", "-h"],
            &["/bin/x", "", "--", "-V"],
            &["help", "ready"],
        ] {
            assert_eq!(action(line), Action::Run(words(line)));
            let with_dashes = [&["--"], line].concat();
            assert_eq!(action(&with_dashes), Action::Run(words(line)));
            let with_exec = [&["exec"], line].concat();
            assert_eq!(action(&with_exec), Action::Exec(words(line)));
            let with_fix = [&["fix"], line].concat();
            assert_eq!(action(&with_fix), Action::Fix(FixTarget::Server(words(line))));
        }
    }

    #[test]
    fn bytes_that_are_no_text_reach_the_command_untouched() {
        let raw = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let command = vec![raw(b"/x\xff"), raw(b"\xfe"), raw(b"--\xfd=\xfc")];
        let typed = |first: &[&str]| {
            parse(words(first).into_iter().chain(command.clone())).expect("parsed").action
        };
        assert_eq!(typed(&["rejoin"]), Action::Run(command.clone()));
        assert_eq!(typed(&["rejoin", "--shards", "3"]), Action::Run(command.clone()));
        assert_eq!(typed(&["rejoin", "--"]), Action::Run(command.clone()));
        assert_eq!(typed(&["rejoin", "exec"]), Action::Exec(command.clone()));
    }

    #[test]
    fn double_dash_runs_a_command_named_like_one_of_ours() {
        assert_eq!(action(&["--", "ready"]), Action::Run(words(&["ready"])));
        assert_eq!(action(&["--", "exec", "x"]), Action::Run(words(&["exec", "x"])));
        assert_eq!(action(&["--", "--", "x"]), Action::Run(words(&["--", "x"])));
        assert_eq!(action(&["exec", "--", "ready"]), Action::Exec(words(&["ready"])));
    }

    #[test]
    fn name_that_we_are_called_by_makes_no_difference() {
        for name in ["rejoin", "/conf/fix-ip.sh", "fix-ip.sh", "x"] {
            let cli = parse(words(&[name, "redis-server", "/conf/redis.conf"])).expect("parsed");
            assert_eq!(cli.action, Action::Run(words(&["redis-server", "/conf/redis.conf"])));
        }
    }

    #[test]
    fn subcommands_are_known() {
        assert_eq!(action(&["ready"]), Action::Ready);
        assert_eq!(action(&["live"]), Action::Live);
        assert_eq!(action(&["startup"]), Action::Startup);
        assert_eq!(action(&["status"]), Action::Status { json: false });
        assert_eq!(action(&["status", "--json"]), Action::Status { json: true });
        assert_eq!(action(&["install", "/x"]), Action::Install("/x".into()));
        assert_eq!(action(&["fix"]), Action::Fix(FixTarget::File("nodes.conf".into())));
        let file = FixTarget::File("/d/n".into());
        assert_eq!(action(&["fix", "--nodes-conf", "/d/n"]), Action::Fix(file));
    }

    #[test]
    fn every_variable_but_the_password_has_its_flag() {
        for variable in Variable::ALL {
            let Some(flag) = variable.flag() else { continue };
            let given = BTreeMap::from([(variable, OsString::from("v"))]);
            for line in [
                &["rejoin", &flag, "v", "cmd"][..],
                &["rejoin", &format!("{flag}=v"), "cmd"],
                &["rejoin", &flag, "u", &flag, "v", "ready"],
                &["rejoin", "ready", &flag, "v"],
            ] {
                assert_eq!(parse(words(line)).expect("parsed").flags, given, "{line:?}");
            }
        }
        assert!(usage(&["--password", "x", "cmd"]).contains("'--password'"));
    }

    #[test]
    fn wrong_usage_is_one_line_that_names_it() {
        for (line, part) in [
            (&[][..], "no command to run"),
            (&["--"], "no command to run"),
            (&["--bogus", "redis-server"], "'--bogus'"),
            (&["-x"], "'-x'"),
            (&["--shards"], "'--shards <N>'"),
            (&["ready", "now"], "'now'"),
            (&["exec"], "COMMAND"),
            (&["install"], "PATH"),
            (&["install", "a", "b"], "'b'"),
            (&["fix", "--nodes-conf", "a", "redis-server"], "'--nodes-conf <PATH>'"),
        ] {
            let text = usage(line);
            assert!(text.contains(part) && text.ends_with("; see rejoin --help"), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn help_and_version_are_shown_only_before_the_command() {
        let shown = |line: &[&str]| match parse(words(line)) {
            Err(CliError::Shown(text)) => text,
            other => panic!("{other:?}"),
        };
        let help = shown(&["rejoin", "--help"]);
        for variable in Variable::ALL {
            assert!(help.contains(variable.name()), "{}", variable.name());
        }
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert_eq!(shown(&["fix-ip.sh", "-h"]), help);
        assert!(shown(&["rejoin", "--version"]).starts_with("rejoin "));
        assert!(shown(&["rejoin", "fix", "--help"]).contains("nodes-conf"));
    }
}
