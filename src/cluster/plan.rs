//! From what was seen to what is to be done, and what is held back and why. Pure: the same view
//! always gives the same plan, and no plan remembers an earlier one.
//!
//! Every step is a command to the own server. What could take something from another pod is made
//! sure of twice: [`Step::needs_confirming`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::lost_shard::OnLostShard;
use crate::config::shape::Shape;
use crate::health::Membership;
use crate::nodes_conf::{Node, NodeId, SlotRange};

use super::model::{Discovery, View, is_healthy};

mod announced;
mod form;
mod ghosts;
mod heal;
mod hold;
pub mod home;
mod join;
mod lone;
mod lost;
mod stray;
mod takeover;

pub use announced::misses_a_link;
pub use hold::{Hold, Lack, Reason};
pub use lone::{Standing, standing};
pub use lost::Lost;
pub use stray::{copied_master, is_exposed, meets_stranger, turned_strange};
pub use takeover::{VALIDITY_FACTOR, missing_master, still_takes_over};

/// What the plan has to know besides the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The ordinal of this pod; `None`: its name has no number.
    pub ordinal: Option<u32>,
    /// The cluster to form; `None`: never form or join one, and forget nobody.
    pub shape: Option<Shape>,
    /// What becomes of a shard that no pod has a copy of.
    pub on_lost_shard: OnLostShard,
    /// `POD_IP`.
    pub ip: Option<IpAddr>,
    /// `cluster-node-timeout`.
    pub node_timeout: Duration,
    /// `REJOIN_PREFER_HOME`: take the slots of the own seat back from a successor.
    pub prefer_home: bool,
}

/// One command to the own server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `CLUSTER SET-CONFIG-EPOCH`: takes a number of its own before it meets anybody, so that no
    /// two masters ever claim slots with the same one.
    SetEpoch(u64),
    /// `CLUSTER ADDSLOTS`.
    AddSlots(SlotRange),
    /// `CLUSTER MEET`: teaches both ends each other's address, role and slots.
    Meet {
        /// The id that must answer there.
        id: NodeId,
        /// Where it answered us.
        asked_at: SocketAddr,
        /// Its address and client port as the cluster uses it.
        at: SocketAddr,
        /// Its bus port.
        bus_port: u16,
        /// What for.
        why: Meet,
    },
    /// `CLUSTER REPLICATE`.
    Replicate {
        /// The master to follow.
        master: NodeId,
        /// What for.
        why: Replicate,
    },
    /// `CLUSTER FORGET`.
    Forget(NodeId),
    /// The same for an owner of slots that no pod has a copy of.
    GiveUp(Lost),
    /// `CLUSTER BUMPEPOCH`: before it takes the slots of a lost shard, a pod gets an epoch above
    /// everybody's.
    BumpEpoch,
    /// `CONFIG SET cluster-replica-no-failover yes`: what this replica holds may be somebody else's.
    KeepBack {
        /// The own master.
        master: NodeId,
    },
    /// `CONFIG SET cluster-replica-no-failover no`, after a [`Step::KeepBack`].
    LetStand,
    /// `CLUSTER FAILOVER FORCE`.
    TakeOver {
        /// The own master, which is gone.
        master: NodeId,
        /// The stream that the own data must still be of.
        stream: String,
    },
    /// `CLUSTER FAILOVER`: the slots of the own seat back from the own master.
    TakeHome {
        /// The own master.
        master: NodeId,
    },
}

/// What a [`Step::Meet`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meet {
    /// To become members of one cluster.
    Join,
    /// It is known, but at another address; or it knows us at another.
    Moved,
    /// It has not heard yet which slots or which role we have.
    Outdated,
}

/// What a [`Step::Replicate`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicate {
    /// To become a replica.
    Join,
    /// It is our master already, but is looked for at an address that it has left.
    Moved,
    /// It is our master's master by now.
    Above,
}

impl Step {
    /// Whether the step is taken only if a second look, right before it, calls for it as well.
    pub fn needs_confirming(&self) -> bool {
        match self {
            Step::AddSlots(_) | Step::Forget(_) | Step::GiveUp(_) => true,
            Step::TakeOver { .. } | Step::TakeHome { .. } => true,
            Step::SetEpoch(_) | Step::BumpEpoch | Step::Meet { .. } | Step::Replicate { .. } => {
                false
            }
            Step::KeepBack { .. } | Step::LetStand => false,
        }
    }

