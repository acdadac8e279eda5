//! `make demo`: a real cluster of six wrapped servers on this machine, formed from nothing, then
//! what the project can do, shown on it step by step.
//!
//! A step is one line in [`STEPS`] and one function; it says what it saw, or what went wrong.
//! Whatever happens, Ctrl-C included, nothing stays behind.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

#[path = "../tests/it/support/mod.rs"]
mod support;

use support::fleet::{Fleet, Recipe};
use support::pod::Pod;
use support::process::rest;
use support::server::any_server;
use support::writer::{Pace, Writers, Written};

/// What is shown, in this order: what happens, and the function that does it.
const STEPS: [(&str, Step); 8] = [
    ("six empty pods start, rejoin as the first process of each", start),
    ("they form one cluster by themselves", form),
    ("every pod is alive and ready", probe),
    ("rejoin status, asked in redis-0", status),
    ("1000 keys are written and read back through a cluster client", write_keys),
    ("redis-1 stops and comes back on another address", move_pod),
    ("a master is restarted while clients write to each shard", restart_master),
    ("all keys are still there", read_keys),
];

/// What one step does: the words for what it saw, or for what went wrong.
type Step = fn(&mut Demo) -> Result<String, String>;

/// The longest that any one state may take to come.
const LIMIT: Duration = Duration::from_secs(60);
const KEYS: usize = 1000;

struct Demo {
    fleet: Fleet,
    progress: ProgressBar,
    interrupted: Arc<AtomicBool>,
}

fn main() -> ExitCode {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // A second one ends us at once; the pods die with us all the same.
        let armed = [
            signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone()),
            signal_hook::flag::register(signal, interrupted.clone()),
        ];
        assert!(armed.iter().all(Result::is_ok), "signals can be caught");
    }
    let server = any_server();
    println!("rejoin demo: six pods of {}, three masters, one replica each\n", server.name);
    let fleet = Fleet::new(&Recipe::wrapped(&server, 3));
    let mut demo = Demo { fleet, progress: spinner(), interrupted };
    match demo.show() {
        Ok(summary) => {
            println!("\n{summary}");
            ExitCode::SUCCESS
        }
        Err(reason) if demo.interrupted.load(Ordering::Relaxed) => {
            demo.progress.finish_and_clear();
            drop(demo);
            println!("{reason}: the pods are ended and their directories removed");
            ExitCode::from(130)
        }
        Err(reason) => {
            demo.progress.finish_and_clear();
            demo.fleet.pods.iter().for_each(print_log);
            println!("\nnot shown: {reason}");
            ExitCode::FAILURE
        }
    }
}

impl Demo {
    /// Takes all steps and sums them up.
    fn show(&mut self) -> Result<Table, String> {
        let begin = Instant::now();
        let mut summary = Table::new();
        summary.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
        summary.set_content_arrangement(ContentArrangement::Dynamic).set_width(100);
        summary.set_header(["What", "Took", "Seen"]);
        for (number, (what, step)) in (1..).zip(STEPS) {
            self.progress.set_prefix(format!("{number}/{} {what}", STEPS.len()));
            self.progress.set_message("");
            let start = Instant::now();
            let seen = step(self).map_err(|reason| format!("{what}: {reason}"))?;
            let took = format!("{:.1} s", start.elapsed().as_secs_f64());
            self.say(&format!("{number}/{} {what}: {seen} ({took})", STEPS.len()));
            summary.add_row([what, &took, &seen]);
        }
        self.progress.finish_and_clear();
        let took = format!("{:.1} s", begin.elapsed().as_secs_f64());
        summary.add_row(["all of it", &took, "shown; everything is removed again"]);
        Ok(summary)
    }

    /// Prints a line above the progress.
    fn say(&self, line: &str) {
        self.progress.suspend(|| println!("{line}"));
    }

    /// Looks until `look` gives a value, showing meanwhile what is still missing.
    fn until<T, E: Display>(&self, look: impl Fn(&Fleet) -> Result<T, E>) -> Result<T, String> {
        let start = Instant::now();
        loop {
            match look(&self.fleet) {
                Ok(value) => return Ok(value),
                Err(last) if start.elapsed() > LIMIT => {
                    return Err(format!("not within {LIMIT:?}; last seen: {last}"));
                }
                Err(last) => self.progress.set_message(last.to_string()),
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Err("interrupted".to_owned());
            }
            rest(Duration::from_millis(20));
        }
    }
}

