//! What can be done to pods, and what of it may be done at once. Pure.

use std::fmt;
use std::time::Duration;

use crate::support::rng::Rng;

use super::stage::Setup;

/// The kinds of faults. Each is done to some pods and ends after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The server is killed; the container starts again in place.
    ServerKilled,
    /// Everything in the pod is killed; it comes back on another address.
    PodKilled,
    /// SIGTERM; the pod comes back on another address.
    PodStopped,
    /// The pod is killed with its node: nobody hears of it. It comes back on another address.
    NodeLost,
    /// Two pods are killed, and come back on each other's addresses.
    Swapped,
    /// The pod comes back on another address without its volume.
    VolumeEmptied,
    /// The server is stopped (SIGSTOP), and goes on.
    ServerFrozen,
    /// Everything in the pod is stopped, and goes on.
    PodFrozen,
    /// The pods and the others do not reach each other.
    CutOff,
    /// The others do not hear the pods, which hear them.
    Mute,
    /// The pods reach nobody at all, the name service included.
    Unplugged,
    /// The name service does not answer anybody.
    NamesSilent,
    /// The name service fails.
    NamesFail,
}

const KINDS: [Kind; 13] = [
    Kind::ServerKilled,
    Kind::PodKilled,
    Kind::PodStopped,
    Kind::NodeLost,
    Kind::Swapped,
    Kind::VolumeEmptied,
    Kind::ServerFrozen,
    Kind::PodFrozen,
    Kind::CutOff,
    Kind::Mute,
    Kind::Unplugged,
    Kind::NamesSilent,
    Kind::NamesFail,
];

impl Kind {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::ServerKilled => "server killed",
            Kind::PodKilled => "pod killed, new address",
            Kind::PodStopped => "pod stopped, new address",
            Kind::NodeLost => "node lost, new address",
            Kind::Swapped => "addresses swapped",
            Kind::VolumeEmptied => "volume emptied",
            Kind::ServerFrozen => "server frozen",
            Kind::PodFrozen => "pod frozen",
            Kind::CutOff => "cut off",
            Kind::Mute => "not heard",
            Kind::Unplugged => "unplugged",
            Kind::NamesSilent => "names silent",
            Kind::NamesFail => "names fail",
        }
    }

    /// Whether the pod is gone, and another of its name comes in its place.
    pub fn is_new_pod(self) -> bool {
        matches!(self, Kind::PodKilled | Kind::PodStopped | Kind::Swapped | Kind::VolumeEmptied)
    }

    /// Whether the server ends.
    fn ends_server(self) -> bool {
        self.is_new_pod() || matches!(self, Kind::ServerKilled | Kind::NodeLost)
    }

    fn is_about_names(self) -> bool {
        matches!(self, Kind::NamesSilent | Kind::NamesFail)
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is done.
    pub kind: Kind,
    /// To whom, by ordinals.
    pub pods: Vec<usize>,
    /// For how long.
    pub time: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, time) = (self.kind.name(), self.time.as_secs_f64());
        write!(f, "{name} {:?} for {time:.1} s", self.pods)
    }
}

impl Fault {
    /// One or two faults of different pods that may be done at once. `shards` has the ordinals of
    /// each shard, the master's first.
    pub fn draw(rng: &mut Rng, shards: &[Vec<usize>], setup: &Setup) -> Vec<Fault> {
        loop {
            let first = Self::any(rng, shards, setup);
            // Names alone would be a dull round: nobody asks for them.
            let alone = !first.kind.is_about_names() && !rng.one_in(3);
            let second = (!alone).then(|| Self::any(rng, shards, setup));
            let faults: Vec<Fault> = std::iter::once(first).chain(second).collect();
            if may_be(&faults, shards, setup) {
                return faults;
            }
        }
    }

    fn any(rng: &mut Rng, shards: &[Vec<usize>], setup: &Setup) -> Fault {
        let kind = KINDS[rng.below(KINDS.len())];
        let all: usize = shards.iter().map(Vec::len).sum();
        let count = match kind {
            kind if kind.is_about_names() => 0,
            Kind::Swapped => 2,
            // Nobody is cut off from nobody.
            Kind::CutOff | Kind::Mute => [1, 1, 2, all / 2][rng.below(4)],
            _ => [1, 1, 1, 2, all / 2, all][rng.below(6)],
        };
        let mut left: Vec<usize> = (0..all).collect();
        let mut pods: Vec<usize> =
            (0..count).map(|_| left.swap_remove(rng.below(left.len()))).collect();
        pods.sort_unstable();
        let timeouts = [0.0, 0.3, 0.9, 1.5, 3.0][rng.below(5)];
        Fault { kind, pods, time: setup.node_timeout.mul_f64(timeouts) }
    }
}

/// Whether these may be done at once: to different pods, and so that what is lost has an untouched
/// copy and can be taken over by a majority.
fn may_be(faults: &[Fault], shards: &[Vec<usize>], setup: &Setup) -> bool {
    let touched = || faults.iter().flat_map(|fault| fault.pods.iter().copied());
    let mut pods: Vec<usize> = touched().collect();
    pods.sort_unstable();
    let twice = pods.windows(2).any(|pair| pair[0] == pair[1])
        || (faults.len() > 1 && faults.iter().all(|fault| fault.kind.is_about_names()));
    let emptied: Vec<usize> = faults
        .iter()
        .filter(|fault| fault.kind == Kind::VolumeEmptied)
        .flat_map(|fault| fault.pods.iter().copied())
        .collect();
    // Without `REJOIN_SHARDS` nobody joins a cluster.
    if twice || (setup.drop_in && !emptied.is_empty()) {
        return false;
    }
    let loses = |pod: usize| {
        emptied.contains(&pod)
            || (setup.in_memory
                && faults.iter().any(|fault| fault.kind.ends_server() && fault.pods.contains(&pod)))
    };
    let spared = shards.iter().all(|shard| {
        !shard.iter().any(|pod| loses(*pod))
            || shard.iter().any(|pod| !touched().any(|other| other == *pod))
    });
    let masters = shards.iter().filter(|shard| emptied.contains(&shard[0])).count();
    spared && masters * 2 < shards.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_drawn_spare_a_copy_of_every_shard() {
        let shards = [vec![0, 3], vec![4, 1], vec![2, 5]];
        for seed in 0..2000 {
            let mut rng = Rng::new(seed);
            let setup = Setup::draw(&mut rng);
            let faults = Fault::draw(&mut rng, &shards, &setup);
            let lost = |pod: &usize| {
                faults.iter().any(|fault| {
                    let loses = fault.kind == Kind::VolumeEmptied
                        || (setup.in_memory && fault.kind.ends_server());
                    loses && fault.pods.contains(pod)
                })
            };
            assert!(!shards.iter().any(|shard| shard.iter().all(lost)), "{faults:?}");
        }
    }
}
