//! What becomes of a shard that no pod has a copy of any more.

use super::settings::{ConfigError, Settings, Variable};

/// What becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLostShard {
    /// Its slots stay without a server, for a volume of it may be found.
    #[default]
    Hold,
    /// They are given to its fresh pods, empty: for caches.
    Recreate,
}

impl OnLostShard {
    /// Reads `REJOIN_ON_LOST_SHARD`.
    ///
    /// # Errors
    /// Where it is neither `hold` nor `recreate`.
    pub fn read(settings: &Settings<'_>) -> Result<OnLostShard, ConfigError> {
        let Some(given) = settings.get(Variable::OnLostShard)? else {
            return Ok(OnLostShard::default());
        };
        match given.value.trim() {
            "hold" => Ok(OnLostShard::Hold),
            "recreate" => Ok(OnLostShard::Recreate),
            _ => Err(given.refuse("neither of the two", "set hold or recreate")),
        }
    }
}
