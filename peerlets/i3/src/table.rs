//! The triggers that a node keeps, and which of them a packet fires.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_i3_api::{I3Id, Rate, Target, Trigger, is_nearer};
use prost_peerlet::NodeId;
use prost_peerlet::time::Instant;

use crate::bucket::Bucket;

/// Most triggers on a node.
const MOST: usize = 16_384;
/// Most triggers whose ids share a prefix.
const MOST_OF_PREFIX: usize = 1024;
/// Most triggers of one id: each takes a message of the event that a packet is. Larger groups are trees of triggers
/// (SIGCOMM 2002, section 3.4).
pub(crate) const MOST_OF_ID: usize = 100;

/// A trigger that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) trigger: Trigger,
    /// The node that refreshes it.
    pub(crate) holder: NodeId,
    pub(crate) end: Instant,
    bucket: Bucket,
}

/// What a packet to an id met.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fired {
    /// The triggers that matched best, without those over their rate.
    pub(crate) targets: Vec<(I3Id, Target)>,
    /// Those over their rate.
    pub(crate) limited: u32,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Triggers by id.
#[derive(Debug, Default)]
pub(crate) struct Table {
    kept: BTreeMap<I3Id, Vec<Kept>>,
    count: usize,
}

impl Table {
    /// Keeps a trigger for so long, in place of an earlier one with the same id and target.
    pub(crate) fn insert(&mut self, trigger: Trigger, holder: NodeId, lasts: Duration) -> Result<(), Full> {
        let end = Instant::now() + lasts;
        let rate = Rate::granted(trigger.rate);
        if let Some(kept) = self.find(&trigger) {
            kept.bucket.set_rate(rate);
            (kept.trigger, kept.holder, kept.end) = (trigger, holder, end);
            return Ok(());
        }
        if !self.has_room(&trigger.id) {
            self.sweep();
            if !self.has_room(&trigger.id) {
                return Err(Full);
            }
        }
        self.count += 1;
        self.kept.entry(trigger.id).or_default().push(Kept { trigger, holder, end, bucket: Bucket::new(rate) });
        Ok(())
    }

    /// Removes the trigger with this id and target.
    pub(crate) fn remove(&mut self, trigger: &Trigger) -> bool {
        self.drop_where(&trigger.id, |kept| kept.trigger.target == trigger.target) > 0
    }

    /// Removes the triggers of an id that end at this endpoint.
    pub(crate) fn remove_host(&mut self, id: &I3Id, node: NodeId, endpoint: u64) -> bool {
        let ends_there = |kept: &Kept| match &kept.trigger.target {
            Target::Host { address, .. } => (address.node, address.endpoint) == (node, endpoint),
            Target::Stack(_) => false,
        };
        self.drop_where(id, ends_there) > 0
    }

    /// All triggers of the id that matches the packet's best: those of one id all fire, of different ids the nearest one
    /// does (longest prefix, SIGCOMM 2002, section 2.3).
    pub(crate) fn fire(&mut self, packet: &I3Id) -> Fired {
        let now = Instant::now();
        let fires = |kept: &Kept| kept.end > now && kept.trigger.matches(packet).is_some();
        let (first, last) = neighbourhood(packet);
        let mut best: Option<I3Id> = None;
        for (id, kept) in self.kept.range(first..=last) {
            if best.is_none_or(|best| is_nearer(packet, id, &best)) && kept.iter().any(fires) {
                best = Some(*id);
            }
        }
        let mut fired = Fired::default();
        for kept in best.and_then(|best| self.kept.get_mut(&best)).into_iter().flatten() {
            if !fires(kept) {
                continue;
            }
            if kept.bucket.take() {
                fired.targets.push((kept.trigger.id, kept.trigger.target.clone()));
            } else {
                fired.limited += 1;
            }
        }
        fired
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&mut self) {
        let now = Instant::now();
        self.kept.retain(|_, kept| {
            kept.retain(|kept| kept.end > now);
            !kept.is_empty()
        });
        self.count = self.kept.values().map(Vec::len).sum();
    }

    /// All that have not expired, in order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kept> {
        let now = Instant::now();
        self.kept.values().flatten().filter(move |kept| kept.end > now)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    fn find(&mut self, trigger: &Trigger) -> Option<&mut Kept> {
        self.kept.get_mut(&trigger.id)?.iter_mut().find(|kept| kept.trigger.target == trigger.target)
    }

    fn has_room(&self, id: &I3Id) -> bool {
        let first = I3Id::of(false, id.prefix(), [0; 16], 0);
        let last = I3Id::of(true, id.prefix(), [u8::MAX; 16], u64::MAX);
        let of_prefix = || self.kept.range(first..=last).map(|(_, kept)| kept.len()).sum::<usize>();
        let of_id = self.kept.get(id).map_or(0, Vec::len);
        self.count < MOST && of_id < MOST_OF_ID && of_prefix() < MOST_OF_PREFIX
    }

    fn drop_where(&mut self, id: &I3Id, goes: impl Fn(&Kept) -> bool) -> usize {
        let Some(kept) = self.kept.get_mut(id) else { return 0 };
        let before = kept.len();
        kept.retain(|kept| !goes(kept));
        let gone = before - kept.len();
        if kept.is_empty() {
            self.kept.remove(id);
        }
        self.count -= gone;
        gone
    }
}

/// The ids that share the least number of bits with a packet's.
fn neighbourhood(packet: &I3Id) -> (I3Id, I3Id) {
    const SHARED: usize = prost_i3_api::MIN_MATCH as usize / 8;
    let (mut first, mut last) = (*packet.as_bytes(), *packet.as_bytes());
    first[SHARED..].fill(0);
    last[SHARED..].fill(u8::MAX);
    (I3Id::from_bytes(first), I3Id::from_bytes(last))
}
