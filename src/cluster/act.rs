//! Does what the plan says, on the own server only.
//!
//! Each precondition that can be checked is checked again right before: the id that is to be met
//! must answer there at that moment. What fails is said, and left to the next round.

use futures_util::future::join_all;

use crate::nodes_conf::{NodeId, SlotRange};
use crate::redis::Failure;

use super::observe::Observer;
use super::plan::Step;

/// What became of a step.
pub type Outcome = Result<(), String>;

/// Takes the steps in order; after one that fails, other than a MEET, the rest is left alone.
pub async fn act(observer: &mut Observer, steps: &[Step]) -> Vec<(Step, Outcome)> {
    let present = answering(observer, steps).await;
    let mut done = Vec::new();
    for (step, present) in steps.iter().zip(present) {
        let outcome = match present {
            Ok(()) => take(observer, step).await.map_err(|failure| failure.to_string()),
            Err(why) => Err(why),
        };
        let go_on = outcome.is_ok() || matches!(step, Step::Meet { .. });
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

async fn one_id(observer: &mut Observer, command: &str, id: NodeId) -> Result<(), Failure> {
    observer.cluster_own(&[command, &id.to_string()]).await.map(|_| ())
}