    /// Whether the steps after it are taken although it failed: they do not build on it.
    pub fn stands_alone(&self) -> bool {
        matches!(self, Step::Meet { .. } | Step::KeepBack { .. } | Step::LetStand)
    }

    /// The kind of step, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::SetEpoch(_) => "set_epoch",
            Step::AddSlots(_) => "add_slots",
            Step::Meet { .. } => "meet",
            Step::Replicate { .. } => "replicate",
            Step::Forget(_) => "forget",
            Step::GiveUp(_) => "give_up",
            Step::BumpEpoch => "bump_epoch",
            Step::KeepBack { .. } => "keep_back",
            Step::LetStand => "let_stand",
            Step::TakeOver { .. } => "take_over",
            Step::TakeHome { .. } => "take_home",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::SetEpoch(epoch) => write!(f, "set the config epoch to {epoch}"),
            Step::AddSlots(range) => write!(f, "take the slots {range}"),
            Step::Meet { id, at, why, .. } => match why {
                Meet::Join => write!(f, "meet {id} at {at}"),
                Meet::Moved => write!(f, "meet {id} at its present address {at}"),
                Meet::Outdated => write!(f, "tell {id} at {at} our role and slots"),
            },
            Step::Replicate { master, why: Replicate::Join } => write!(f, "replicate {master}"),
            Step::Replicate { master, why: Replicate::Moved } => {
                write!(f, "replicate {master} at its present address")
            }
            Step::Replicate { master, why: Replicate::Above } => {
                write!(f, "replicate {master}, which this pod's master replicates by now")
            }
            Step::Forget(id) => write!(f, "forget {id}, which no pod answers as any more"),
            Step::GiveUp(lost) => write!(
                f,
                "forget {}: {lost}; REJOIN_ON_LOST_SHARD gives them, empty, to fresh pods",
                lost.owner
            ),
            Step::BumpEpoch => f.write_str("get an epoch above all others"),
            Step::KeepBack { master } => write!(
                f,
                "not be elected: another server answers where {master} was, and this replica may \
                 hold its data; until it copies its own master again"
            ),
            Step::LetStand => f.write_str("be elected again where it should be"),
            Step::TakeOver { master, .. } => {
                write!(f, "take over from {master}, which has no address and no pod answers as")
            }
            Step::TakeHome { master } => {
                write!(f, "take the slots of this pod's seat back from {master}")
            }
        }
    }
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What is not done, and why.
    pub held: Vec<Hold>,
    /// How this pod stands to the cluster.
    pub membership: Membership,
    /// Nothing is left to be done or waited for, as far as this view shows.
    pub settled: bool,
}

impl Plan {
    /// Plans one round.
    pub fn new(view: &View, settings: &Settings) -> Plan {
        let mut plan = Plan {
            steps: Vec::new(),
            held: Vec::new(),
            membership: Membership::NotWanted,
            settled: false,
        };
        if let Discovery::Failed(why) = &view.discovery {
            plan.hold("discovery", Reason::ResolverFailed(why.clone()));
        }
        plan.hold_doubles(view);
        announced::plan(view, &mut plan);
        // First, for an election may be half a second away.
        stray::plan(view, &mut plan);
        heal::plan(view, settings, &mut plan);
        takeover::plan(view, settings, &mut plan);
        match (settings.shape, settings.ordinal) {
            (None, _) if view.own.table.is_fresh() => {}
            (None, _) => plan.membership = Membership::Member,
            (Some(shape), Some(ordinal)) if ordinal < shape.expected() => {
                let lost = lost::plan(view, shape, settings, &mut plan);
                match Stage::of(view) {
                    _ if lost::is_holed(view, shape, settings) => {
                        lost::fill(view, shape, ordinal, &mut plan);
                    }
                    Stage::Unformed => form::plan(view, shape, ordinal, &mut plan),
                    Stage::ToJoin => join::meet(view, shape, &mut plan),
                    Stage::Learning => match lost.first() {
                        Some(lost) => plan.wait(&lost.to_string()),
                        None => join::learn(view, shape, ordinal, &mut plan),
                    },
                    Stage::Formed => join::take_role(view, shape, ordinal, &lost, &mut plan),
                }
                ghosts::plan(view, shape, &mut plan);
            }
            (Some(shape), Some(ordinal)) => {
                plan.hold_back(Reason::BeyondShape { ordinal, shape });
            }
            (Some(_), None) => plan.hold_back(Reason::NoOrdinal),
        }
        plan.settled =
            plan.steps.is_empty() && plan.held.is_empty() && plan.is_settled(view, settings);
        if plan.settled {
            home::plan(view, settings, &mut plan);
        }
        plan
    }

