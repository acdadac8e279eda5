//! Each state of the pod, and the three lines that its probes answer.

use super::*;
use crate::health::{SILENCE_BOUND, STALE_BOUND};

/// A moment with `Duration`s before it to spare.
fn now() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

fn ago(now: Instant, seconds: f64) -> Instant {
    now - Duration::from_secs_f64(seconds)
}

/// A member of a healthy cluster, a master, started 100 s ago and looked at now.
fn fine(now: Instant) -> Observation {
    Observation {
        cluster_enabled: true,
        last_answer: Some((ago(now, 0.4), Answer::Ok)),
        role: Some(Role::Master),
        state_ok: true,
        state_ok_once: true,
        membership: Membership::Member,
        ..Observation::unknown(now, Phase::Running(ago(now, 100.0)))
    }
}

/// Checks the three lines of what `change` makes of [`fine`].
#[track_caller]
fn says(change: impl Fn(&mut Observation, Instant), expected: [&str; 3]) {
    let now = now();
    let mut seen = fine(now);
    change(&mut seen, now);
    let verdicts =
        [live(&seen, now, SILENCE_BOUND), ready(&seen, now, STALE_BOUND), startup(&seen, now)];
    for (verdict, expected) in verdicts.iter().zip(expected) {
        assert_eq!(verdict.reason, expected);
        assert_eq!(verdict.ok, !expected.starts_with("not "), "{expected}");
    }
}

/// A server that gives `answer`: alive and started, as `named`; and whether ready, in `line`.
#[track_caller]
fn answers(answer: Answer, named: &str, line: &str) {
    says(
        |seen, now| seen.last_answer = Some((ago(now, 0.4), answer.clone())),
        [
            &format!("live: the server answered {named} 0.4 s ago"),
            line,
            &format!("started: the server answered {named}, last 0.4 s ago"),
        ],
    );
}

/// What readiness says of what `change` makes of [`fine`].
#[track_caller]
fn readiness_is(change: impl Fn(&mut Observation, Instant), expected: &str) {
    let now = now();
    let mut seen = fine(now);
    change(&mut seen, now);
    let verdict = ready(&seen, now, STALE_BOUND);
    assert_eq!(verdict.reason, expected);
    assert_eq!(verdict.ok, !expected.starts_with("not "), "{expected}");
}

fn silence(now: Instant, seconds: f64, attempts: u32) -> Option<Silence> {
    let error = "connection refused".to_owned();
    Some(Silence { since: ago(now, seconds), attempts, error })
}

#[test]
fn every_reply_proves_life_and_only_an_ordinary_one_readiness() {
    answers(Answer::Ok, "OK", "ready: a master, cluster_state is ok");
    let loading = "not ready: the server answers LOADING: it reads its data set";
    answers(Answer::Loading, "LOADING", loading);
    answers(Answer::Busy, "BUSY", "not ready: the server answers BUSY: a script runs");
    let down = "not ready: the server answers MASTERDOWN: a replica without its master";
    answers(Answer::MasterDown, "MASTERDOWN", down);
    let full = "not ready: the server has no room for another client";
    answers(Answer::MaxClients, "max number of clients reached", full);
    for line in ["NOAUTH Authentication required.", "WRONGPASS invalid", "NOPERM no rights"] {
        let word = line.split(' ').next().unwrap();
        let refused = format!("not ready: our login is refused: {line}");
        answers(Answer::Refused(line.to_owned()), word, &refused);
    }
    let no_tls = "not ready: no TLS with the server: its certificate has expired (x)";
    answers(Answer::NoTls("its certificate has expired (x)".to_owned()), "without TLS", no_tls);
    let other = "not ready: the server answers an error: MISCONF Redis is configured";
    answers(Answer::Other("MISCONF Redis is configured".to_owned()), "MISCONF", other);
}

#[test]
fn server_not_started_yet_is_alive_and_not_ready() {
    says(
        |seen, _| seen.phase = Phase::Waiting("redis-3 is to be promoted first".to_owned()),
        [
            "live: the server waits: redis-3 is to be promoted first",
            "not ready: the server waits: redis-3 is to be promoted first",
            "not started: the server waits: redis-3 is to be promoted first",
        ],
    );
}

#[test]
fn server_just_started_is_alive_and_not_ready() {
    let not_asked = "the server was started and has not been asked yet";
    says(
        |seen, _| seen.last_answer = None,
        [
            &format!("live: {not_asked}"),
            &format!("not ready: {not_asked}"),
            &format!("not started: {not_asked}"),
        ],
    );
}

#[test]
fn answer_from_before_the_start_counts_as_none() {
    says(
        |seen, now| {
            seen.last_answer = Some((ago(now, 101.0), Answer::Ok));
            seen.silent = silence(now, 0.1, 1);
        },
        [
            "live: no answer for 0.1 s in 1 attempt: connection refused",
            "not ready: no answer for 0.1 s in 1 attempt: connection refused",
            "not started: no answer for 0.1 s in 1 attempt: connection refused",
        ],
    );
}

#[test]
fn silence_is_doubt_at_once_and_proof_beyond_the_bound() {
    let started = "started: the server answered OK, last 0.4 s ago";
    for (seconds, is_dead) in [(29.9, ""), (30.0, ""), (30.1, "not ")] {
        let why = format!("no answer for {seconds:.1} s in 9 attempts: connection refused");
        says(
            |seen, now| seen.silent = silence(now, seconds, 9),
            [&format!("{is_dead}live: {why}"), &format!("not ready: {why}"), started],
        );
    }
}

