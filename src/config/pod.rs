//! Who this pod is: its name, ordinal and address.

/// The name of a StatefulSet's pod: `redis-cluster-4` is base `redis-cluster`, ordinal 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// The whole name.
    pub name: String,
    /// The name of the StatefulSet: all before the last `-` where a number follows it, else the
    /// whole name.
    pub base: String,
    /// The trailing number. `None`: the name has none, so the pod can take no part in forming.
    pub ordinal: Option<u32>,
}
