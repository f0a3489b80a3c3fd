//! The clock that versions come from.

use prost_contract::Version;
use prost_kbr::NodeId;

/// Bits of a version that count within a millisecond.
const COUNTER_BITS: u32 = 16;
/// How far ahead of this node's clock a version may be, in milliseconds: what comes from further ahead is refused, as
/// it would win over every write for that long.
const MAX_AHEAD_MS: u64 = 5 * 60 * 1000;

/// A hybrid logical clock (Kulkarni et al., OPODIS 2014): never behind the wall clock, and ahead of every version that
/// this node has seen.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    last: u64,
}

impl Clock {
    /// `last` is the newest version in the node's store.
    pub(crate) fn new(last: u64) -> Clock {
        Clock { last }
    }

    /// A version newer than all before.
    pub(crate) fn next(&mut self, now_ms: u64, node: NodeId) -> Version {
        self.last = self.last.saturating_add(1).max(now_ms << COUNTER_BITS);
        Version { at: self.last, node }
    }

    /// Whether a version from elsewhere can be believed; from then on this clock is ahead of it.
    pub(crate) fn observe(&mut self, version: Version, now_ms: u64) -> bool {
        let believable = version.at >> COUNTER_BITS <= now_ms.saturating_add(MAX_AHEAD_MS);
        if believable {
            self.last = self.last.max(version.at);
        }
        believable
    }
}

/// The wall clock of a version, in milliseconds since 1970.
pub(crate) fn millis(version: Version) -> u64 {
    version.at >> COUNTER_BITS
}

#[cfg(test)]
mod tests {
    use prost_kbr::Id;

    use super::*;

    #[test]
    fn versions_rise_whatever_the_wall_clock_does() {
        let mut clock = Clock::new(0);
        let times = [5, 5, 9, 2, 2, 10];
        let versions: Vec<Version> = times.iter().map(|now| clock.next(*now, Id::ZERO)).collect();
        assert!(versions.is_sorted_by(|a, b| a < b));
        assert_eq!(millis(versions[5]), 10);
    }

    #[test]
    fn what_was_seen_is_older_than_what_is_written_next_and_the_far_future_is_not_believed() {
        let mut clock = Clock::new(0);
        let seen = Version { at: 300_000 << COUNTER_BITS, node: Id::ZERO };
        assert!(clock.observe(seen, 0));
        assert!(clock.next(1, Id::ZERO) > seen);
        assert!(!clock.observe(Version { at: u64::MAX, node: Id::ZERO }, 1));
        assert!(millis(clock.next(1, Id::ZERO)) <= 300_000);
    }

    #[test]
    fn a_restart_goes_on_after_what_the_store_holds() {
        let held = Version { at: 77 << COUNTER_BITS, node: Id::ZERO };
        assert!(Clock::new(held.at).next(1, Id::ZERO) > held);
    }
}
