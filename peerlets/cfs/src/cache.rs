//! Blocks that passed by, the least recently used first to go.
//!
//! The cache is memory of the instance, and the replicas are records of the node: nothing that the cache does can touch a
//! replica (section 4.2 of the paper keeps them apart by halves of one disk).

use core::time::Duration;
use std::collections::BTreeMap;

use prost_cfs_api::BlockId;
use prost_peerlet::cbor::Bytes;
use prost_peerlet::time::{Instant, wall_ms};

/// Longest time that a copy is believed to be one of a block that lives. A copy cannot be wrong, but it can outlive the
/// block where a clock is.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// What an entry takes besides its bytes, about.
const OVERHEAD: usize = 200;

/// Content blocks by id, at most so many bytes.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: BTreeMap<BlockId, Entry>,
    /// By when they were last used.
    order: BTreeMap<u64, BlockId>,
    uses: u64,
    bytes: usize,
    most: usize,
}

#[derive(Debug)]
struct Entry {
    bytes: Bytes,
    expires_at: u64,
    end: Instant,
    used: u64,
}

impl Cache {
    pub(crate) fn new(most: usize) -> Cache {
        Cache { entries: BTreeMap::new(), order: BTreeMap::new(), uses: 0, bytes: 0, most }
    }

    /// A block, and when it goes. What has expired is not there.
    pub(crate) fn get(&mut self, id: &BlockId) -> Option<(Bytes, u64)> {
        if self.entries.get(id)?.end.has_come() {
            self.remove(id);
            return None;
        }
        self.uses += 1;
        let entry = self.entries.get_mut(id)?;
        self.order.remove(&entry.used);
        entry.used = self.uses;
        self.order.insert(entry.used, *id);
        Some((entry.bytes.clone(), entry.expires_at))
    }

    /// Keeps a block whose id has been checked, unless it expires at once or is larger than all of the cache.
    pub(crate) fn insert(&mut self, id: BlockId, bytes: Bytes, expires_at: u64) {
        let lives = Duration::from_millis(expires_at.saturating_sub(wall_ms()));
        if lives.is_zero() || bytes.len() + OVERHEAD > self.most {
            return;
        }
        self.remove(&id);
        self.uses += 1;
        self.bytes += bytes.len() + OVERHEAD;
        self.order.insert(self.uses, id);
        let end = Instant::now() + lives.min(MAX_AGE);
        self.entries.insert(id, Entry { bytes, expires_at, end, used: self.uses });
        while self.bytes > self.most {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = *oldest;
            self.remove(&oldest);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn contains(&self, id: &BlockId) -> bool {
        self.entries.contains_key(id)
    }

    fn remove(&mut self, id: &BlockId) {
        if let Some(entry) = self.entries.remove(id) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes.len() + OVERHEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_peerlet::testing::Node;

    use super::*;
    use crate::Cfs;

    fn block(number: u8) -> (BlockId, Bytes) {
        let bytes = Bytes(vec![number; 800]);
        (BlockId::of(&bytes), bytes)
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_has_expired_is_gone() {
        let mut node = Node::<Cfs>::new("a");
        let mut cache = Cache::new(3000);
        let (ids, blocks): (Vec<_>, Vec<_>) = (0..4).map(block).unzip();
        node.act(|_| {
            for at in 0..3 {
                cache.insert(ids[at], blocks[at].clone(), wall_ms() + 60_000);
            }
            assert!(cache.get(&ids[0]).is_some());
            cache.insert(ids[3], blocks[3].clone(), wall_ms() + 1_000_000_000);
        });
        assert_eq!((cache.len(), cache.bytes(), cache.contains(&ids[1])), (3, 3000, false));
        node.run(Duration::from_secs(61));
        node.act(|_| {
            assert_eq!((cache.get(&ids[0]), cache.get(&ids[3]).is_some()), (None, true));
            cache.insert(ids[0], blocks[0].clone(), wall_ms());
            assert!(!cache.contains(&ids[0]));
        });
        node.run(MAX_AGE);
        node.act(|_| assert_eq!(cache.get(&ids[3]), None));
    }
}
