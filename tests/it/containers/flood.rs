//! The port of the probes under a flood from outside the pod, and one that is open inside only.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::manifests::rendered::{Exec, Probe};
use crate::support::engine::Network;
use crate::support::process::{rest, status_field};

use super::kubelet::Kubelet;
use super::set::Set;
use super::{Rendered, each_version, newest};

/// Where the probes are, in every manifest.
const HTTP: u16 = 8080;
/// For so long the probes are asked during the flood: readiness ten times, liveness twice.
const FLOOD: Duration = Duration::from_secs(21);
/// So much may the first process grow, in KiB. Sixty connections with their buffers are about one.
const GROWTH_MAX: usize = 4 << 10;

/// So many files more may it have open: connections that are served, as many that wait for it, and
/// those that are taken from the kernel's queue at once (`BATCH` in `src/http/lobby.rs`).
const FILES_MAX: usize = 2 * rejoin::http::CONNECTIONS_MAX + 256;
/// Connections that each kind of flood has open at once: together far more than these.
const HELD: usize = 300;

/// One pod that is a cluster.
fn alone(mut rendered: Rendered) -> Rendered {
    rendered.set.spec.replicas = 1;
    for (name, value) in [("REJOIN_SHARDS", "1"), ("REJOIN_REPLICAS", "0")] {
        let env = &mut rendered.container_mut().env;
        let variable = env.iter_mut().find(|it| it.name == name).expect("it is set");
        variable.value = Some(value.to_owned());
    }
    rendered
}

/// The same probes, as commands in the container.
fn by_exec(rendered: &mut Rendered) {
    let container = rendered.container_mut();
    let ways = [
        (&mut container.startup_probe, "startup"),
        (&mut container.readiness_probe, "ready"),
        (&mut container.liveness_probe, "live"),
    ];
    for (probe, word) in ways {
        let probe: &mut Probe = probe.as_mut().expect("the base has all three");
        probe.http_get = None;
        probe.exec = Some(Exec { command: vec!["rejoin".to_owned(), word.to_owned()] });
    }
}

/// What the first process of a pod uses: memory in KiB, and open files.
fn used(pid: u32) -> (usize, usize) {
    let memory = status_field(pid, "VmRSS").replace(" kB", "").parse().expect("a number");
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
    (memory, files)
}

/// One kind of flood: what is sent on each connection, again and again.
#[derive(Clone, Copy)]
enum Kind {
    /// Nothing.
    Silence,
    /// A header, a byte at a time.
    Slow,
    /// A header without an end.
    Long,
    /// Whole requests, whose answers are not read.
    Unread,
}

/// Connections of this kind until it is over, with [`HELD`] of them open. Counts them.
fn flood(kind: Kind, to: SocketAddr, over: &AtomicBool, made: &AtomicUsize) {
    let mut held = VecDeque::new();
    let long = "X: y\r\n".repeat(1 << 12);
    while !over.load(Ordering::Relaxed) {
        rest(Duration::from_millis(2));
        for stream in held.iter_mut().filter(|_| matches!(kind, Kind::Slow)) {
            let _: Result<(), _> = TcpStream::write_all(stream, b"x");
        }
        let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_millis(50)) else {
            continue;
        };
        made.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_write_timeout(Some(Duration::from_millis(50)));
        let _ = match kind {
            Kind::Silence => Ok(()),
            Kind::Slow => stream.write_all(b"GET /livez HTTP/1.1\r\nX: "),
            Kind::Long => stream
                .write_all(b"GET /livez HTTP/1.1\r\n")
                .and_then(|()| stream.write_all(long.as_bytes())),
            Kind::Unread => stream.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"),
        };
        held.push_back(stream);
        if held.len() > HELD {
            held.pop_front();
        }
    }
}

#[test]
fn flood_from_outside_fails_no_probe_and_takes_no_memory() {
    let Some(base) = Rendered::of("k8s") else { return };
    let base = alone(base);
    let mut exec = base.clone();
    by_exec(&mut exec);
    each_version(&newest(), |version| {
        let mut set = Set::new(base.clone(), version, Network::new());
        set.create(0);
        set.wait_ready(0);
        let pod = &set.pods[&0];
        // The other kind of probes beside those of the manifest.
        let by_exec = Kubelet::watch(&pod.container.id, pod.ip, exec.container());
        crate::support::wait::wait_for(super::LIMIT, "both to be ready", || {
            by_exec.verdict().ready
        });
        let lapses = [pod.verdict().lapses, by_exec.verdict().lapses];
        let (pid, to) = (pod.container.pid(), SocketAddr::new(pod.ip, HTTP));
        let before = used(pid);
        let (over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
        let most = std::thread::scope(|scope| {
            for kind in [Kind::Silence, Kind::Slow, Kind::Long, Kind::Unread] {
                let (over, made) = (&over, &made);
                scope.spawn(move || flood(kind, to, over, made));
            }
            let (start, mut most) = (Instant::now(), before);
            while start.elapsed() < FLOOD {
                let now = used(pid);
                most = (most.0.max(now.0), most.1.max(now.1));
                rest(Duration::from_millis(50));
            }
            over.store(true, Ordering::Relaxed);
            most
        });
        let made = made.into_inner();
        println!("{version}: {made} connections, from {before:?} to {most:?} KiB and files");
        for (kubelet, before) in [(pod.verdict(), &lapses[0]), (by_exec.verdict(), &lapses[1])] {
            let is_well = kubelet.ready && kubelet.restart.is_none();
            assert!(is_well && kubelet.lapses == *before, "{version}: {kubelet:?}");
        }
        assert!(made > 1000, "{version}: {made} connections are no flood");
        assert!(most.0 < before.0 + GROWTH_MAX, "{version}: from {before:?} to {most:?}");
        assert!(most.1 <= before.1 + FILES_MAX, "{version}: from {before:?} to {most:?}");
        assert_eq!(pod.container.inspect(".RestartCount"), "0");
    });
}

#[test]
fn probes_by_exec_are_answered_where_nothing_is_served_to_the_outside() {
    let Some(base) = Rendered::of("k8s") else { return };
    let mut inside = alone(base);
    by_exec(&mut inside);
    let variable = serde_saphyr::from_str("{name: REJOIN_HTTP, value: '127.0.0.1:8080'}");
    inside.container_mut().env.push(variable.expect("a variable"));
    each_version(&newest(), |version| {
        let mut set = Set::new(inside.clone(), version, Network::new());
        set.create(0);
        set.wait_ready(0);
        let pod = &set.pods[&0];
        let refused =
            TcpStream::connect(SocketAddr::new(pod.ip, HTTP)).expect_err("nobody is there");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{version}");
        let status = pod.container.exec(&["rejoin", "status"]).expect("it answers");
        assert!(status.contains("ready: a master"), "{version}: {status}");
        let verdict = pod.verdict();
        assert!(verdict.ready && verdict.restart.is_none(), "{version}: {verdict:?}");
    });
}
