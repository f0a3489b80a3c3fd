//! How many bytes each publisher has in blocks that this node is responsible for (section 4.3 of the paper: a share of
//! each server's store, so that no publisher takes more than that share of them all).
//!
//! A publisher is a node. The paper takes IP addresses because they are not to be had at will; here node ids are not,
//! where an authority certifies them, while a signing key costs nothing.
//!
//! Each block has a record for each publisher that wants it kept, a claim, with the size in its name. A sweep over the
//! names of this node's range, now and then, counts what has expired and what has moved here or away.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_peerlet::collections::Single;
use prost_peerlet::storage::{self, Place};
use prost_peerlet::{Key, KeyRange, NodeId, route};

use crate::store::{CLAIM, claimed};

/// Ring keys that one step of a sweep reads.
const STEP: u32 = 128;
/// Claims that are read of one key. More than one block at a key would take a collision of the first 160 bits.
const CLAIMS: u32 = 64;
/// Between two steps.
pub(crate) const STEP_PAUSE: Duration = Duration::from_millis(500);
/// Between two sweeps.
pub(crate) const SWEEP_PAUSE: Duration = Duration::from_secs(600);
/// Publishers that are counted at most. The smallest are forgotten until the next sweep.
const MAX_PUBLISHERS: usize = 4096;
/// Publishers that are remembered while the instance is away, the largest.
const MAX_REMEMBERED: usize = 1024;

/// Bytes by publisher.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    used: BTreeMap<NodeId, u64>,
    sweep: Option<Sweep>,
}

#[derive(Debug)]
struct Sweep {
    range: KeyRange,
    after: Option<Key>,
    sums: BTreeMap<NodeId, u64>,
}

impl Ledger {
    /// What was known when the instance was there last.
    pub(crate) fn load() -> Ledger {
        let used = remembered().get().ok().flatten().unwrap_or_default();
        Ledger { used: used.into_iter().collect(), sweep: None }
    }

    /// Bytes of a publisher.
    pub(crate) fn used(&self, publisher: NodeId) -> u64 {
        self.used.get(&publisher).copied().unwrap_or(0)
    }

    /// A claim at this key has taken the place of one of `old` bytes.
    pub(crate) fn charge(&mut self, publisher: NodeId, key: Key, old: u64, new: u64) {
        let add = |sums: &mut BTreeMap<NodeId, u64>| {
            let sum = sums.entry(publisher).or_default();
            *sum = (*sum + new).saturating_sub(old);
        };
        add(&mut self.used);
        if let Some(sweep) = &mut self.sweep
            && sweep.has_passed(key)
        {
            add(&mut sweep.sums);
        }
        bound(&mut self.used, MAX_PUBLISHERS);
    }

    /// Publishers and their bytes, the largest first.
    pub(crate) fn largest(&self, most: usize) -> Vec<(NodeId, u64)> {
        let mut all: Vec<_> = self.used.iter().map(|(publisher, bytes)| (*publisher, *bytes)).collect();
        all.sort_by_key(|(_, bytes)| core::cmp::Reverse(*bytes));
        all.truncate(most);
        all
    }

    /// Goes a step on with the sweep. Says how long to wait until the next.
    pub(crate) fn step(&mut self) -> Duration {
        let Some(range) = route::range(route::myself(), 0) else { return SWEEP_PAUSE };
        let sweep = self.sweep.take().filter(|sweep| sweep.range == range);
        let mut sweep = sweep.unwrap_or(Sweep { range, after: None, sums: BTreeMap::new() });
        let Ok(keys) = storage::keys(range, sweep.after, STEP) else { return SWEEP_PAUSE };
        for key in &keys {
            for name in storage::names(Place::At(*key), CLAIM, None, CLAIMS).unwrap_or_default() {
                if let Some((publisher, size)) = claimed(&name) {
                    *sweep.sums.entry(publisher).or_default() += size;
                }
            }
        }
        bound(&mut sweep.sums, MAX_PUBLISHERS);
        if keys.len() == STEP as usize {
            sweep.after = keys.last().copied();
            self.sweep = Some(sweep);
            return STEP_PAUSE;
        }
        self.used = sweep.sums;
        // Where that cannot be written, the next sweep after a start counts anew.
        let _ = remembered().set(&self.largest(MAX_REMEMBERED), None);
        SWEEP_PAUSE
    }
}

impl Sweep {
    fn has_passed(&self, key: Key) -> bool {
        let way = |key| self.range.after.distance_to(key);
        self.after.is_some_and(|after| self.range.contains(key) && way(key) <= way(after))
    }
}

fn remembered() -> Single<Vec<(NodeId, u64)>> {
    Single::new(Place::Node, b"quota")
}

fn bound(sums: &mut BTreeMap<NodeId, u64>, most: usize) {
    while sums.len() > most {
        let smallest = sums.iter().min_by_key(|(_, bytes)| **bytes).map(|(publisher, _)| *publisher);
        let Some(smallest) = smallest else { break };
        sums.remove(&smallest);
    }
}
