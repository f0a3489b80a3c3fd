//! What must hold in a world, checked after every event by someone who sees all of it.
//!
//! A [`Judge`] looks at the nodes that have changed, keeps a [`Picture`] of all of them, and asks each [`Rule`]. Rules
//! are values, so a run can leave some out or bring its own.

mod assumption;
mod broken;
mod caps;
mod coming;
mod ended;
mod false_death;
mod flow;
mod full_start;
mod given_up;
mod hops;
mod ideal;
mod judge;
mod live_successor;
mod lookups;
mod met;
mod one_ring;
mod picture;
mod principals;
mod responsible;
mod tally;
mod well_formed;

use core::time::Duration;
use std::collections::BTreeMap;

use prost_kbr::{NodeId, Outcome, Time};

use crate::Index;

pub use assumption::{Assumption, Reason};
pub use broken::Broken;
pub use caps::Caps;
pub use ended::Ends;
pub use false_death::FalseDeath;
pub use flow::Flows;
pub use full_start::FullStart;
pub use given_up::GivenUp;
pub use hops::{Hops, Trails};
pub use judge::{Judge, Observer, SETTLED};
pub use live_successor::LiveSuccessor;
pub use lookups::{Asked, Lookups};
pub use met::Met;
pub use one_ring::OneRing;
pub use picture::{Change, Picture, Seat};
pub use principals::Principals;
pub use responsible::Responsible;
pub use tally::Tally;
pub use well_formed::WellFormed;

/// What the rules need to know of the nodes' settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Length of a successor list.
    pub successors: usize,
    /// Length of a predecessor list.
    pub predecessors: usize,
    /// Hops after which a message is given up.
    pub max_hops: u8,
    /// How long a lookup may take at its origin.
    pub deadline: Duration,
}

impl From<&prost_kbr::Config> for Limits {
    fn from(config: &prost_kbr::Config) -> Limits {
        Limits {
            successors: config.successors,
            predecessors: config.predecessors,
            max_hops: config.max_hops,
            deadline: config.deadline,
        }
    }
}

/// How a lookup went.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What was asked.
    pub asked: Asked,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether it had ended before.
    pub again: bool,
}

/// One look at the world, shortly after something has happened.
#[derive(Debug)]
pub struct Moment<'a> {
    /// The virtual time.
    pub now: Time,
    /// All nodes.
    pub picture: &'a Picture,
    /// Nodes whose life, membership, lists or fingers have changed since the last look.
    pub changed: &'a [Index],
    /// Whether Zave's operating assumption holds, and since when.
    pub assumption: &'a Assumption,
    /// A live member that was declared dead since the last look, and by whom.
    pub false_death: Option<(Index, NodeId)>,
    /// Lookups that have ended since the last look.
    pub ended: &'a [Ended],
    /// Lookups that should have ended and have not, each told once.
    pub overdue: &'a [Asked],
    /// By when the ring has to be ideal; none while that is not asked for.
    pub ideal_by: Option<Time>,
    /// Since when no fault has disturbed the network or any process, as the driver says; none while one does.
    pub calm_since: Option<Time>,
    /// Nodes that stood still or were slow, and until when: what they should have done they may do after that.
    pub excused: &'a BTreeMap<Index, Time>,
}

/// How long what a fault has disturbed may go on after it.
const AFTERMATH: Duration = Duration::from_secs(30);

impl Moment<'_> {
    /// Whether nothing has been disturbed since the run began, or for so long that nothing of it is left.
    pub fn is_undisturbed(&self) -> bool {
        let over = |end: Time| self.now >= end + AFTERMATH;
        self.calm_since
            .is_some_and(|since| since == Time::ZERO || over(since) && self.excused.values().all(|end| over(*end)))
    }

    /// Whether a node may still be handling what it was sent long ago.
    pub fn is_behind(&self, node: Index) -> bool {
        self.excused.get(&node).is_some_and(|end| self.now < *end + AFTERMATH)
    }
}

/// Something that must hold.
pub trait Rule: Send {
    /// Its short name: the number in the list of invariants, and a word.
    fn name(&self) -> &'static str;

    /// Looks at the world after an event.
    ///
    /// # Errors
    ///
    /// Says what is broken, the first time that it is found.
    fn check(&mut self, moment: &Moment) -> Result<(), Broken>;
}

/// Every rule, with these limits. [`Hops`] and [`Flows`] come with the trails that the world's observer fills.
pub fn rules(limits: &Limits, trails: Trails) -> Vec<Box<dyn Rule>> {
    vec![
        Box::new(WellFormed::new(limits)),
        Box::new(FullStart::default()),
        Box::new(LiveSuccessor),
        Box::new(Principals::new(limits)),
        Box::new(OneRing::new(limits)),
        Box::new(Hops::new(trails.clone())),
        Box::new(Flows::new(trails)),
        Box::new(Ends),
        Box::new(Responsible),
        Box::new(Met::default()),
        Box::new(FalseDeath),
        Box::new(GivenUp::default()),
        Box::new(Caps),
    ]
}
