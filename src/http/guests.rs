//! The open connections: how many there may be, and who goes when there is no room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::IpAddr;

use tokio::task::{AbortHandle, JoinSet};

/// The open connections. Dropping them closes all.
#[derive(Debug)]
pub struct Guests {
    max: usize,
    /// How many came so far, which numbers them.
    came: u64,
    tasks: JoinSet<()>,
    /// By address, each with its number, oldest first. Finished ones are forgotten now and then.
    here: BTreeMap<IpAddr, VecDeque<(u64, AbortHandle)>>,
}

impl Guests {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Guests {
        Guests { max, came: 0, tasks: JoinSet::new(), here: BTreeMap::new() }
    }

    /// Runs `guest`, the connection of `peer`. Without room for it, the oldest connection of the
    /// address that holds the most is closed first: who floods pushes out only himself, and the
    /// kubelet, which holds one, stays.
    pub fn admit(&mut self, peer: IpAddr, guest: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= self.max {
            self.dismiss_one();
        } else if self.came.is_multiple_of(self.max as u64) {
            self.forget_finished();
        }
        let task = self.tasks.spawn(guest);
        self.here.entry(peer.to_canonical()).or_default().push_back((self.came, task));
        self.came += 1;
    }

    /// Closes the oldest connection of the address that holds the most, if there is any.
    pub fn dismiss_one(&mut self) {
        self.forget_finished();
        let most = self
            .here
            .values_mut()
            .max_by_key(|tasks| (tasks.len(), Reverse(tasks.front().map(|(number, _)| *number))));
        if let Some((_, task)) = most.and_then(VecDeque::pop_front) {
            task.abort();
        }
    }

    fn forget_finished(&mut self) {
        self.here.retain(|_, tasks| {
            tasks.retain(|(_, task)| !task.is_finished());
            !tasks.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets guests of these addresses come, and gives the places of those that are still there.
    fn stay(max: usize, peers: &[u8]) -> Vec<usize> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut guests = Guests::new(max);
            for last in peers {
                guests.admit([10, 0, 0, *last].into(), std::future::pending());
                tokio::task::yield_now().await;
            }
            let stayed = guests.here.values().flatten().map(|(number, _)| *number as usize);
            let mut stayed: Vec<usize> = stayed.collect();
            stayed.sort_unstable();
            stayed
        })
    }

    #[test]
    fn oldest_of_whoever_holds_the_most_goes() {
        assert_eq!(stay(3, &[1, 2, 3]), [0, 1, 2]);
        assert_eq!(stay(3, &[1, 2, 3, 4]), [1, 2, 3]);
        assert_eq!(stay(3, &[1, 2, 2, 1]), [0, 2, 3]);
        assert_eq!(stay(3, &[1, 2, 2, 2, 2, 2]), [0, 4, 5]);
        assert_eq!(stay(4, &[2, 1, 1, 3, 1, 1]), [0, 3, 4, 5]);
    }

    #[test]
    fn who_has_finished_takes_no_room() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut guests = Guests::new(2);
            guests.admit([10, 0, 0, 1].into(), std::future::pending());
            for _ in 0..1000 {
                guests.admit([10, 0, 0, 2].into(), std::future::ready(()));
                tokio::task::yield_now().await;
            }
            guests.admit([10, 0, 0, 3].into(), std::future::pending());
            tokio::task::yield_now().await;
            assert!(guests.here.values().flatten().any(|(number, _)| *number == 0));
            assert!(guests.here.values().flatten().count() <= 4, "{guests:?}");
        });
    }
}
