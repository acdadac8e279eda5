//! The row of the image: from a container's start to its server's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::row::{Row, Target, Unit};
use crate::support::engine::{Container, versions};
use crate::support::wait::wait_ok;

const RUNS: usize = 21;

/// How much later the server may start than in its own image.
const LATER_MAX: f64 = 0.010;

/// What a server writes first.
const FIRST_WORDS: &str = " is starting oO0";

/// From the start that the engine notes to the first line of the server's log, which has
/// milliseconds. The address in `nodes.conf` is a new one each time.
pub fn start() -> Vec<Row> {
    let versions = versions();
    let version = versions.first().expect("an engine, and scripts/images");
    let (ours, alone) = (Side::new("rejoin-test", version), Side::new("rejoin-test-base", version));
    let (mut ours_took, mut alone_took) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let took = [
            ours.until_server(run, &["rejoin", "redis-server"]),
            alone.until_server(run, &["redis-server"]),
        ];
        // The first run makes the files.
        if run > 0 {
            ours_took.push(took[0]);
            alone_took.push(took[1]);
        }
    }
    vec![Row {
        what: format!("container start to server start, {version}, median of {RUNS}"),
        ours: ours_took,
        rival: alone_took,
        rival_name: "the server image alone".to_owned(),
        unit: Unit::Milliseconds,
        target: Target::More(LATER_MAX),
        wrong: None,
    }]
}

/// One image with its volume.
struct Side {
    image: String,
    volume: tempfile::TempDir,
}

impl Side {
    fn new(repository: &str, version: &str) -> Self {
        let volume = tempfile::tempdir().expect("the directory for temporary files is writable");
        fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
        Self { image: format!("{repository}:{version}"), volume }
    }

    /// Seconds.
    fn until_server(&self, run: usize, command: &[&str]) -> f64 {
        let ip = format!("--env=POD_IP=198.18.255.{}", run + 1);
        let volume = format!("--volume={}:/data", self.volume.path().display());
        let entrypoint = format!("--entrypoint={}", command[0]);
        let mut args = vec!["--network=none", "--user=999:999", &ip, &volume, &entrypoint];
        args.push(&self.image);
        args.extend(&command[1..]);
        args.extend(["--cluster-enabled", "yes"]);
        let container = Container::start(&self.image, &args).expect("it starts");
        let line = wait_ok(Duration::from_secs(60), "the server's first line", || {
            let log = container.log();
            log.lines().find(|line| line.contains(FIRST_WORDS)).map(str::to_owned).ok_or(log)
        });
        let began = container.inspect(".State.StartedAt");
        // `7:C 22 Nov 2026 18:39:20.464 * oO0...` and `2026-11-22T18:39:20.44Z`.
        let server = line.split(' ').find(|word| word.contains(':') && word.contains('.'));
        let began = began.split('T').nth(1).map(|time| time.trim_end_matches('Z'));
        let took = seconds(server.expect("a time")) - seconds(began.expect("a time"));
        // Midnight may lie between.
        took.rem_euclid(86400.0)
    }
}

/// Seconds since midnight of `18:39:20.464`.
fn seconds(time: &str) -> f64 {
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().expect("a number"))
}
