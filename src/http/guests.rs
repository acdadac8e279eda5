//! The open connections: how many there may be, and who goes when there is no room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::IpAddr;

use tokio::task::{AbortHandle, JoinSet};

/// A bounded room that is fair to addresses: who floods pushes out only himself, and the kubelet,
/// which sends one connection at a time, stays.
#[derive(Debug)]
pub struct Room<T> {
    max: usize,
    /// How many came so far, which numbers them.
    came: u64,
    len: usize,
    /// By address, each with its number, oldest first; never an empty list.
    here: BTreeMap<IpAddr, VecDeque<(u64, T)>>,
}

impl<T> Room<T> {
    /// Room for `max`.
    pub fn new(max: usize) -> Room<T> {
        Room { max, came: 0, len: 0, here: BTreeMap::new() }
    }

    /// Lets `guest` of `peer` in, and gives who had to go for it.
    pub fn put(&mut self, peer: IpAddr, guest: T) -> Option<(IpAddr, T)> {
        let gone = if self.len >= self.max { self.pop() } else { None };
        self.here.entry(peer.to_canonical()).or_default().push_back((self.came, guest));
        self.came += 1;
        self.len += 1;
        gone
    }

    /// Takes out the oldest of the address that has the most here; among equal addresses, the
    /// oldest of all.
    pub fn pop(&mut self) -> Option<(IpAddr, T)> {
        let most = self.here.iter().max_by_key(|(_, guests)| {
            (guests.len(), Reverse(guests.front().map(|(number, _)| *number)))
        });
        let peer = *most?.0;
        let guests = self.here.get_mut(&peer)?;
        let guest = guests.pop_front().map(|(_, guest)| (peer, guest));
        if guests.is_empty() {
            self.here.remove(&peer);
        }
        self.len -= 1;
        guest
    }

    /// Takes out those that `goes` says yes to, each with its address.
    pub fn take(&mut self, goes: impl Fn(&T) -> bool) -> Vec<(IpAddr, T)> {
        let mut taken = Vec::new();
        for (peer, guests) in &mut self.here {
            for (number, guest) in std::mem::take(guests) {
                if goes(&guest) {
                    taken.push((*peer, guest));
                } else {
                    guests.push_back((number, guest));
                }
            }
        }
        self.here.retain(|_, guests| !guests.is_empty());
        self.len -= taken.len();
        taken
    }
}

/// The connections that are being served. Dropping them closes all.
#[derive(Debug)]
pub struct Guests {
    tasks: JoinSet<()>,
    room: Room<AbortHandle>,
}

impl Guests {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Guests {
        Guests { tasks: JoinSet::new(), room: Room::new(max) }
    }

    /// Runs `guest`, the connection of `peer`; closes another first where there is no room.
    pub fn admit(&mut self, peer: IpAddr, guest: impl Future<Output = ()> + Send + 'static) {
        if let Some((_, gone)) = self.room.put(peer, self.tasks.spawn(guest)) {
            gone.abort();
        }
    }

    /// Forgets those that have ended: they take no room any more.
    pub fn forget_ended(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.room.take(AbortHandle::is_finished);
    }

    /// Closes one, as if another had come; whether there was one.
    pub fn dismiss_one(&mut self) -> bool {
        let gone = self.room.pop();
        if let Some((_, task)) = &gone {
            task.abort();
        }
        gone.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets guests of these addresses come, and checks the places of those that stay.
    #[track_caller]
    fn stay(max: usize, peers: &[u8], expected: &[usize]) {
        let mut room = Room::new(max);
        for (place, last) in peers.iter().enumerate() {
            room.put([10, 0, 0, *last].into(), place);
        }
        let mut stayed: Vec<usize> =
            room.take(|_| true).into_iter().map(|(_, place)| place).collect();
        stayed.sort_unstable();
        assert_eq!(stayed, expected, "{peers:?}");
    }

    #[test]
    fn oldest_of_whoever_holds_the_most_goes() {
        stay(3, &[1, 2, 3], &[0, 1, 2]);
        stay(3, &[1, 2, 3, 4], &[1, 2, 3]);
        stay(3, &[1, 2, 2, 1], &[0, 2, 3]);
        stay(3, &[1, 2, 2, 2, 2, 2], &[0, 4, 5]);
        stay(4, &[2, 1, 1, 3, 1, 1], &[0, 3, 4, 5]);
    }

    #[test]
    fn who_has_left_takes_no_room() {
        let mut room = Room::new(2);
        for place in 0..10 {
            assert_eq!(room.put([10, 0, 0, place].into(), place), None);
            room.take(|guest| *guest != 0);
        }
        assert_eq!(room.take(|_| true).len(), 1);
        assert_eq!(room.pop(), None);
    }

    #[test]
    fn ipv4_and_its_ipv6_form_are_one_address() {
        let mut room = Room::new(3);
        let four = std::net::Ipv4Addr::new(10, 0, 0, 1);
        room.put(four.into(), 0);
        room.put([10, 0, 0, 2].into(), 1);
        room.put(four.to_ipv6_mapped().into(), 2);
        assert_eq!(room.put([10, 0, 0, 3].into(), 3), Some((four.into(), 0)));
    }
}
