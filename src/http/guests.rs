//! The open connections: how many there may be, and who goes when there is no room.

use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;

use tokio::task::{AbortHandle, JoinSet};

/// The open connections, oldest first. Dropping them closes all.
#[derive(Debug)]
pub struct Guests {
    max: usize,
    tasks: JoinSet<()>,
    here: VecDeque<(IpAddr, AbortHandle)>,
}

impl Guests {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Guests {
        Guests { max, tasks: JoinSet::new(), here: VecDeque::with_capacity(max) }
    }

    /// Runs `guest`, the connection of `peer`. Without room for it, the oldest connection of the
    /// address that holds the most is closed first: who floods pushes out only himself, and the
    /// kubelet, which holds one, stays.
    pub fn admit(&mut self, peer: IpAddr, guest: impl Future<Output = ()> + Send + 'static) {
        self.forget_finished();
        if self.here.len() >= self.max {
            self.dismiss_one();
        }
        self.here.push_back((peer.to_canonical(), self.tasks.spawn(guest)));
    }

    /// Closes the oldest connection of the address that holds the most, if there is any.
    pub fn dismiss_one(&mut self) {
        self.forget_finished();
        let peers: Vec<IpAddr> = self.here.iter().map(|(peer, _)| *peer).collect();
        if let Some((_, task)) = first_of_most(&peers).and_then(|index| self.here.remove(index)) {
            task.abort();
        }
    }

    fn forget_finished(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.here.retain(|(_, task)| !task.is_finished());
    }
}

/// The first place of the address that stands in `peers` most often; among equals, the one whose
/// first place comes first.
fn first_of_most(peers: &[IpAddr]) -> Option<usize> {
    let count = |index: usize| peers.iter().filter(|peer| **peer == peers[index]).count();
    (0..peers.len()).rev().max_by_key(|index| count(*index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn goes(peers: &[u8], expected: Option<usize>) {
        let peers: Vec<IpAddr> = peers.iter().map(|last| [10, 0, 0, *last].into()).collect();
        assert_eq!(first_of_most(&peers), expected, "{peers:?}");
    }

    #[test]
    fn oldest_of_whoever_holds_the_most_goes() {
        goes(&[], None);
        goes(&[1], Some(0));
        goes(&[1, 2, 3], Some(0));
        goes(&[1, 2, 2], Some(1));
        goes(&[1, 2, 2, 1], Some(0));
        goes(&[2, 1, 1, 3, 1, 2], Some(1));
    }
}
