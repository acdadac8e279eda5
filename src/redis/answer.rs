//! What an error reply means. Pure.

use std::fmt;

use crate::health::Answer;

impl Answer {
    /// Sorts an error line, without its leading `-`.
    pub fn from_error(line: &str) -> Answer {
        let code = line.split(' ').next().unwrap_or_default();
        match code {
            "LOADING" => Answer::Loading,
            "BUSY" => Answer::Busy,
            "MASTERDOWN" => Answer::MasterDown,
            "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => Answer::Refused(line.to_owned()),
            "ERR" if line.starts_with("ERR max number of clients") => Answer::MaxClients,
            // Servers before 6.0, and AUTH where no password is set.
            "ERR" if line.contains("password") => Answer::Refused(line.to_owned()),
            _ => Answer::Other(line.to_owned()),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Ok => f.write_str("OK"),
            Answer::Loading => f.write_str("LOADING"),
            Answer::Busy => f.write_str("BUSY"),
            Answer::MasterDown => f.write_str("MASTERDOWN"),
            Answer::MaxClients => f.write_str("max number of clients reached"),
            Answer::HungUp => {
                f.write_str("by closing the connection, as one that is full or speaks TLS only")
            }
            Answer::NoTls(why) => write!(f, "without TLS: {why}"),
            Answer::Refused(line) | Answer::Other(line) | Answer::Strange(line) => {
                f.write_str(line)
            }
        }
    }
}

#[cfg(test)]
mod tests;
