//! Does what the plan says, on the own server only.
//!
//! Each precondition that can be checked is checked again right before: the id that is to be met
//! must answer there at that moment. What fails is said, and left to the next round.

use futures_util::future::join_all;

use crate::nodes_conf::{NodeId, SlotRange};
use crate::redis::Failure;

use super::observe::{NoFailover, Observer};
use super::plan::{Step, still_takes_over};

/// What became of a step.
pub type Outcome = Result<(), String>;

/// Takes the steps in order; after one that fails and does not stand alone, the rest is left alone.
pub async fn act(observer: &mut Observer, steps: &[Step]) -> Vec<(Step, Outcome)> {
    // What comes before all meetings does not wait for those who are to be met.
    let first = steps.iter().take_while(|step| !matches!(step, Step::Meet { .. })).count();
    let mut done = take_all(observer, &steps[..first], vec![Ok(()); first]).await;
    let failed = done.last().is_some_and(|(step, done)| done.is_err() && !step.stands_alone());
    if !failed && first < steps.len() {
        let present = answering(observer, &steps[first..]).await;
        done.extend(take_all(observer, &steps[first..], present).await);
    }
    done
}

async fn take_all(
    observer: &mut Observer,
    steps: &[Step],
    present: Vec<Outcome>,
) -> Vec<(Step, Outcome)> {
    let mut done = Vec::new();
    for (step, present) in steps.iter().zip(present) {
        let outcome = match present {
            Ok(()) => take(observer, step).await.map_err(|failure| failure.to_string()),
            Err(why) => Err(why),
        };
        let go_on = outcome.is_ok() || step.stands_alone();
        done.push((step.clone(), outcome));
        if !go_on {
            break;
        }
    }
    done
}

/// For each step, whether whom it meets answers there right now; all are asked at once.
async fn answering(observer: &Observer, steps: &[Step]) -> Vec<Outcome> {
    join_all(steps.iter().map(|step| async {
        let Step::Meet { id, asked_at, .. } = step else { return Ok(()) };
        match observer.id_at(*asked_at).await {
            Ok(found) if found == *id => Ok(()),
            Ok(found) => Err(format!("{found} answers there now")),
            Err(failure) => Err(failure.to_string()),
        }
    }))
    .await
}

async fn take(observer: &mut Observer, step: &Step) -> Result<(), Failure> {
    match step {
        Step::SetEpoch(epoch) => {
            observer.cluster_own(&["SET-CONFIG-EPOCH", &epoch.to_string()]).await?;
        }
        Step::AddSlots(range) => add_slots(observer, *range).await?,
        Step::Meet { at, bus_port, .. } => {
            let (ip, port) = (at.ip().to_string(), at.port().to_string());
            observer.cluster_own(&["MEET", &ip, &port, &bus_port.to_string()]).await?;
        }
        Step::Replicate { master, .. } => one_id(observer, "REPLICATE", *master).await?,
        Step::Forget(id) => one_id(observer, "FORGET", *id).await?,
        Step::GiveUp(lost) => one_id(observer, "FORGET", lost.owner).await?,
        Step::BumpEpoch => _ = observer.cluster_own(&["BUMPEPOCH"]).await?,
        Step::KeepBack { .. } => observer.set_no_failover(NoFailover::Yes).await?,
        Step::LetStand => observer.set_no_failover(NoFailover::No).await?,
        Step::TakeOver { master, stream } => take_over(observer, *master, stream).await?,
        Step::TakeHome { .. } => _ = observer.cluster_own(&["FAILOVER"]).await?,
    }
    Ok(())
}

/// `ADDSLOTS` rather than `ADDSLOTSRANGE`, which only Redis 7.0 and later have. The server takes
/// all of the slots or, where one is owned already, none.
async fn add_slots(observer: &mut Observer, range: SlotRange) -> Result<(), Failure> {
    let slots: Vec<String> = (range.first..=range.last).map(|slot| slot.to_string()).collect();
    let words: Vec<&str> =
        std::iter::once("ADDSLOTS").chain(slots.iter().map(String::as_str)).collect();
    observer.cluster_own(&words).await.map(|_| ())
}

/// `FORCE` does without the rules by which Redis keeps others from standing for election, so what
/// may have changed since the look is looked at again: a ping of the master has given its address
/// back, or a copy of somebody else's data has begun.
async fn take_over(observer: &mut Observer, master: NodeId, stream: &str) -> Result<(), Failure> {
    if !still_takes_over(&observer.own().await?, master, stream) {
        let why = "its master is back, or its data is no longer its master's";
        return Err(Failure::Ours(why.to_owned()));
    }
    observer.cluster_own(&["FAILOVER", "FORCE"]).await.map(|_| ())
}

async fn one_id(observer: &mut Observer, command: &str, id: NodeId) -> Result<(), Failure> {
    observer.cluster_own(&[command, &id.to_string()]).await.map(|_| ())
}
