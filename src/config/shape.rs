//! The cluster that is to be formed: how many shards, how many replicas of each.

/// The number of shards and of replicas, and so of pods.
///
/// Any number of shards from 1 on is taken: `redis-cli --cluster create` demands three masters
/// because with fewer no majority is left to elect a successor, but a single shard is what many
/// try first, and Redis and Valkey run it. [`Shape::elects`] says whether failover works, so that
/// the caller can warn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Masters at first boot, 1 to 16384.
    pub shards: u32,
    /// Replicas of each master, 0 or more.
    pub replicas: u32,
}

impl Shape {
    /// The number of pods that make up the cluster.
    pub fn expected(self) -> u32 {
        self.shards.saturating_mul(self.replicas.saturating_add(1))
    }

    /// Whether a dead master can be replaced by election: a majority of masters must be left.
    pub fn elects(self) -> bool {
        self.shards >= 3 && self.replicas > 0
    }

    /// The shard that the pod with this ordinal belongs to at first boot: its own where it is one
    /// of the first masters, else `(ordinal - shards) % shards`. `None`: beyond the shape.
    pub fn shard_of(self, ordinal: u32) -> Option<u32> {
        (ordinal < self.expected()).then(|| ordinal % self.shards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_counts_masters_and_replicas() {
        assert_eq!(Shape { shards: 3, replicas: 1 }.expected(), 6);
        assert_eq!(Shape { shards: 5, replicas: 0 }.expected(), 5);
        assert_eq!(Shape { shards: u32::MAX, replicas: u32::MAX }.expected(), u32::MAX);
    }

    #[test]
    fn replicas_are_dealt_out_to_the_shards_in_turn() {
        let shape = Shape { shards: 3, replicas: 1 };
        let shards: Vec<_> = (0..7).map(|ordinal| shape.shard_of(ordinal)).collect();
        let expected = [Some(0), Some(1), Some(2), Some(0), Some(1), Some(2), None];
        assert_eq!(shards, expected);
    }
}
