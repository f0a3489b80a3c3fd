//! Nodes that lie, as part of a scenario.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;

use prost_kbr::{Key, NodeId};
use serde::{Deserialize, Serialize};

use super::driver::Driver;
use super::events::Due;
use crate::report;
use crate::world::{Act, Deceit, Index};

/// The time over which Sybil nodes start.
const OVER: Duration = Duration::from_secs(10);
/// How often a key is drawn again whose owner lies.
const DRAWS: usize = 1000;

/// What Byzantine nodes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByzantineKind {
    /// They acknowledge messages and drop them, and do not answer when they are asked for the next node.
    #[default]
    Drop,
    /// They say of every key that they are responsible.
    Lie,
    /// New nodes whose ids were mined right after one key, as many as a successor list has at the least. They say that they
    /// are responsible for that key, which they are by their ids, and are honest about all others.
    Sybil,
}

impl fmt::Display for ByzantineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// So many nodes lie.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Byzantine {
    /// Share of the live nodes, 0 to 0.5; 0 for none.
    #[serde(deserialize_with = "super::study::half")]
    pub share: f64,
    /// What they do.
    #[serde(default)]
    pub kind: ByzantineKind,
}

/// The nodes that lie at the moment.
#[derive(Debug, Default)]
pub(super) struct Liars {
    nodes: BTreeSet<Index>,
    /// The most that there were at once.
    most: usize,
    /// The key that Sybil nodes gather behind.
    pub(super) mined: Option<Key>,
}

impl Liars {
    pub(super) fn contains(&self, node: Index) -> bool {
        self.nodes.contains(&node)
    }
}

impl Driver<'_> {
    /// From now on these lie, and nobody else.
    pub(super) fn infiltrate(&mut self, byzantine: Byzantine) {
        for node in std::mem::take(&mut self.liars.nodes) {
            self.act(Act::Turn { node, deceit: None });
            self.refresh(node);
        }
        self.liars.mined = None;
        let Byzantine { share, kind } = byzantine;
        if share <= 0.0 {
            return self.mark("all nodes are honest".to_owned());
        }
        match kind {
            ByzantineKind::Drop => self.turn_some(share, Deceit::Drop),
            ByzantineKind::Lie => self.turn_some(share, Deceit::Claim),
            ByzantineKind::Sybil => self.start_sybils(share),
        }
        let count = self.liars.nodes.len();
        self.liars.most = self.liars.most.max(count);
        self.mark(format!("{count} nodes are Byzantine ({kind})"));
    }

    fn turn_some(&mut self, share: f64, deceit: Deceit) {
        for node in self.crowd.live.share(share, &mut self.random) {
            self.turn(node, deceit);
            self.refresh(node);
        }
    }

    fn turn(&mut self, node: Index, deceit: Deceit) {
        self.liars.nodes.insert(node);
        self.act(Act::Turn { node, deceit: Some(deceit) });
    }

    /// New nodes between one key and the node responsible for it. Whoever wants such an id tries about as many keys as there
    /// are nodes.
    fn start_sybils(&mut self, share: f64) {
        let key = self.key();
        let live = self.crowd.live.len();
        let count = ((share * live as f64).round() as usize).max(self.routing.successors) as u32;
        let room = self.world.owner(key).map_or(u64::MAX, |owner| way(key, self.world.peer(owner).id));
        self.liars.mined = Some(key);
        for number in 0..count {
            let id = after(key, self.random.below(room.max(1)));
            let node = self.newcomer_with(Some(id));
            if self.world.is_alive(node) {
                continue;
            }
            self.turn(node, Deceit::ClaimOne(key));
            self.agenda.add(self.world.now() + OVER * number / count, Due::Start(node));
        }
    }

    /// The key of a group of lookups: that of the Sybil nodes in every second group, else a random one that an honest node
    /// is responsible for.
    pub(super) fn asked_key(&mut self, group: u32) -> Key {
        if let Some(key) = self.liars.mined.filter(|_| group % 2 == 1) {
            return key;
        }
        let mut key = self.key();
        for _ in 0..DRAWS {
            if self.world.owner(key).is_none_or(|owner| !self.liars.contains(owner)) {
                break;
            }
            key = self.key();
        }
        key
    }

    pub(super) fn byzantine_report(&self) -> Option<report::Byzantine> {
        let nodes = self.liars.most as u64;
        (nodes > 0)
            .then(|| report::Byzantine { nodes, mined_key: self.liars.mined.map(|key| self.lookups.counts_of(key)) })
    }
}

/// The id so far after a key, in units of the ring's 2^64th part.
fn after(key: Key, way: u64) -> NodeId {
    let mut bytes = *key.as_bytes();
    let (head, _) = bytes.split_first_chunk_mut::<8>().expect("an id has twenty bytes");
    *head = u64::from_be_bytes(*head).wrapping_add(way).to_be_bytes();
    NodeId::from_bytes(bytes)
}

/// How far an id is after a key, in the same units.
fn way(key: Key, id: NodeId) -> u64 {
    let head = |id: &NodeId| id.as_bytes().first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head));
    head(&id).wrapping_sub(head(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_after_its_key_across_the_top_of_the_ring() {
        let key = Key::from_bytes([0xff; 20]);
        let near = after(key, 5);
        assert!(key.distance_to(near) < key.distance_to(after(key, 6)));
        assert_eq!((near.as_bytes()[7], way(key, near), way(near, key)), (4, 5, 5u64.wrapping_neg()));
    }
}
