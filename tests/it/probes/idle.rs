//! The probes answer from what was last seen: nobody makes the server work through them.

use super::{LIMIT, well};
use crate::support::pod::Pod;
use crate::support::server::any_server;
use crate::support::wait::wait_for;

/// How many commands the server was sent so far, and how many rounds the keeper has made.
fn commands_and_rounds(pod: &Pod) -> (u64, u64) {
    let metrics = pod.http("/metrics").unwrap().body;
    let rounds = metrics.lines().find_map(|line| line.strip_prefix("rejoin_keeper_rounds_total "));
    let commands = pod.field(&["INFO", "stats"], "total_commands_processed").unwrap();
    (commands.parse().unwrap(), rounds.unwrap().parse().unwrap())
}

#[test]
fn thousands_of_questions_to_the_probes_cost_the_server_no_command() {
    let fleet = well(&any_server());
    let pod = &fleet.pods[0];
    let before = commands_and_rounds(pod);
    const PATHS: [&str; 6] =
        ["/livez", "/readyz", "/startupz", "/metrics", "/status", "/status.txt"];
    for _ in 0..500 {
        for path in PATHS {
            assert_eq!(pod.http(path).unwrap().status, 200, "{path}");
        }
    }
    let after = commands_and_rounds(pod);
    // The keeper goes on meanwhile; a question that were passed on would cost thousands.
    let (commands, rounds) = (after.0 - before.0, after.1 - before.1);
    assert!(commands < 100 + 10 * rounds, "{commands} commands in {rounds} rounds");
    assert!(rounds < 250, "{rounds} rounds are too many to tell");
    wait_for(LIMIT, "another round", || commands_and_rounds(pod).1 > after.1);
}
