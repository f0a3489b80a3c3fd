//! Keys whose newest records may still be elsewhere.

use std::collections::VecDeque;

use prost_peerlet::{Key, KeyRange};

/// How long a node asks the others after keys came to it; they need a moment to see the change and offer what they have.
const SETTLE_MS: u64 = 60_000;
/// Most ranges that are told apart; beyond it, the whole ring counts as just gained.
const MAX_RANGES: usize = 16;

/// The ranges that came to this node not long ago. What it holds there can be out of date: it may have been away.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    ranges: VecDeque<(KeyRange, u64)>,
}

impl Settling {
    /// The range came to this node.
    pub(crate) fn gained(&mut self, range: KeyRange, now_ms: u64) {
        self.ranges.retain(|(_, since)| now_ms < since.saturating_add(SETTLE_MS));
        if self.ranges.len() == MAX_RANGES {
            self.ranges.clear();
            self.ranges.push_back((KeyRange::WHOLE, now_ms));
            return;
        }
        self.ranges.push_back((range, now_ms));
    }

    /// Since when the key is here, where that is not long ago.
    pub(crate) fn since(&self, key: Key, now_ms: u64) -> Option<u64> {
        let recent = |since: u64| now_ms < since.saturating_add(SETTLE_MS);
        let mut gained = self.ranges.iter().filter(|(range, since)| range.contains(key) && recent(*since));
        gained.next_back().map(|(_, since)| *since)
    }
}

#[cfg(test)]
mod tests {
    use prost_peerlet::Id;

    use super::*;

    fn key(low: u32) -> Key {
        Key { low, ..Id::ZERO }
    }

    #[test]
    fn a_gained_key_settles_after_a_while_and_others_were_never_in_doubt() {
        let mut settling = Settling::default();

        settling.gained(KeyRange { after: key(10), upto: key(20) }, 1000);

        assert_eq!(settling.since(key(15), 2000), Some(1000));
        assert_eq!(settling.since(key(25), 2000), None);
        assert_eq!(settling.since(key(15), 1000 + SETTLE_MS), None);
    }

    #[test]
    fn too_many_ranges_put_every_key_in_doubt() {
        let mut settling = Settling::default();

        for _ in 0..=MAX_RANGES {
            settling.gained(KeyRange { after: key(10), upto: key(20) }, 1000);
        }

        assert_eq!(settling.since(key(25), 1000), Some(1000));
        assert_eq!(settling.ranges.len(), 1);
    }
}
