//! Rows c and d: what a formed cluster costs while nothing happens.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::row::{Row, Target, Unit};
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::process::{rest, run};
use crate::support::server::any_server;
use crate::support::wait::wait_ok;

const LIMIT: Duration = Duration::from_secs(120);
/// Rounds of a probe, and probes of a round.
const ROUNDS: usize = 9;
const PROBES: usize = 20;
/// What passes before a formed cluster counts as at rest.
pub const SETTLE: Duration = Duration::from_secs(10);
/// How long it is watched then.
pub const WATCHED: Duration = Duration::from_secs(30);

/// The processor time, user and system, of one probe.
pub fn probe() -> Vec<Row> {
    let fleet = formed();
    let pod = &fleet.pods[0];
    wait_ok(LIMIT, "readiness", || {
        let output = pod.rejoin(&["ready"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    });
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(processor_time(|| assert!(pod.rejoin(&["ready"]).status.success())));
        rival.push(processor_time(|| {
            let mut ping = Command::new(&pod.server.cli);
            ping.args(["-h", &pod.ip.to_string(), "-p", &pod.address().port().to_string(), "ping"]);
            assert!(run(&mut ping).status.success());
        }));
    }
    vec![Row {
        what: "processor time of one `rejoin ready`".to_owned(),
        ours,
        rival,
        rival_name: "redis-cli ping".to_owned(),
        unit: Unit::Milliseconds,
        target: Target::Ratio(0.5),
        wrong: None,
    }]
}

/// Memory and processor time of the first process of each pod, beside those of its own server.
pub fn at_rest() -> Vec<Row> {
    let fleet = formed();
    rest(SETTLE);
    let servers: Vec<u32> = fleet.pods.iter().filter_map(Pod::server_pid).collect();
    let inits: Vec<u32> = fleet.pods.iter().map(Pod::pid).collect();
    assert_eq!(servers.len(), inits.len(), "every pod has its server");
    let busy = |pids: &[u32]| pids.iter().map(|pid| on_processor(*pid)).collect::<Vec<_>>();
    let (start, before) = (Instant::now(), (busy(&inits), busy(&servers)));
    rest(WATCHED);
    let (took, after) = (start.elapsed().as_secs_f64(), (busy(&inits), busy(&servers)));
    let part = |before: &[f64], after: &[f64]| -> Vec<f64> {
        before.iter().zip(after).map(|(before, after)| (after - before) / took).collect()
    };
    let resident = |pids: &[u32]| pids.iter().map(|pid| resident(*pid)).collect();
    let row = |what: &str, ours, rival, unit, most| Row {
        what: format!("{what} of rejoin at rest, median of six pods"),
        ours,
        rival,
        rival_name: "its redis-server".to_owned(),
        unit,
        target: Target::AtMost(most),
        wrong: None,
    };
    let (memory, memory_rival) = (resident(&inits), resident(&servers));
    let (core, core_rival) = (part(&before.0, &after.0), part(&before.1, &after.1));
    vec![
        row("resident memory", memory, memory_rival, Unit::Mebibytes, 5.0 * 1024.0 * 1024.0),
        row("processor time", core, core_rival, Unit::Core, 0.002),
    ]
}

fn formed() -> Fleet {
    let fleet = Fleet::started(&Recipe::wrapped(&any_server(), 3));
    fleet.wait_whole(LIMIT);
    fleet
}

/// Seconds that the children of one call used, the mean over a round. Nobody else's child is
/// reaped meanwhile, so all that is added to the account is theirs.
fn processor_time(call: impl Fn()) -> f64 {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("Linux counts for children");
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    };
    let before = used();
    (0..PROBES).for_each(|_| call());
    let total = Duration::from_micros((used() - before).unsigned_abs());
    total.as_secs_f64() / PROBES as f64
}

/// Seconds that all threads of the process were on a processor so far, from
/// `/proc/PID/task/TID/schedstat`, which counts nanoseconds where `stat` counts ticks of 10 ms.
pub fn on_processor(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the pod runs");
    let nanoseconds: f64 = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
        .sum();
    nanoseconds / 1e9
}

/// Bytes of the process that are in memory now, pages of its program included.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the pod runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kibibytes.expect("Linux names resident memory in kB") * 1024.0
}
