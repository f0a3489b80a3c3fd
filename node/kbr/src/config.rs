//! The settings of the routing layer.

use core::time::Duration;

/// Settings of a [`Machine`](crate::Machine). Every node of a ring has the same `successors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Length r of the successor list, 2 to 64. 16 is the default of MIT's Chord.
    pub successors: usize,
    /// Length of the predecessor list, 1 to 64: what `range` can answer for ranks above zero.
    pub predecessors: usize,
    /// How many nodes of a replica set a refused message visits, 1 to `successors`.
    pub fall_over: usize,
    /// Shortest period between two rounds of stabilisation, just after a change.
    pub stabilize_min: Duration,
    /// Longest period between two rounds of stabilisation, in a ring that does not change.
    pub stabilize_max: Duration,
    /// Most connections that routing keeps: to the nearest neighbours on both sides, fingers, and nodes whose finger this
    /// node is, 8 to 256. In a ring too small for fingers every node is connected to every other, and up to twice
    /// `successors` are kept.
    pub connections: usize,
    /// Shortest period of finger repair, one finger a round, while fingers are missing.
    pub fingers_min: Duration,
    /// Longest period of finger repair, when nothing better has been found for long.
    pub fingers_max: Duration,
    /// How long a near neighbour may be silent before it is pinged.
    pub keep_alive: Duration,
    /// The same for fingers and nodes whose finger this node is: messages find out sooner when one of them dies. It keeps
    /// the connections open, so it is shorter than the transport's idle timeout.
    pub keep_alive_links: Duration,
    /// Lower bound of a peer's retransmission timeout.
    pub timeout_min: Duration,
    /// Upper bound of a peer's retransmission timeout, and its value before the first measurement.
    pub timeout_max: Duration,
    /// How long a message may take from its origin to its outcome where the request does not say.
    pub deadline: Duration,
    /// Hops after which a message is given up: far above (log2 N) of any believable N.
    pub max_hops: u8,
    /// Messages this node originated that may wait for their outcome at once.
    pub max_pending: usize,
    /// Messages that may wait for one peer's acknowledgement at once.
    pub max_unacknowledged: usize,
    /// An error that the machine makes, for tests of tests.
    #[cfg(feature = "planted")]
    pub planted: Option<crate::planted::Bug>,
}

impl Config {
    /// Neighbours on each side that a node keeps a connection to, in a ring large enough for fingers: a quarter of all
    /// connections. They are the ones that a node's place depends on; the rest of the lists comes from them.
    pub(crate) fn near(&self) -> usize {
        (self.connections / 8).max(2)
    }

    /// How many fingers, and as many nodes that point back, the cap on connections leaves room for.
    pub(crate) fn fingers(&self) -> usize {
        self.connections.saturating_sub(2 * self.near()) / 2
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            successors: 16,
            predecessors: 16,
            fall_over: 4,
            stabilize_min: Duration::from_millis(700),
            stabilize_max: Duration::from_secs(8),
            connections: 64,
            fingers_min: Duration::from_millis(500),
            fingers_max: Duration::from_secs(60),
            keep_alive: Duration::from_secs(18),
            keep_alive_links: Duration::from_secs(45),
            timeout_min: Duration::from_millis(250),
            timeout_max: Duration::from_secs(2),
            deadline: Duration::from_secs(15),
            max_hops: 64,
            max_pending: 65_536,
            max_unacknowledged: 65_536,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}
