//! The three verdicts. Pure.

use std::time::{Duration, Instant};

use super::{Answer, Membership, Observation, Phase, Role, SILENT_ATTEMPTS, Silence, Verdict};

/// Longest part of a server's or resolver's line that a reason repeats, in characters.
const QUOTED_MAX: usize = 400;

/// Whether the pod is alive: fails on proof only, which is that a running server has answered
/// nothing at all to [`SILENT_ATTEMPTS`] attempts over more than `bound`.
///
/// - Not started yet: alive; what is waited for has bounds of its own.
/// - Any reply, errors included: alive.
/// - Leaving: alive. A server that saves on its way out answers nothing for as long as the disk
///   takes, and to kill it then would lose what it saves; the pod's grace period bounds it.
/// - A keeper that no longer looks proves nothing: silence is counted up to its last look.
pub fn live(seen: &Observation, now: Instant, bound: Duration) -> Verdict {
    let verdict = |ok, why: &str| verdict("live", ok, why);
    match &seen.phase {
        Phase::Waiting(why) => return verdict(true, &format!("the server waits: {why}")),
        Phase::Leaving(since) => {
            return verdict(true, &format!("leaving since {}", age(now, *since)));
        }
        Phase::Running(_) => {}
    }
    if let Some(why) = &seen.unasked {
        return verdict(true, &format!("the server could not be asked: {why}"));
    }
    if let Some(silence) = &seen.silent {
        let length = seen.written.saturating_duration_since(silence.since);
        let proven = length > bound && silence.attempts >= SILENT_ATTEMPTS;
        return verdict(!proven, &no_answer(silence, now));
    }
    match answer(seen) {
        Some((at, answer)) => {
            verdict(true, &format!("the server answered {} {} ago", name(answer), age(now, at)))
        }
        None => verdict(true, "the server was started and has not been asked yet"),
    }
}

/// Whether the pod may get traffic, and the next pod may be started: fails on doubt, which is
/// also when the observation or the last answer is older than `stale`.
///
/// A member's cluster state need only have been ok once since the server's start: the failure of
/// another shard does not make this pod unready. A pod that only waits for others to appear is
/// ready, or they never would under the `OrderedReady` policy.
pub fn ready(seen: &Observation, now: Instant, stale: Duration) -> Verdict {
    match readiness(seen, now, stale) {
        Ok(why) => verdict("ready", true, &why),
        Err(why) => verdict("ready", false, &why),
    }
}

/// Whether the server has started: it has answered anything at all, `LOADING` included.
pub fn startup(seen: &Observation, now: Instant) -> Verdict {
    let verdict = |ok, why: &str| verdict("started", ok, why);
    if let Phase::Waiting(why) = &seen.phase {
        return verdict(false, &format!("the server waits: {why}"));
    }
    match (answer(seen), &seen.unasked, &seen.silent) {
        (Some((at, answer)), _, _) => {
            let (name, age) = (name(answer), age(now, at));
            verdict(true, &format!("the server answered {name}, last {age} ago"))
        }
        (None, Some(why), _) => verdict(false, &format!("the server could not be asked: {why}")),
        (None, None, Some(silence)) => verdict(false, &no_answer(silence, now)),
        (None, None, None) => verdict(false, "the server was started and has not been asked yet"),
    }
}

