//! Something is wrong, before the replica takes over or while it does.

use std::fs;

use super::*;
use crate::healing::kept_back;
use crate::support::left_out::left_out;
use crate::support::process::{rest, send};
use crate::support::server::{any_server, servers};

/// A cluster in which votes are asked for and never come: both other masters hang, and nobody has
/// noticed yet. So whoever is told to take over is busy with that for five seconds.
fn without_votes(server: &Server) -> (Fleet, usize) {
    let fleet = started(&Recipe { node_timeout: Duration::from_secs(60), ..recipe(server, 3) });
    let successor = replica_of(&fleet, 0);
    send_to_voters(&fleet, Signal::SIGSTOP);
    (fleet, successor)
}

fn send_to_voters(fleet: &Fleet, signal: Signal) {
    for master in [1, 2] {
        send(fleet.pods[master].server_pid().unwrap(), signal);
    }
}

#[test]
fn replica_that_hangs_is_passed_over_for_another() {
    let mut fleet = one_shard(&any_server(), 2);
    let hung = fleet.pods[1].server_pid().unwrap();
    send(hung, Signal::SIGSTOP);
    fleet.pods[0].signal(Signal::SIGTERM);
    wait_role(&fleet.pods[2], "master");
    send(hung, Signal::SIGCONT);
    assert!(fleet.pods[0].wait_exit(LIMIT).success());
    assert_says(&fleet.pods[0], "has taken over: ");
}

/// The file, or since 7.0 the directory.
fn lose_append_only_file(pod: &Pod) {
    let data = pod.data();
    fs::remove_dir_all(data.join("appendonlydir"))
        .or_else(|_| fs::remove_file(data.join("appendonly.aof")))
        .expect("it appends to a file");
}

#[test]
fn replica_that_still_syncs_is_waited_for() {
    let mut recipe = Recipe { node_timeout: PATIENT, ..recipe(&any_server(), 1) };
    recipe.conf.push("repl-diskless-sync yes\nrepl-diskless-sync-delay 2".to_owned());
    let mut fleet = started(&recipe);
    fleet.pods[1].kill();
    lose_append_only_file(&fleet.pods[1]);
    fleet.pods[1].start();
    wait_ok(LIMIT, "a sync", || {
        let info = ["INFO", "replication"];
        let state = fleet.pods[0].field(&info, "slave0")?;
        if state.contains("state=wait_bgsave") { Ok(()) } else { Err(state) }
    });
    assert!(stop(&mut fleet.pods[0]).0.success());
    assert_says(&fleet.pods[0], "waits with the hand-over: ");
    assert_says(&fleet.pods[0], "has taken over: ");
    wait_role(&fleet.pods[1], "master");
}

#[test]
fn replica_that_reads_its_data_set_is_waited_for() {
    if !any_server().is_at_least((7, 0)) {
        return left_out("a replica that loads slowly: no server can be made to before 7.0");
    }
    let mut fleet = one_shard(&any_server(), 1);
    let fill = "for i = 1, 30000 do redis.call('set', '{a}' .. i, i) end";
    fleet.pods[0].redis(&["EVAL", fill, "0"]).unwrap();
    fleet.pods[1].kill();
    lose_append_only_file(&fleet.pods[1]);
    // Several seconds, in which it answers after every kilobyte; they end once it was waited for.
    let slow = "key-load-delay 300\nloading-process-events-interval-bytes 1024";
    fleet.pods[1].conf.push(slow.to_owned());
    fleet.pods[1].start();
    wait_ok(LIMIT, "the replica to load", || {
        let loading = fleet.pods[1].field(&["INFO", "persistence"], "loading")?;
        if loading == "1" { Ok(()) } else { Err(loading) }
    });
    fleet.pods[0].signal(Signal::SIGTERM);
    // Valkey 9 says meanwhile what it knows of the cluster, and that its link is down.
    let waits = ["still reads its data set", "has no link to this node, or still syncs"]
        .map(|why| format!("waits with the hand-over: {why}"));
    wait_ok(LIMIT, "the replica to be waited for", || {
        let log = fleet.pods[0].log();
        if waits.iter().any(|it| log.contains(it)) { Ok(()) } else { Err(last_lines(&log)) }
    });
    fleet.pods[1].redis(&["CONFIG", "SET", "key-load-delay", "0"]).unwrap();
    assert!(fleet.pods[0].wait_exit(LIMIT).success());
    assert_says(&fleet.pods[0], "has taken over: ");
    assert_eq!(role(&fleet.pods[1]).unwrap(), "master");
    assert_eq!(fleet.pods[1].text(&["DBSIZE"]).unwrap(), "30000");
}

