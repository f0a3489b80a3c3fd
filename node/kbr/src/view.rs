//! What one node knows of the ring, as a value: the Common API's questions are answered from it.

use core::time::Duration;

use crate::id::{Interval, Key, NodeId};
use crate::message::Peer;

/// A snapshot of a node's place in the ring. Cheap to share; a new one is made when something changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingView {
    /// This node.
    pub me: Peer,
    /// Whether the node is a member of a ring.
    pub joined: bool,
    /// Live nodes before this one, nearest first; empty in a ring of one.
    pub predecessors: Vec<Peer>,
    /// Live nodes after this one, nearest first; empty in a ring of one.
    pub successors: Vec<Peer>,
    /// Fingers that are no successors, clockwise from this node.
    pub fingers: Vec<Peer>,
    /// Nodes whose finger this node is, in order of id.
    pub backpointers: Vec<Peer>,
    /// Smoothed round-trip times to connected nodes, in order of id.
    pub round_trips: Vec<(NodeId, Duration)>,
}

/// The first nodes that are, or would become, responsible for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// In order: each becomes responsible should all before it fail.
    pub nodes: Vec<NodeId>,
    /// False where this node knows fewer than were asked for, unless these are all members of the ring.
    pub complete: bool,
}

/// A piece of the ring without a gap in it.
struct Stretch {
    /// Clockwise.
    nodes: Vec<NodeId>,
    /// Whether these are all members, so that the first comes after the last.
    whole: bool,
}

impl Stretch {
    /// The node `steps` before the one at `at`.
    fn before(&self, at: usize, steps: usize) -> Option<NodeId> {
        if self.whole {
            let count = self.nodes.len();
            return Some(self.nodes[(at + count - steps % count) % count]);
        }
        at.checked_sub(steps).map(|at| self.nodes[at])
    }

    /// Where the node responsible for `key` stands.
    fn owner(&self, key: Key) -> Option<usize> {
        let owns = |at: &usize| {
            let before = self.before(*at, 1);
            before.is_some_and(|before| Interval::open_closed(before, self.nodes[*at]).contains(key))
        };
        (0..self.nodes.len()).find(owns)
    }
}

impl RingView {
    /// The smoothed round-trip time to a node, where it is connected.
    pub fn round_trip(&self, node: NodeId) -> Option<Duration> {
        let at = self.round_trips.binary_search_by(|(known, _)| known.cmp(&node)).ok()?;
        Some(self.round_trips[at].1)
    }

    /// Up to `max` next hops toward `key`, best first. Common API `local_lookup`.
    ///
    /// The node that is responsible comes first where this node knows it, then the nodes before the key, the nearest
    /// to it first. `safe` leaves out fingers, which an attacker who chooses his id can aim for more cheaply than the
    /// places next to this node.
    pub fn local_lookup(&self, key: Key, max: usize, safe: bool) -> Vec<NodeId> {
        if !self.joined {
            return Vec::new();
        }
        let mut hops = self.replica_set(key, 1).nodes;
        if hops.first() != Some(&self.me.id) {
            let fingers = self.fingers.iter().filter(|_| !safe);
            let known = self.predecessors.iter().chain(&self.successors).chain(fingers).map(|peer| peer.id);
            let mut before: Vec<NodeId> =
                known.filter(|node| Interval::open(self.me.id, key).contains(*node) && !hops.contains(node)).collect();
            before.sort_by_key(|node| node.distance_to(key));
            before.dedup();
            hops.extend(before);
        }
        hops.truncate(max);
        hops
    }

    /// Up to `max` nodes nearest on the ring, both sides, nearest first. Common API `neighborSet`.
    pub fn neighbour_set(&self, max: usize) -> Vec<NodeId> {
        let me = self.me.id;
        let mut nodes: Vec<NodeId> = self.predecessors.iter().chain(&self.successors).map(|peer| peer.id).collect();
        nodes.sort_by_key(|node| (me.distance_to(*node).min(node.distance_to(me)), *node));
        nodes.dedup();
        nodes.truncate(max);
        nodes
    }

    /// The first `max` nodes responsible for `key`. Common API `replicaSet`.
    ///
    /// Answers for keys that lie between two nodes that this node knows to be neighbours of each other: in a ring of
    /// which it knows all members, for every key. For other keys the set is empty and incomplete.
    pub fn replica_set(&self, key: Key, max: usize) -> Replicas {
        let stretch = self.stretch();
        let Some(owner) = stretch.owner(key) else {
            return Replicas { nodes: Vec::new(), complete: false };
        };
        let mut nodes = stretch.nodes[owner..].to_vec();
        if stretch.whole {
            nodes.extend_from_slice(&stretch.nodes[..owner]);
        }
        nodes.truncate(max);
        let complete = stretch.whole || nodes.len() == max;
        Replicas { nodes, complete }
    }

    /// The keys for which `node` is the replica of rank `rank`; none where this node cannot know. Common API `range`.
    pub fn range(&self, node: NodeId, rank: usize) -> Option<Interval> {
        let stretch = self.stretch();
        if stretch.whole && rank >= stretch.nodes.len() {
            return None;
        }
        let at = stretch.nodes.iter().position(|known| *known == node)?;
        Some(Interval::open_closed(stretch.before(at, rank + 1)?, stretch.before(at, rank)?))
    }

    /// This node and all before and after it that it knows to stand side by side.
    fn stretch(&self) -> Stretch {
        let me = self.me.id;
        if !self.joined {
            return Stretch { nodes: Vec::new(), whole: false };
        }
        let before = self.predecessors.iter().rev().map(|peer| peer.id);
        let after = self.successors.iter().map(|peer| peer.id);
        let meet = self.predecessors.iter().any(|peer| self.successors.iter().any(|other| other.id == peer.id));
        let alone = self.predecessors.is_empty() && self.successors.is_empty();
        let mut nodes: Vec<NodeId> = before.chain([me]).chain(after).collect();
        if meet {
            nodes.sort_by_key(|node| me.distance_to(*node));
            nodes.dedup();
        }
        Stretch { nodes, whole: alone || meet }
    }
}
