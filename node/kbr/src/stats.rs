//! What a machine counts.

/// Counters since the machine was made; none ever falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Routes and lookups that started here.
    pub started: u64,
    /// Routes and lookups that started here and were handled.
    pub ended_ok: u64,
    /// Routes and lookups that started here and failed.
    pub ended_failed: u64,
    /// Messages sent on to another node, retries included.
    pub routed_forwarded: u64,
    /// Messages delivered here.
    pub delivered: u64,
    /// Hops that the next node acknowledged.
    pub acknowledged: u64,
    /// Hops that were tried again, through another node or the same.
    pub retries: u64,
    /// Hops and questions that were not answered in time.
    pub timeouts: u64,
    /// Messages that had to wait because every next hop was suspect.
    pub held: u64,
    /// Refused messages passed on to the next node of the replica set.
    pub fallen_over: u64,
    /// Messages given up for taking too many hops, or for coming here too often.
    pub hop_limit: u64,
    /// Messages given up because their time was over.
    pub expired: u64,
    /// Messages that came again after they had been delivered here or while they waited here.
    pub duplicates: u64,
    /// Messages given up because a table was full.
    pub overloaded: u64,
    /// Frames and inputs that made no sense here, and entries that a bounded table gave up.
    pub dropped: u64,
    /// Nodes declared dead.
    pub declared_dead: u64,
    /// Nodes that were declared dead and answered again.
    pub returned: u64,
    /// Rounds of stabilisation.
    pub stabilize_rounds: u64,
    /// Attempts to join, to join again, or to merge with another ring.
    pub searches: u64,
    /// Iterative lookups, asked for or fallen back to.
    pub iterative: u64,
    /// Outcomes passed on to their origins.
    pub relayed: u64,
    /// Fingers adopted.
    pub fingers_fixed: u64,
}