#[test]
fn refusal_is_said_and_another_is_told() {
    for server in servers() {
        if !server.is_at_least((7, 0)) {
            left_out("a refusal of the hand-over: rights on subcommands are new in 7.0");
            continue;
        }
        let mut fleet = one_shard(&server, 2);
        // Whom rejoin logs in as: a user of its own where all is locked down.
        let user = if fleet.pods[1].access.tls { "keeper" } else { "default" };
        let forbid = ["ACL", "SETUSER", user, "-cluster|failover"];
        fleet.pods[1].redis(&forbid).unwrap();
        assert!(stop(&mut fleet.pods[0]).0.success());
        wait_role(&fleet.pods[2], "master");
        assert_eq!(role(&fleet.pods[1]).unwrap(), "slave");
        // Only one is left, and will not.
        fleet.pods[1].redis(&forbid).unwrap();
        wait_ok(LIMIT, "a replica in sync", || {
            let host = fleet.pods[1].field(&["INFO", "replication"], "master_host")?;
            let link = fleet.pods[1].field(&["INFO", "replication"], "master_link_status")?;
            let synced = host == fleet.pods[2].ip.to_string() && link == "up";
            if synced && replicas_of(&fleet, 2).contains(&1) {
                Ok(())
            } else {
                Err(format!("{host}: {link}"))
            }
        });
        assert!(stop(&mut fleet.pods[2]).0.success());
        assert_says(&fleet.pods[2], "has not taken over: it refused: NOPERM");
        assert_says(&fleet.pods[2], "leaves without a hand-over: ");
    }
}

#[test]
fn replica_that_dies_while_it_takes_over_is_not_waited_for() {
    let (mut fleet, successor) = without_votes(&any_server());
    fleet.pods[0].signal(Signal::SIGTERM);
    wait_says(&fleet.pods[0], "hands its slots over to ");
    fleet.pods[successor].kill();
    assert!(fleet.pods[0].wait_exit(LIMIT).success());
    assert_says(&fleet.pods[0], "has not taken over: it has ended: ");
}

#[test]
fn replica_that_is_never_elected_is_given_up() {
    let (mut fleet, successor) = without_votes(&any_server());
    assert!(stop(&mut fleet.pods[0]).0.success());
    assert_says(&fleet.pods[0], "has not taken over: not within ");
    assert_says(&fleet.pods[0], "leaves without a hand-over: ");
    assert_eq!(role(&fleet.pods[successor]).unwrap(), "slave");
}

#[test]
fn limit_bounds_a_hand_over_that_does_not_end() {
    let (mut fleet, _) = without_votes(&any_server());
    fleet.pods[0].stop();
    fleet.pods[0].env.insert("REJOIN_HANDOVER_TIMEOUT".to_owned(), "1s".to_owned());
    fleet.pods[0].start();
    fleet.pods[0].wait_answers(LIMIT);
    let successor = replica_of(&fleet, 0);
    wait_ok(LIMIT, "its replica", || {
        let replica = &fleet.pods[successor];
        let status = replica.field(&["INFO", "replication"], "master_link_status")?;
        // Since it has lost its link, for a moment.
        let kept = kept_back(replica)?;
        if status == "up" && !kept { Ok(()) } else { Err(format!("{status}, kept {kept}")) }
    });
    assert!(stop(&mut fleet.pods[0]).0.success());
    assert_says(&fleet.pods[0], "the hand-over has not ended within 1s: the signal passes");
}

/// The first one is dropped by then: a SIGINT on top of a SIGTERM would have Redis quit unsaved.
#[test]
fn second_signal_passes_at_once() {
    let (term, int) = (Signal::SIGTERM, Signal::SIGINT);
    for (first, second) in [(term, term), (term, int), (int, term)] {
        let (mut fleet, _) = without_votes(&any_server());
        fleet.pods[0].signal(first);
        wait_says(&fleet.pods[0], "hands its slots over to ");
        fleet.pods[0].signal(second);
        assert_eq!(fleet.pods[0].wait_exit(LIMIT).code(), Some(0), "{first} {second}");
        let log = fleet.pods[0].log();
        assert!(!log.contains("not within") && !log.contains("has taken over"), "{log}");
        let received: Vec<&str> = log.lines().filter(|it| it.contains("Received SIG")).collect();
        assert!(received.len() == 1 && received[0].contains(second.as_str()), "{received:?}");
    }
}

