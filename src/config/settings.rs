//! The settings as given: flags over variables, each under one name.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;

/// Where variables come from: the process, or a map in tests.
pub trait Env {
    /// The value of a variable, if set.
    fn var(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

impl Env for HashMap<&str, &str> {
    fn var(&self, name: &str) -> Option<OsString> {
        self.get(name).map(OsString::from)
    }
}

/// Every setting of our own. `README.md` and `--help` say what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// `POD_IP`
    PodIp,
    /// `POD_NAME`
    PodName,
    /// `REJOIN_SHARDS`
    Shards,
    /// `REJOIN_REPLICAS`
    Replicas,
    /// `REJOIN_ON_LOST_SHARD`
    OnLostShard,
    /// `REJOIN_SERVICE`
    Service,
    /// `REJOIN_PEERS`
    Peers,
    /// `REJOIN_HTTP`
    Http,
    /// `REJOIN_HANDOVER_TIMEOUT`
    HandoverTimeout,
    /// `REJOIN_PREFER_HOME`
    PreferHome,
    /// `REJOIN_USERNAME`
    Username,
    /// `REJOIN_PASSWORD`, the one without a flag: an argument list is for all to read.
    Password,
    /// `REJOIN_PASSWORD_FILE`
    PasswordFile,
    /// `REJOIN_LOG`
    Log,
    /// `REJOIN_LOG_FORMAT`
    LogFormat,
}

impl Variable {
    /// All of them.
    pub const ALL: [Variable; 15] = [
        Variable::PodIp,
        Variable::PodName,
        Variable::Shards,
        Variable::Replicas,
        Variable::OnLostShard,
        Variable::Service,
        Variable::Peers,
        Variable::Http,
        Variable::HandoverTimeout,
        Variable::PreferHome,
        Variable::Username,
        Variable::Password,
        Variable::PasswordFile,
        Variable::Log,
        Variable::LogFormat,
    ];

    /// The name in the environment.
    pub fn name(self) -> &'static str {
        match self {
            Variable::PodIp => "POD_IP",
            Variable::PodName => "POD_NAME",
            Variable::Shards => "REJOIN_SHARDS",
            Variable::Replicas => "REJOIN_REPLICAS",
            Variable::OnLostShard => "REJOIN_ON_LOST_SHARD",
            Variable::Service => "REJOIN_SERVICE",
            Variable::Peers => "REJOIN_PEERS",
            Variable::Http => "REJOIN_HTTP",
            Variable::HandoverTimeout => "REJOIN_HANDOVER_TIMEOUT",
            Variable::PreferHome => "REJOIN_PREFER_HOME",
            Variable::Username => "REJOIN_USERNAME",
            Variable::Password => "REJOIN_PASSWORD",
            Variable::PasswordFile => "REJOIN_PASSWORD_FILE",
            Variable::Log => "REJOIN_LOG",
            Variable::LogFormat => "REJOIN_LOG_FORMAT",
        }
    }

    /// The flag: the name in lower case, with dashes and without `REJOIN_`. The password has none.
    pub fn flag(self) -> Option<String> {
        let name = self.name();
        let name = name.strip_prefix("REJOIN_").unwrap_or(name);
        let flag = format!("--{}", name.to_ascii_lowercase().replace('_', "-"));
        (self != Variable::Password).then_some(flag)
    }
}

/// A setting that was given, with its origin for error messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// The flag or the variable.
    pub by: String,
    /// The value. Not trimmed.
    pub value: String,
}

impl Given {
    /// The error for this setting: what is wrong with the value, and what to set instead.
    pub fn refuse(self, wrong: &'static str, remedy: &'static str) -> ConfigError {
        ConfigError::Value { by: self.by, value: self.value, wrong, remedy }
    }
}

/// A setting that cannot be used. One line that names it, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value makes no sense.
    #[error("{by} is {value:?}: {wrong}; {remedy}")]
    Value {
        /// The flag or the variable.
        by: String,
        /// Its value; never a password.
        value: String,
        /// What is wrong with it.
        wrong: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The value is not text.
    #[error("{by} is not UTF-8; set it to plain text")]
    NotText {
        /// The flag or the variable.
        by: String,
    },
    /// A password and a file for it.
    #[error("REJOIN_PASSWORD and {file} are both set; remove one of them")]
    TwoPasswords {
        /// The flag or the variable of the file.
        file: String,
    },
    /// `nodes.conf` is there, and nothing says which address to put into it.
    #[error(
        "POD_IP is not set, and nodes.conf needs this pod's address; \
         set it from the field status.podIP in the pod's manifest"
    )]
    NoPodIp,
}

/// Flags over variables.
pub struct Settings<'a> {
    flags: BTreeMap<Variable, OsString>,
    env: &'a dyn Env,
}

impl<'a> Settings<'a> {
    /// The flags that were given, and where variables come from.
    pub fn new(flags: BTreeMap<Variable, OsString>, env: &'a dyn Env) -> Settings<'a> {
        Settings { flags, env }
    }

    /// A setting; an empty one counts as not given.
    ///
    /// # Errors
    /// Where it is not UTF-8.
    pub fn get(&self, variable: Variable) -> Result<Option<Given>, ConfigError> {
        Ok(self.get_even_empty(variable)?.filter(|given| !given.value.trim().is_empty()))
    }

    /// A setting, empty or not.
    ///
    /// # Errors
    /// Where it is not UTF-8.
    pub fn get_even_empty(&self, variable: Variable) -> Result<Option<Given>, ConfigError> {
        let flag = self.flags.get(&variable).cloned().zip(variable.flag());
        let given = flag.or_else(|| {
            self.env.var(variable.name()).map(|value| (value, variable.name().to_owned()))
        });
        let Some((value, by)) = given else { return Ok(None) };
        match value.into_string() {
            Ok(value) => Ok(Some(Given { by, value })),
            Err(_) => Err(ConfigError::NotText { by }),
        }
    }

    /// A value that need not be text: a password, or the name of a file. Empty: not given.
    pub fn get_bytes(&self, variable: Variable) -> Option<(String, OsString)> {
        let flag = self.flags.get(&variable).cloned().zip(variable.flag());
        flag.map(|(value, by)| (by, value))
            .or_else(|| Some((variable.name().to_owned(), self.env.var(variable.name())?)))
            .filter(|(_, value)| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_is_the_name_in_lower_case_without_prefix() {
        assert_eq!(Variable::PodIp.flag().as_deref(), Some("--pod-ip"));
        assert_eq!(Variable::HandoverTimeout.flag().as_deref(), Some("--handover-timeout"));
        assert_eq!(Variable::Password.flag(), None);
    }

    #[test]
    fn flag_wins_over_variable_and_empty_counts_as_unset() {
        let env = HashMap::from([("REJOIN_SHARDS", "3"), ("REJOIN_LOG", " "), ("POD_NAME", "a")]);
        let flags = BTreeMap::from([(Variable::Shards, "5".into())]);
        let settings = Settings::new(flags, &env);
        let get = |variable| settings.get(variable).expect("text").map(|it| (it.by, it.value));
        assert_eq!(get(Variable::Shards), Some(("--shards".into(), "5".into())));
        assert_eq!(get(Variable::PodName), Some(("POD_NAME".into(), "a".into())));
        assert_eq!(get(Variable::Log), None);
        assert_eq!(get(Variable::Http), None);
    }
}
