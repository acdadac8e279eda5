//! What the kubelet does with a pod's probes: each on its own schedule, in the container or from
//! outside, and what follows from the answers.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::manifests::rendered::{Container as Spec, Probe};
use crate::support::http;
use crate::support::process::{rest, run};

/// The longest that the engine itself may take to get a command into a container on a busy machine,
/// which is no matter of the probe's.
const ENGINE: Duration = Duration::from_secs(10);

/// What the probes have said so far.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// The startup probe has succeeded, or there is none.
    pub started: bool,
    /// The container is ready.
    pub ready: bool,
    /// What the readiness probe said each time that the container ceased to be ready.
    pub lapses: Vec<String>,
    /// Why the kubelet would have restarted the container, if it would have.
    pub restart: Option<String>,
    /// The last answer of each probe.
    pub said: [String; 3],
}

/// The kubelet of one container. Dropping it ends its probes.
#[derive(Debug)]
pub struct Kubelet {
    verdict: Arc<Mutex<Verdict>>,
    stop: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Kubelet {
    /// Probes the container with this id at this address, as its manifest says.
    pub fn watch(id: &str, ip: std::net::IpAddr, spec: &Spec) -> Self {
        let verdict = Arc::new(Mutex::new(Verdict::default()));
        let stop = Arc::new(Mutex::new(false));
        let target = Target { id: id.to_owned(), ip, spec: spec.clone() };
        let (for_thread, is_over) = (Arc::clone(&verdict), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            target.probe(&for_thread, || *is_over.lock().expect("no panic holds it"));
        });
        Self { verdict, stop, thread: Some(thread) }
    }

    /// What the probes have said so far.
    pub fn verdict(&self) -> Verdict {
        self.verdict.lock().expect("no panic holds it").clone()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        *self.stop.lock().expect("no panic holds it") = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Target {
    id: String,
    ip: std::net::IpAddr,
    spec: Spec,
}

/// A probe, when it is due, and how many times in a row it has failed.
struct Due<'a> {
    probe: &'a Probe,
    at: Instant,
    failed: u64,
}

impl Target {
    fn probe(&self, verdict: &Mutex<Verdict>, is_over: impl Fn() -> bool) {
        let start = Instant::now();
        let specs =
            [&self.spec.startup_probe, &self.spec.readiness_probe, &self.spec.liveness_probe];
        let names = ["startup", "readiness", "liveness"];
        let mut dues: Vec<Option<Due<'_>>> = specs
            .iter()
            .map(|probe| {
                let probe = probe.as_ref()?;
                let at = start + Duration::from_secs(probe.initial_delay_seconds);
                Some(Due { probe, at, failed: 0 })
            })
            .collect();
        let set = |change: &dyn Fn(&mut Verdict)| change(&mut verdict.lock().expect("no panic"));
        set(&|verdict| {
            verdict.started = specs[0].is_none();
            verdict.ready = specs[1].is_none();
        });
        while !is_over() {
            for (index, name) in names.iter().enumerate() {
                let is_started = verdict.lock().expect("no panic holds it").started;
                // The startup probe comes before the others, and ends once it has succeeded.
                if is_started == (index == 0) {
                    continue;
                }
                let Some(due) = &mut dues[index] else { continue };
                if Instant::now() < due.at {
                    continue;
                }
                due.at = Instant::now() + Duration::from_secs(due.probe.period_seconds);
                let answer = self.ask(due.probe);
                due.failed = if answer.is_ok() { 0 } else { due.failed + 1 };
                let has_failed = due.failed >= due.probe.failure_threshold;
                let said = answer.as_ref().unwrap_or_else(|error| error).clone();
                set(&|verdict| {
                    verdict.said[index] = said.clone();
                    match index {
                        0 => verdict.started = answer.is_ok(),
                        1 if answer.is_ok() => verdict.ready = true,
                        1 if has_failed && verdict.ready => {
                            verdict.ready = false;
                            verdict.lapses.push(said.clone());
                        }
                        _ => {}
                    }
                    if index != 1 && has_failed {
                        verdict.restart.get_or_insert(format!("{name}: {said}"));
                    }
                });
            }
            rest(Duration::from_millis(20));
        }
    }

    fn ask(&self, probe: &Probe) -> Result<String, String> {
        let start = Instant::now();
        let answer = match (&probe.exec, &probe.http_get) {
            (Some(exec), _) => {
                let mut command = Command::new("docker");
                command.args(["exec", &self.id]).args(&exec.command);
                let output = run(&mut command);
                let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                let err = String::from_utf8_lossy(&output.stderr);
                if output.status.success() { Ok(said) } else { Err(format!("{said}{err}")) }
            }
            (None, Some(get)) => {
                let port = self.spec.ports.iter().find(|port| port.name == get.port);
                let port = port.expect("a probe's port is one of the container's").container_port;
                let answer = http::get(SocketAddr::new(self.ip, port), &get.path)?;
                let is_ok = (200..400).contains(&answer.status);
                if is_ok { Ok(answer.body) } else { Err(answer.body) }
            }
            (None, None) => panic!("a probe that asks nothing"),
        };
        let took = start.elapsed();
        let engine = if probe.exec.is_some() { ENGINE } else { Duration::ZERO };
        if took > Duration::from_secs(probe.timeout_seconds) + engine {
            return Err(format!("after {took:?}: {answer:?}"));
        }
        answer
    }
}