    /// Keeps of the steps that need it only those which `again` calls for as well.
    #[must_use]
    pub fn confirmed_by(mut self, again: &Plan) -> Plan {
        self.steps.retain(|step| !step.needs_confirming() || again.steps.contains(step));
        self
    }

    /// Whether it calls for the same as the other, and holds the same things back.
    pub fn is_like(&self, other: &Plan) -> bool {
        let all_like = self.held.len() == other.held.len()
            && self.held.iter().zip(&other.held).all(|(a, b)| a.is_like(b));
        all_like && self.steps == other.steps && self.membership == other.membership
    }

    fn hold(&mut self, about: impl fmt::Display, reason: Reason) {
        self.held.push(Hold { about: about.to_string(), reason });
    }

    /// Holds what concerns this pod itself, which keeps it from being a member.
    fn hold_back(&mut self, reason: Reason) {
        self.wait(&reason.to_string());
        self.hold("this pod", reason);
    }

    fn wait(&mut self, what: &str) {
        self.membership = Membership::Pending(what.to_owned());
    }

    /// One id at two addresses is one volume used twice, or a stale connection: nothing is said
    /// about it as long as it is so.
    fn hold_doubles(&mut self, view: &View) {
        let pods = view.pods();
        for (i, pod) in pods.iter().enumerate() {
            let Some(double) = pods[..i].iter().find(|other| other.id() == pod.id()) else {
                continue;
            };
            let reason = Reason::SameId { first: double.at, second: pod.at };
            self.hold(pod.id(), reason);
        }
    }

    fn is_settled(&self, view: &View, settings: &Settings) -> bool {
        let table = &view.own.table;
        // Others may have the cluster that it takes itself for.
        if table.others().is_empty() && settings.shape.is_some_and(|shape| shape.expected() > 1) {
            return false;
        }
        let stands = match self.membership {
            Membership::Member => view.own.state_ok,
            Membership::NotWanted => true,
            _ => false,
        };
        let heard = |node: &Node| {
            node.flags.myself
                || view.pod(node.id).is_some_and(|pod| {
                    pod.table.is_whole() == table.is_whole()
                        && pod.table.find(table.id()).is_some_and(is_healthy)
                })
        };
        let link_up = !matches!(
            view.own.replication.role,
            crate::health::Role::Replica { link_up: false, .. }
        );
        stands && link_up && table.nodes().all(|node| is_healthy(node) && heard(node))
    }
}

/// How far the cluster is, from this pod's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody that is seen belongs to a cluster whose slots all have an owner.
    Unformed,
    /// Others have formed a cluster; this pod knows nobody.
    ToJoin,
    /// Members of this pod's cluster see it whole, it does not yet itself.
    Learning,
    /// This pod is a member of a whole cluster.
    Formed,
}

impl Stage {
    fn of(view: &View) -> Stage {
        let table = &view.own.table;
        let pods = view.pods();
        let mut whole =
            pods.iter().filter(|pod| pod.at.is_some() && pod.table.is_whole()).peekable();
        // A volume of a single shard that lost its `nodes.conf` is whole, too, by its keys alone.
        let alone = table.others().is_empty() && whole.peek().is_some();
        if table.is_whole() && !alone {
            return Stage::Formed;
        }
        if whole.peek().is_none() {
            Stage::Unformed
        } else if whole.any(|pod| table.find(pod.id()).is_some()) {
            Stage::Learning
        } else {
            Stage::ToJoin
        }
    }
}

#[cfg(test)]
mod tests;
