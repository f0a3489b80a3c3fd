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
    /// Period of finger repair: one finger a round.
    pub fingers: Duration,
    /// Period of the liveness check of connected neighbours; also what keeps their connections open.
    pub keep_alive: Duration,
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
}

impl Default for Config {
    fn default() -> Config {
        Config {
            successors: 16,
            predecessors: 16,
            fall_over: 4,
            stabilize_min: Duration::from_millis(200),
            stabilize_max: Duration::from_secs(5),
            fingers: Duration::from_millis(500),
            keep_alive: Duration::from_secs(5),
            timeout_min: Duration::from_millis(250),
            timeout_max: Duration::from_secs(2),
            deadline: Duration::from_secs(15),
            max_hops: 64,
            max_pending: 65_536,
            max_unacknowledged: 65_536,
        }
    }
}
