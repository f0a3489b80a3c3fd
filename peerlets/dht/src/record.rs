//! A value with what is needed to tell which of two copies is newer.

use minicbor::{Decode, Encode};
use prost_dht_api::{MAX_EXPIRES_IN, MAX_VALUE};
use prost_peerlet::cbor::Bytes;
use prost_peerlet::{Id, NodeId};

/// How long a removal is remembered. A node that was away for longer can bring the value back.
pub(crate) const TOMBSTONE_MS: u64 = 3600 * 1000;
/// How far ahead of this node's clock a version may be. A record from further ahead could not be replaced for as long.
const MAX_AHEAD_MS: u64 = 24 * 3600 * 1000;

/// When and by whom a value was written. The greater of two stamps is the newer: a total order, as two nodes can both
/// think themselves responsible for a while and write in the same millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) struct Stamp {
    /// The writer's clock in milliseconds since 1970, or one more than the version before it where that is more.
    #[n(0)]
    pub(crate) version: u64,
    /// The responsible node that wrote it.
    #[n(1)]
    pub(crate) writer: NodeId,
}

impl Stamp {
    /// The stamp of a write at `writer` over the one that it found.
    pub(crate) fn after(previous: Option<Stamp>, now_ms: u64, writer: NodeId) -> Stamp {
        let least = previous.map_or(0, |stamp| stamp.version.saturating_add(1));
        Stamp { version: now_ms.max(least), writer }
    }
}

/// All of a record but its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Meta {
    #[n(0)]
    pub(crate) stamp: Stamp,
    /// False where the value was removed.
    #[n(1)]
    pub(crate) live: bool,
    /// Milliseconds since 1970 from which on the record counts as absent.
    #[n(2)]
    pub(crate) expires_at: Option<u64>,
}

impl Meta {
    /// Length of the stored form. It is always the same, so that to write over it takes no more quota.
    const LEN: usize = 8 + Id::LEN + 1 + 8;

    /// What is stored: version, writer, 1 where live, expiry or `u64::MAX`.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Meta::LEN);
        bytes.extend(self.stamp.version.to_be_bytes());
        bytes.extend(self.stamp.writer.to_bytes());
        bytes.push(u8::from(self.live));
        bytes.extend(self.expires_at.unwrap_or(u64::MAX).to_be_bytes());
        bytes
    }

    /// Reads what was stored; none where it is something else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Meta> {
        let (version, rest) = bytes.split_first_chunk()?;
        let (writer, rest) = rest.split_first_chunk()?;
        let (live, rest) = rest.split_first()?;
        let expires_at = u64::from_be_bytes(rest.try_into().ok()?);
        Some(Meta {
            stamp: Stamp { version: u64::from_be_bytes(*version), writer: Id::from_bytes(*writer) },
            live: *live == 1,
            expires_at: (expires_at != u64::MAX).then_some(expires_at),
        })
    }

    /// Whether there is a value to be had.
    pub(crate) fn is_readable(&self, now_ms: u64) -> bool {
        self.live && !self.is_expired(now_ms)
    }

    /// Whether the record counts as absent.
    pub(crate) fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at.is_some_and(|at| at <= now_ms)
    }

    /// Seconds until it expires, rounded up.
    pub(crate) fn expires_in(&self, now_ms: u64) -> Option<u64> {
        self.expires_at.map(|at| at.saturating_sub(now_ms).div_ceil(1000))
    }
}

/// A value and what goes with it. A removed one has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    #[n(0)]
    pub(crate) meta: Meta,
    #[n(1)]
    pub(crate) value: Bytes,
}

impl Record {
    /// Whether a record that another node sent can be believed at all.
    pub(crate) fn is_plausible(&self, now_ms: u64) -> bool {
        let far_expiry = now_ms.saturating_add(MAX_AHEAD_MS).saturating_add(MAX_EXPIRES_IN * 1000);
        self.value.len() <= MAX_VALUE
            && (self.meta.live || self.value.is_empty())
            && self.meta.stamp.version <= now_ms.saturating_add(MAX_AHEAD_MS)
            && self.meta.expires_at.is_none_or(|at| at <= far_expiry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn node(name: u8) -> NodeId {
        Id::hash(&[name])
    }

    fn meta() -> Meta {
        Meta { stamp: Stamp { version: NOW, writer: node(1) }, live: true, expires_at: Some(NOW + 1500) }
    }

    #[test]
    fn a_write_is_newer_than_what_it_found_also_when_the_clock_went_back() {
        let first = Stamp::after(None, NOW, node(9));
        let second = Stamp::after(Some(first), NOW - 5000, node(1));

        assert_eq!(first.version, NOW);
        assert_eq!(second.version, NOW + 1);
        assert!(second > first);
    }

    #[test]
    fn two_writers_in_the_same_millisecond_have_a_newest() {
        let (one, other) = (Stamp::after(None, NOW, node(1)), Stamp::after(None, NOW, node(2)));

        assert_ne!(one.cmp(&other), core::cmp::Ordering::Equal);
    }

    #[test]
    fn what_is_stored_reads_back_and_nothing_else_does() {
        let kept = Meta { expires_at: None, live: false, ..meta() };

        assert_eq!(Meta::from_bytes(&meta().to_bytes()), Some(meta()));
        assert_eq!(Meta::from_bytes(&kept.to_bytes()), Some(kept));
        assert_eq!(kept.to_bytes().len(), meta().to_bytes().len());
        assert_eq!(Meta::from_bytes(&meta().to_bytes()[1..]), None);
        assert_eq!(Meta::from_bytes(&[meta().to_bytes(), vec![0]].concat()), None);
    }

    #[test]
    fn a_record_expires_at_its_time_and_not_before() {
        assert!(meta().is_readable(NOW + 1499));
        assert!(!meta().is_readable(NOW + 1500));
        assert_eq!(meta().expires_in(NOW), Some(2));
    }

    #[test]
    fn a_record_from_far_ahead_or_too_long_is_not_believed() {
        let record = |version, bytes| Record {
            meta: Meta { stamp: Stamp { version, writer: node(1) }, ..meta() },
            value: Bytes::from(vec![0; bytes]),
        };

        assert!(record(NOW + 1000, MAX_VALUE).is_plausible(NOW));
        assert!(!record(u64::MAX, 1).is_plausible(NOW));
        assert!(!record(NOW, MAX_VALUE + 1).is_plausible(NOW));
        let dead_with_value = Record { meta: Meta { live: false, ..meta() }, ..record(NOW, 1) };
        assert!(!dead_with_value.is_plausible(NOW));
    }
}
