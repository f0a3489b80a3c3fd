//! What the pictures need beyond the report.

use super::Distribution;

/// Measurements that are too many for the report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Time of each lookup that was answered, in milliseconds.
    pub lookup_ms: Distribution,
    /// Direct round trips between pairs of nodes, in milliseconds; without samples where they are not known.
    pub direct_ms: Distribution,
    /// How many answered lookups took as many hops as the index.
    pub hops: Vec<u64>,
    /// Each second of virtual time, from zero.
    pub seconds: Vec<Second>,
    /// What happened to the world.
    pub marks: Vec<Mark>,
    /// The nodes that live at the end.
    pub load: Vec<Load>,
    /// The application that was on the ring, where there was one.
    pub app: Option<AppSeries>,
}

/// An application on the ring.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AppSeries {
    /// The seconds at which the number of nodes that run it changed, and the number from then on.
    pub running: Vec<(f64, u64)>,
    /// From when to when it was asked, in seconds.
    pub span_s: (f64, f64),
    /// Messages that each node that lives at the end has handled.
    pub messages: Vec<u64>,
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Second {
    /// Lookups that were asked in it.
    pub asked: u64,
    /// Those of them that were answered, then or later.
    pub answered: u64,
    /// Those of them that were answered with a node that was responsible.
    pub correct: u64,
}

/// Something that happened to the world.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mark {
    /// Virtual time, in seconds.
    pub at_s: f64,
    /// What, in a few words.
    pub text: String,
}

/// What a node did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Where the node is on the ring, as a share of it: 0 to 1.
    pub position: f64,
    /// Routed messages that it has handed on or answered.
    pub messages: u64,
    /// Its open connections.
    pub connections: u64,
}