#[test]
fn server_that_hangs_itself_gets_the_signal_at_the_limit() {
    let mut recipe = Recipe { node_timeout: PATIENT, ..recipe(&any_server(), 1) };
    recipe.env.push(("REJOIN_HANDOVER_TIMEOUT".to_owned(), "2s".to_owned()));
    let mut fleet = started(&recipe);
    let server = fleet.pods[0].server_pid().unwrap();
    send(server, Signal::SIGSTOP);
    fleet.pods[0].signal(Signal::SIGTERM);
    wait_says(&fleet.pods[0], "the hand-over has not ended within 2s: the signal passes");
    send(server, Signal::SIGCONT);
    assert!(fleet.pods[0].wait_exit(LIMIT).success());
}

#[test]
fn failover_that_is_under_way_already_is_the_only_one() {
    in_every_version(|server| {
        let (mut fleet, successor) = without_votes(server);
        fleet.pods[successor].redis(&["CLUSTER", "FAILOVER"]).unwrap();
        wait_says(&fleet.pods[successor], "Starting a failover election");
        fleet.pods[0].signal(Signal::SIGTERM);
        wait_says(&fleet.pods[0], "hands its slots over to ");
        send_to_voters(&fleet, Signal::SIGCONT);
        assert!(fleet.pods[0].wait_exit(LIMIT).success());
        assert_says(&fleet.pods[0], "has taken over: ");
        assert_eq!(role(&fleet.pods[successor]).unwrap(), "master");
        fleet.pods[0].start();
        fleet.wait_whole(LIMIT);
        // Valkey asks for votes anew with the second order, for the next epoch.
        let won = |pod: &Pod| pod.log().matches("Failover election won").count();
        assert_eq!(fleet.pods.iter().map(won).sum::<usize>(), 1);
    });
}

#[test]
fn link_that_the_replica_has_just_dropped_costs_no_hand_over() {
    in_every_version(|server| {
        let mut fleet = formed(server);
        let successor = replica_of(&fleet, 0);
        // Whoever is met by a node that it knows drops the link that it had to it.
        let (ip, port) = (fleet.pods[0].ip.to_string(), fleet.pods[0].address().port().to_string());
        fleet.pods[successor].redis(&["CLUSTER", "MEET", &ip, &port]).unwrap();
        fleet.pods[0]
            .redis(&["CLUSTER", "MEET", &fleet.pods[successor].ip.to_string(), &port])
            .unwrap();
        rest(Duration::from_millis(100));
        assert!(stop(&mut fleet.pods[0]).0.success());
        assert_says(&fleet.pods[0], "has taken over: ");
    });
}

#[test]
fn master_whose_clients_are_full_hands_over() {
    in_every_version(|server| {
        let mut fleet = formed(server);
        fleet.pods[0].redis(&["CONFIG", "SET", "maxclients", "1"]).unwrap();
        wait_ok(LIMIT, "no room for another client", || match fleet.pods[0].text(&["PING"]) {
            Err(_) => Ok(()),
            Ok(other) => Err(other),
        });
        assert!(stop(&mut fleet.pods[0]).0.success());
        assert_says(&fleet.pods[0], "has taken over: ");
    });
}

#[test]
fn without_a_majority_nobody_is_told_to_take_over() {
    let mut fleet = formed(&any_server());
    let successor = replica_of(&fleet, 0);
    for ordinal in (1..6).filter(|ordinal| *ordinal != successor) {
        fleet.pods[ordinal].kill();
    }
    // A link shows as connected until its end has been read.
    wait_ok(LIMIT, "the successor to be alone with its master", || {
        let view = fleet.pods[successor].view()?;
        let linked = view.nodes.values().filter(|node| node.connected).count();
        if linked == 2 { Ok(()) } else { Err(format!("{linked} linked")) }
    });
    assert!(stop(&mut fleet.pods[0]).0.success());
    assert_says(&fleet.pods[0], "is linked to 1 of 3 masters, too few to elect it");
    assert!(!fleet.pods[0].log().contains("hands its slots over"));
    fleet.start_all();
    fleet.wait_whole(LIMIT);
    assert_keys(&fleet);
}
