//! What can be done to a world, and what it tells.

use core::time::Duration;

use prost_kbr::{Key, Outcome};

use super::Index;
use crate::Network;

/// Something to be done to the world at a time of its own.
#[derive(Debug, Clone)]
pub enum Act {
    /// A new process with a new node id, which joins through these nodes; with none it founds a ring.
    Start {
        /// The node.
        node: Index,
        /// Nodes to join through, tried in turn.
        known: Vec<Index>,
    },
    /// The process dies without a word.
    Crash {
        /// The node.
        node: Index,
    },
    /// A process that died starts again at the same address, with the same key and an empty memory.
    Restart {
        /// The node.
        node: Index,
        /// Nodes to join through, tried in turn.
        known: Vec<Index>,
    },
    /// The node leaves the ring and ends.
    Leave {
        /// The node.
        node: Index,
    },
    /// The process stands still (SIGSTOP) and then goes on.
    Pause {
        /// The node.
        node: Index,
        /// How long.
        time: Duration,
    },
    /// From now on each event takes the node this long (a slow node); zero for none.
    Slow {
        /// The node.
        node: Index,
        /// How long each event takes.
        each: Duration,
    },
    /// The node's clock jumps by this many microseconds, and from now on runs this many millionths too fast.
    Clock {
        /// The node.
        node: Index,
        /// Microseconds forward.
        jump: i64,
        /// Millionths too fast, at most half.
        drift: i32,
    },
    /// The network changes.
    Network(Box<Network>),
    /// The connection between two nodes breaks; both learn of it.
    Break {
        /// One.
        a: Index,
        /// The other.
        b: Index,
    },
    /// A lookup; its end is told with [`Seen::LookedUp`] and this number.
    Lookup {
        /// The node.
        node: Index,
        /// Comes back in [`Seen::LookedUp`].
        request: u64,
        /// The key.
        key: Key,
    },
}

/// What the world tells whoever drives it.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A lookup has ended.
    LookedUp {
        /// The node.
        node: Index,
        /// From [`Act::Lookup`].
        request: u64,
        /// Its end.
        outcome: Outcome,
    },
    /// A node has become a member of the ring.
    Joined {
        /// The node.
        node: Index,
    },
    /// A node has left.
    Left {
        /// The node.
        node: Index,
    },
}
