//! The cluster that is to be formed: how many shards, how many replicas of each.

use super::settings::{ConfigError, Given, Settings, Variable};

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
    /// Replicas of each master, 0 to 1000.
    pub replicas: u32,
}

impl Shape {
    /// Reads `REJOIN_SHARDS` and `REJOIN_REPLICAS`. `None`: there are no shards to be formed.
    ///
    /// # Errors
    /// Where either is not a whole number in its range.
    pub fn read(settings: &Settings<'_>) -> Result<Option<Shape>, ConfigError> {
        let replicas = match settings.get(Variable::Replicas)? {
            None => 1,
            Some(given) => number(&given, 0, 1000).ok_or_else(|| {
                given.refuse("not a whole number from 0 to 1000", "1 gives each master a replica")
            })?,
        };
        let Some(given) = settings.get(Variable::Shards)? else { return Ok(None) };
        match number(&given, 1, 16384) {
            Some(shards) => Ok(Some(Shape { shards, replicas })),
            None => Err(given.refuse(
                "not a whole number from 1 to 16384",
                "set the number of masters, or remove it to never form a cluster",
            )),
        }
    }

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

fn number(given: &Given, min: u32, max: u32) -> Option<u32> {
    given.value.trim().parse().ok().filter(|number| (min..=max).contains(number))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    fn read(shards: &str, replicas: &str) -> Result<Option<Shape>, String> {
        let env = HashMap::from([("REJOIN_SHARDS", shards), ("REJOIN_REPLICAS", replicas)]);
        let settings = Settings::new(BTreeMap::new(), &env);
        Shape::read(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn one_replica_is_the_default_and_no_shards_means_no_forming() {
        assert_eq!(read("3", ""), Ok(Some(Shape { shards: 3, replicas: 1 })));
        assert_eq!(read("1", " 0 "), Ok(Some(Shape { shards: 1, replicas: 0 })));
        assert_eq!(read("", "2"), Ok(None));
    }

    #[test]
    fn counts_out_of_range_are_refused_by_name() {
        for shards in ["0", "-1", "16385", "three", "3.0"] {
            let error = read(shards, "").expect_err("refused");
            assert!(error.starts_with(&format!("REJOIN_SHARDS is {shards:?}: ")), "{error}");
        }
        assert!(read("3", "x").expect_err("refused").starts_with("REJOIN_REPLICAS is \"x\": "));
    }

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