fn start(demo: &mut Demo) -> Result<String, String> {
    demo.fleet.start_all();
    demo.until(|fleet| fleet.pods.iter().try_for_each(|pod| pod.text(&["PING"]).map(drop)))?;
    let (first, last) = (&demo.fleet.pods[0], &demo.fleet.pods[demo.fleet.pods.len() - 1]);
    Ok(format!("all answer, on {} to {}", first.address(), last.address()))
}

fn form(demo: &mut Demo) -> Result<String, String> {
    demo.until(Fleet::whole)?;
    Ok("16384 slots, each owned once; every master has its replica".to_owned())
}

fn probe(demo: &mut Demo) -> Result<String, String> {
    demo.until(|fleet| {
        fleet.pods.iter().try_for_each(|pod| {
            ["live", "ready"].iter().try_for_each(|verdict| {
                let output = pod.rejoin(&[verdict]);
                if output.status.success() {
                    return Ok(());
                }
                Err(format!("{}: {}", pod.name(), String::from_utf8_lossy(&output.stdout).trim()))
            })
        })
    })?;
    let output = demo.fleet.pods[0].rejoin(&["ready"]);
    Ok(format!("redis-0 says: {}", String::from_utf8_lossy(&output.stdout).trim()))
}

fn status(demo: &mut Demo) -> Result<String, String> {
    let output = demo.fleet.pods[0].rejoin(&["status"]);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    demo.say(&String::from_utf8_lossy(&output.stdout));
    Ok("the table above".to_owned())
}

fn write_keys(demo: &mut Demo) -> Result<String, String> {
    let mut client = demo.fleet.client().map_err(|error| error.to_string())?;
    for number in 0..KEYS {
        redis::cmd("SET")
            .arg(format!("key-{number}"))
            .arg(number)
            .query::<()>(&mut client)
            .map_err(|error| format!("writing key-{number}: {error}"))?;
    }
    read_keys(demo)
}

fn read_keys(demo: &mut Demo) -> Result<String, String> {
    let mut client = demo.fleet.client().map_err(|error| error.to_string())?;
    for number in 0..KEYS {
        let value: Option<usize> = redis::cmd("GET")
            .arg(format!("key-{number}"))
            .query(&mut client)
            .map_err(|error| format!("reading key-{number}: {error}"))?;
        if value != Some(number) {
            return Err(format!("key-{number} holds {value:?}"));
        }
    }
    Ok(format!("{KEYS} of {KEYS} read back"))
}

fn move_pod(demo: &mut Demo) -> Result<String, String> {
    let old = demo.fleet.pods[1].ip;
    demo.fleet.pods[1].stop();
    demo.fleet.swap_address(1);
    demo.fleet.pods[1].start();
    demo.until(Fleet::whole)?;
    let pod = &demo.fleet.pods[1];
    Ok(format!("{} was at {old}, is at {}, and the cluster is whole", pod.name(), pod.ip))
}

fn restart_master(demo: &mut Demo) -> Result<String, String> {
    let role = |pod: &Pod| pod.field(&["INFO", "replication"], "role");
    let master = demo.fleet.pods.iter().position(|pod| role(pod).is_ok_and(|is| is == "master"));
    let master = master.ok_or("no pod is a master")?;
    let writers = Writers::start(&demo.fleet, Pace::one_by_one(Duration::from_millis(1)));
    rest(Duration::from_millis(500));
    demo.fleet.pods[master].stop();
    demo.fleet.swap_address(master);
    demo.fleet.pods[master].start();
    demo.until(Fleet::whole)?;
    let written = writers.end();
    let gap = written.iter().map(Written::longest_gap).max().unwrap_or_default();
    let lost = written.iter().map(|one| one.lost(&demo.fleet)).sum::<Result<usize, String>>()?;
    let count: usize = written.iter().map(|one| one.acknowledged.len()).sum();
    let log = demo.fleet.pods[master].log();
    let said = log.lines().rfind(|line| line.contains("has taken over: ")).unwrap_or_default();
    let took = said.split("took over within ").nth(1).and_then(|rest| rest.split(',').next());
    Ok(format!(
        "{} handed over within {}; of {count} writes {lost} were lost, and no shard was without \
         one for longer than {} ms",
        demo.fleet.pods[master].name(),
        took.ok_or("it has not handed over")?,
        gap.as_millis()
    ))
}

/// A line that turns on a terminal; nothing where there is none, since each step is printed too.
fn spinner() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let progress = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
    {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

fn print_log(pod: &Pod) {
    let log = pod.log();
    let skipped = log.lines().count().saturating_sub(30);
    println!("--- the last lines of {} on {} ---", pod.name(), pod.ip);
    log.lines().skip(skipped).for_each(|line| println!("{line}"));
}
