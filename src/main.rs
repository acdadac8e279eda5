//! The `rejoin` binary.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use rejoin::{exit, nodes_file};

/// A stand-in until the command line is built: `rejoin fix redis-server --dir DIR
/// --cluster-config-file FILE` with `POD_IP`.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let directory = PathBuf::from(value("--dir").unwrap_or_default());
    let file = value("--cluster-config-file").unwrap_or_else(|| "nodes.conf".to_owned());
    let path = directory.join(file);
    let Some(ip) = std::env::var("POD_IP").ok().and_then(|ip| ip.parse::<IpAddr>().ok()) else {
        eprintln!("rejoin: POD_IP is missing or no address");
        return ExitCode::from(exit::CONFIG);
    };
    let lock = match nodes_file::Lock::acquire(&path) {
        Ok(lock) => lock,
        Err(error) => return report(&error, error.exit_code()),
    };
    match nodes_file::correct(&path, ip, &lock) {
        Ok(outcome) => {
            eprintln!("rejoin: {outcome}");
            ExitCode::SUCCESS
        }
        Err(error) => report(&error, error.exit_code()),
    }
}

/// Prints an error with its source.
fn report(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    eprintln!("rejoin: {error}{source}");
    ExitCode::from(code)
}