/// The reason for being ready, or for not being so.
fn readiness(seen: &Observation, now: Instant, stale: Duration) -> Result<String, String> {
    match &seen.phase {
        Phase::Leaving(since) => return Err(format!("leaving since {}", age(now, *since))),
        Phase::Waiting(why) => return Err(format!("the server waits: {why}")),
        Phase::Running(_) => {}
    }
    if now.saturating_duration_since(seen.written) > stale {
        return Err(format!("the keeper last looked {} ago", age(now, seen.written)));
    }
    if let Some(why) = &seen.unasked {
        return Err(format!("the server could not be asked: {why}"));
    }
    if let Some(silence) = &seen.silent {
        return Err(no_answer(silence, now));
    }
    let Some((at, answer)) = answer(seen) else {
        return Err("the server was started and has not been asked yet".to_owned());
    };
    if now.saturating_duration_since(at) > stale {
        return Err(format!("the server last answered {} ago", age(now, at)));
    }
    match answer {
        Answer::Ok => membership(seen),
        Answer::Loading => Err("the server answers LOADING: it reads its data set".to_owned()),
        Answer::Busy => Err("the server answers BUSY: a script runs".to_owned()),
        Answer::MasterDown => {
            Err("the server answers MASTERDOWN: a replica without its master".to_owned())
        }
        Answer::Refused(line) => Err(format!("our login is refused: {line}")),
        Answer::MaxClients => Err("the server has no room for another client".to_owned()),
        Answer::HungUp => {
            Err("the server closes our connections at once; has it too many clients?".to_owned())
        }
        Answer::Other(line) => Err(format!("the server answers an error: {line}")),
        Answer::NoTls(why) => Err(format!("no TLS with the server: {why}")),
        Answer::Strange(what) => Err(format!("the server's answer is not understood: {what}")),
    }
}

/// The part of readiness that a pod's place in the cluster decides.
fn membership(seen: &Observation) -> Result<String, String> {
    match &seen.membership {
        Membership::AwaitingPeers(what) => return Ok(format!("waits for other pods: {what}")),
        Membership::Pending(why) => return Err(format!("not a member yet: {why}")),
        Membership::Member if !seen.state_ok_once => {
            return Err("cluster_state is fail; has not been ok since the start".to_owned());
        }
        Membership::Member | Membership::NotWanted => {}
    }
    let role = match &seen.role {
        None => return Err("the role is not known yet".to_owned()),
        Some(Role::Master) => "master",
        Some(Role::Replica { synced_once: false, .. }) => {
            return Err("a replica whose first sync has not finished".to_owned());
        }
        Some(Role::Replica { link_up: false, .. }) => {
            return Err("a replica whose link to its master is down".to_owned());
        }
        Some(Role::Replica { .. }) => "replica",
    };
    Ok(match (&seen.membership, seen.state_ok) {
        (Membership::NotWanted, _) => format!("a {role}, and not to be made a member of a cluster"),
        (_, true) => format!("a {role}, cluster_state is ok"),
        (_, false) => format!("a {role}; cluster_state is fail, but was ok since the start"),
    })
}

/// The last answer, unless it is from before the server was started.
fn answer(seen: &Observation) -> Option<(Instant, &Answer)> {
    let (at, answer) = seen.last_answer.as_ref()?;
    match seen.phase {
        Phase::Running(started) if *at < started => None,
        _ => Some((*at, answer)),
    }
}

/// The first word of the reply, as the server spells it.
fn name(answer: &Answer) -> &str {
    match answer {
        Answer::Ok => "OK",
        Answer::Loading => "LOADING",
        Answer::Busy => "BUSY",
        Answer::MasterDown => "MASTERDOWN",
        Answer::MaxClients => "max number of clients reached",
        Answer::HungUp => "by closing the connection",
        Answer::NoTls(_) => "without TLS",
        Answer::Strange(_) => "what is not understood",
        Answer::Refused(line) | Answer::Other(line) => {
            line.split_whitespace().next().unwrap_or("an error")
        }
    }
}

fn no_answer(silence: &Silence, now: Instant) -> String {
    let attempts = match silence.attempts {
        1 => "1 attempt".to_owned(),
        many => format!("{many} attempts"),
    };
    format!("no answer for {} in {attempts}: {}", age(now, silence.since), silence.error)
}

/// How long ago, for a reader: tenths of a second below a minute, whole seconds above.
fn age(now: Instant, then: Instant) -> String {
    let age = now.saturating_duration_since(then);
    if age < Duration::from_secs(60) {
        format!("{:.1} s", age.as_secs_f64())
    } else {
        format!("{} s", age.as_secs())
    }
}

fn verdict(word: &str, ok: bool, why: &str) -> Verdict {
    let not = if ok { "" } else { "not " };
    Verdict { ok, reason: format!("{not}{word}: {}", one_line(why)) }
}

/// `text` as one bounded line without control characters: it may hold what others have sent.
fn one_line(text: &str) -> String {
    let mut line: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(QUOTED_MAX)
        .collect();
    if text.trim().chars().count() > QUOTED_MAX {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests;
