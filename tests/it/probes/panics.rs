//! A keeper that panics.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::{LIMIT, WELL, lines, wait_says};
use crate::forming::status;
use crate::support::fleet::{Fleet, Recipe};
use crate::support::pod::Pod;
use crate::support::server::any_server;
use crate::support::wait::{wait_for, wait_ok};

/// The program whose keeper panics at each line of its log while a file is there.
pub(crate) fn brittle() -> PathBuf {
    let examples = Path::new(env!("CARGO_BIN_EXE_rejoin")).with_file_name("examples");
    let path = examples.join("brittle");
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

fn restarts(pod: &Pod) -> u64 {
    status(pod).expect("the probes are served").agent_restarts
}

/// Asks over a connection that has begun before a panic: so the probes were not begun anew.
fn answer_over_a_panic(pod: &Pod) -> Result<(), String> {
    let before = restarts(pod);
    let mut stream = TcpStream::connect(pod.http_address()).map_err(|error| error.to_string())?;
    let mut send = |text: &str| stream.write_all(text.as_bytes());
    send("GET /livez HTTP/1.1\r\n").map_err(|error| error.to_string())?;
    wait_for(LIMIT, "another panic", || {
        let _ = pod.redis(&["CLIENT", "KILL", "TYPE", "normal"]);
        restarts(pod) > before
    });
    send("Host: x\r\n\r\n").map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    // A header may take two seconds, which may be over.
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(format!("{answer:?}")) }
}

#[test]
fn keeper_that_panics_is_started_anew_while_probes_and_server_go_on() {
    let mut fleet = Fleet::new(&Recipe::wrapped(&any_server(), 1).open());
    let file = fleet.dir().join("panic");
    for pod in &mut fleet.pods {
        pod.rejoin = brittle();
        pod.env.insert("BRITTLE".to_owned(), file.display().to_string());
    }
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    let master = &fleet.pods[0];
    wait_says(master, WELL);
    let child = master.server_pid();
    fs::write(&file, "").unwrap();
    // Whatever makes a line of the log: here a link that is gone.
    wait_ok(LIMIT, "three panics", || {
        let _ = master.redis(&["CLIENT", "KILL", "TYPE", "normal"]);
        // Every probe is answered meanwhile, and by what is so.
        let seen = lines(master).unwrap();
        assert!(seen[0].starts_with("live: the server answered OK"), "{seen:?}");
        assert!(seen[1].starts_with("ready: a master, cluster_state is ok"), "{seen:?}");
        let count = restarts(master);
        if count >= 3 { Ok(()) } else { Err(format!("{count} restarts")) }
    });
    wait_ok(LIMIT, "an answer over a panic", || answer_over_a_panic(master));
    // A refused login is a line of the log before it is told to the probes: it never is now, so
    // readiness is in doubt after a while, and nothing is proven against the server.
    let master = &mut fleet.pods[0];
    master.redis(&["CONFIG", "SET", "requirepass", "new"]).unwrap();
    master.access.password = Some("new".to_owned());
    master.redis(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    let doubt = "not ready: the keeper last looked ";
    wait_says(master, ["live: the server answered OK", doubt, "started: "]);
    fs::remove_file(&file).unwrap();
    let refused = "not ready: our login is refused: NOAUTH";
    wait_says(master, ["live: the server answered NOAUTH", refused, "started: "]);
    master.redis(&["CONFIG", "SET", "requirepass", ""]).unwrap();
    master.access.password = None;
    wait_says(master, WELL);
    assert_eq!(master.server_pid(), child, "the server was started once");
    let metrics = master.http("/metrics").unwrap().body;
    let counted = format!("rejoin_agent_restarts_total {}", restarts(master));
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    assert!(master.log().contains("the keeper panicked; starting it again"));
    // The loop goes on: a member that moves is met again.
    fleet.pods[1].kill();
    fleet.swap_address(1);
    fleet.pods[1].start();
    fleet.wait_whole(LIMIT);
}