#[test]
fn long_silence_of_too_few_attempts_is_no_proof() {
    // The whole pod was frozen in the middle of an attempt, and is awake again.
    let now = now();
    for (attempts, ok) in [(1, true), (2, true), (SILENT_ATTEMPTS, false)] {
        let seen = Observation { silent: silence(now, 600.0, attempts), ..fine(now) };
        assert_eq!(live(&seen, now, SILENCE_BOUND).ok, ok, "{attempts}");
    }
}

#[test]
fn keeper_that_stopped_looking_is_doubt_and_no_proof() {
    let now = now();
    let seen = Observation {
        written: ago(now, 100.0),
        last_answer: Some((ago(now, 110.0), Answer::Ok)),
        silent: silence(now, 110.0, 9),
        ..fine(now)
    };
    let seen = Observation { phase: Phase::Running(ago(now, 200.0)), ..seen };
    assert!(live(&seen, now, SILENCE_BOUND).ok);
    let verdict = ready(&seen, now, STALE_BOUND);
    assert_eq!(verdict.reason, "not ready: the keeper last looked 100 s ago");
}

#[test]
fn old_observation_and_old_answer_are_doubt() {
    let old = "not ready: the keeper last looked 21.0 s ago";
    readiness_is(|seen, now| seen.written = ago(now, 21.0), old);
    let old = "not ready: the server last answered 21.0 s ago";
    readiness_is(|seen, now| seen.last_answer = Some((ago(now, 21.0), Answer::Ok)), old);
    let fresh = "ready: a master, cluster_state is ok";
    readiness_is(|seen, now| seen.last_answer = Some((ago(now, 19.0), Answer::Ok)), fresh);
}

#[test]
fn leaving_is_alive_and_not_ready_whatever_else_is_seen() {
    // A server that saves its data on the way out answers nothing for minutes.
    says(
        |seen, now| {
            seen.phase = Phase::Leaving(ago(now, 65.2));
            seen.silent = silence(now, 60.0, 20);
        },
        [
            "live: leaving since 65 s",
            "not ready: leaving since 65 s",
            "started: the server answered OK, last 0.4 s ago",
        ],
    );
}

#[test]
fn failure_of_another_shard_does_not_make_a_pod_unready() {
    let line = "ready: a master; cluster_state is fail, but was ok since the start";
    readiness_is(|seen, _| seen.state_ok = false, line);
}

#[test]
fn member_is_not_ready_before_the_cluster_state_was_ok() {
    let line = "not ready: cluster_state is fail; has not been ok since the start";
    readiness_is(|seen, _| (seen.state_ok, seen.state_ok_once) = (false, false), line);
}

#[test]
fn fresh_pod_is_ready_only_where_it_waits_for_others_to_appear() {
    let awaiting = Membership::AwaitingPeers("3 of 6 pods are there".to_owned());
    readiness_is(
        |seen, _| {
            seen.membership = awaiting.clone();
            (seen.state_ok, seen.state_ok_once, seen.role) = (false, false, None);
        },
        "ready: waits for other pods: 3 of 6 pods are there",
    );
    readiness_is(
        |seen, _| seen.membership = Membership::Pending("the resolver fails".to_owned()),
        "not ready: not a member yet: the resolver fails",
    );
}

#[test]
fn pod_that_is_not_to_be_a_member_needs_no_cluster_state() {
    readiness_is(
        |seen, _| {
            seen.membership = Membership::NotWanted;
            (seen.state_ok, seen.state_ok_once) = (false, false);
        },
        "ready: a master, and not to be made a member of a cluster",
    );
}

#[test]
fn replica_is_ready_once_synced_and_linked() {
    let cases = [
        ((false, false), "not ready: a replica whose first sync has not finished"),
        ((true, false), "not ready: a replica whose first sync has not finished"),
        ((false, true), "not ready: a replica whose link to its master is down"),
        ((true, true), "ready: a replica, cluster_state is ok"),
    ];
    for ((link_up, synced_once), line) in cases {
        readiness_is(|seen, _| seen.role = Some(Role::Replica { link_up, synced_once }), line);
    }
    readiness_is(|seen, _| seen.role = None, "not ready: the role is not known yet");
}

#[test]
fn reason_is_one_bounded_line_whatever_the_server_says() {
    let now = now();
    let line = format!("ERR \x1b[31m first\r\nsecond\n{}", "x".repeat(10_000));
    let seen = Observation { last_answer: Some((ago(now, 0.4), Answer::Other(line))), ..fine(now) };
    let reason = ready(&seen, now, STALE_BOUND).reason;
    assert!(!reason.contains(char::is_control), "{reason:?}");
    assert!(reason.chars().count() < QUOTED_MAX + 20, "{reason}");
}

#[test]
fn server_that_hangs_up_is_alive() {
    answers(
        Answer::HungUp,
        "by closing the connection",
        "not ready: the server closes our connections at once; has it too many clients?",
    );
}

#[test]
fn server_that_is_not_understood_is_alive() {
    answers(
        Answer::Strange("it says x".to_owned()),
        "what is not understood",
        "not ready: the server's answer is not understood: it says x",
    );
}

#[test]
fn fault_of_our_own_says_nothing_about_the_server() {
    let why = "the server could not be asked: cannot read the password file /f";
    let unasked = |seen: &mut Observation| {
        seen.unasked = Some("cannot read the password file /f".to_owned());
    };
    says(
        |seen, _| unasked(seen),
        [
            &format!("live: {why}"),
            &format!("not ready: {why}"),
            "started: the server answered OK, last 0.4 s ago",
        ],
    );
    says(
        |seen, _| {
            unasked(seen);
            seen.last_answer = None;
        },
        [&format!("live: {why}"), &format!("not ready: {why}"), &format!("not started: {why}")],
    );
}
