//! The successor list and the predecessor list.

use crate::id::{Interval, Key, NodeId};
use crate::message::Peer;
use crate::order;

/// A member's place in the ring. Both lists hold distinct other nodes in the order of the ring, nearest first.
#[derive(Debug)]
pub(crate) struct Ring {
    me: NodeId,
    most_successors: usize,
    most_predecessors: usize,
    successors: Vec<Peer>,
    predecessors: Vec<Peer>,
    changes: u64,
}

/// What the removal of a node did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// The node was in one of the lists.
    pub(crate) any: bool,
    /// It was the predecessor. The nodes before it, which only it has vouched for, are candidates now.
    pub(crate) predecessor: Option<Vec<Peer>>,
}

impl Ring {
    pub(crate) fn new(me: NodeId, most_successors: usize, most_predecessors: usize) -> Ring {
        Ring { me, most_successors, most_predecessors, successors: Vec::new(), predecessors: Vec::new(), changes: 0 }
    }

    /// How often the lists have changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn successors(&self) -> &[Peer] {
        &self.successors
    }

    pub(crate) fn predecessors(&self) -> &[Peer] {
        &self.predecessors
    }

    pub(crate) fn successor(&self) -> Option<Peer> {
        self.successors.first().copied()
    }

    pub(crate) fn predecessor(&self) -> Option<Peer> {
        self.predecessors.first().copied()
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.successors.is_empty() && self.predecessors.is_empty()
    }

    /// Fewer successors than configured: the ring is too small for its full promise, or still forming.
    pub(crate) fn is_short(&self) -> bool {
        self.successors.len() < self.most_successors
    }

    /// All nodes of both lists; those that are in both come twice.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = Peer> {
        self.successors.iter().chain(&self.predecessors).copied()
    }

    pub(crate) fn contains(&self, id: NodeId) -> bool {
        self.neighbours().any(|peer| peer.id == id)
    }

    /// Whether this node is responsible for `key`, as far as its own lists say.
    pub(crate) fn owns(&self, key: Key) -> bool {
        match self.predecessors.first() {
            Some(predecessor) => Interval::open_closed(predecessor.id, self.me).contains(key),
            None => key == self.me || self.successors.is_empty(),
        }
    }

    /// Whether a node would be a better first successor than the present one.
    pub(crate) fn is_nearer_successor(&self, id: NodeId) -> bool {
        let end = self.successor().map_or(self.me, |successor| successor.id);
        id != self.me && Interval::open(self.me, end).contains(id)
    }

    /// Whether a node would be a better predecessor than the present one.
    pub(crate) fn is_nearer_predecessor(&self, id: NodeId) -> bool {
        let start = self.predecessor().map_or(self.me, |predecessor| predecessor.id);
        id != self.me && Interval::open(start, self.me).contains(id)
    }

    /// Makes `head`, which has just answered, the first successor, and its list the rest. `skip` names nodes
    /// known to be dead.
    pub(crate) fn adopt_successors(&mut self, head: Peer, list: &[Peer], skip: impl Fn(NodeId) -> bool) {
        let rest = list.iter().take_while(|peer| peer.id != self.me).filter(|peer| !skip(peer.id));
        let mut successors = order::clockwise(self.me, [head].into_iter().chain(rest.copied()));
        successors.truncate(self.most_successors);
        self.changes += u64::from(successors != self.successors);
        self.successors = successors;
    }

    /// Makes `head`, which has just answered, the predecessor, and its list the rest. `skip` names nodes
    /// known to be dead.
    pub(crate) fn adopt_predecessors(&mut self, head: Peer, list: &[Peer], skip: impl Fn(NodeId) -> bool) {
        let rest = list.iter().take_while(|peer| peer.id != self.me).filter(|peer| !skip(peer.id));
        let mut predecessors = order::counter_clockwise(self.me, [head].into_iter().chain(rest.copied()));
        predecessors.truncate(self.most_predecessors);
        self.changes += u64::from(predecessors != self.predecessors);
        self.predecessors = predecessors;
    }

    /// Puts `head`, which has just spoken to us, before the present predecessors. Those that lie after it go.
    pub(crate) fn insert_predecessor(&mut self, head: Peer) {
        let before = |peer: &&Peer| Interval::open(self.me, head.id).contains(peer.id);
        let before: Vec<Peer> = self.predecessors.iter().filter(before).copied().collect();
        self.adopt_predecessors(head, &before, |_| false);
    }

    /// Removes a node from both lists, which close the gap; the tail of a lost predecessor does not move up.
    pub(crate) fn remove(&mut self, id: NodeId) -> Removed {
        let mut removed = Removed { any: self.contains(id), predecessor: None };
        self.changes += u64::from(removed.any);
        self.successors.retain(|peer| peer.id != id);
        if self.predecessors.first().is_some_and(|peer| peer.id == id) {
            removed.predecessor = Some(self.predecessors.split_off(1));
            self.predecessors.clear();
        } else {
            self.predecessors.retain(|peer| peer.id != id);
        }
        removed
    }

    /// Both lists are in order, distinct, short enough and without this node.
    pub(crate) fn debug_assert_invariants(&self) {
        let after: Vec<_> = self.successors.iter().map(|peer| self.me.distance_to(peer.id)).collect();
        let before: Vec<_> = self.predecessors.iter().map(|peer| peer.id.distance_to(self.me)).collect();
        for (list, most) in [(after, self.most_successors), (before, self.most_predecessors)] {
            debug_assert!(list.len() <= most, "{list:?} is longer than {most}");
            debug_assert!(list.is_sorted_by(|a, b| a < b), "{list:?} is out of order");
            debug_assert!(list.first() != Some(&NodeId::ZERO), "the node is in its own list");
        }
    }
}
