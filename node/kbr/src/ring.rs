//! The successor list and the predecessor list.

use crate::id::{Interval, Key, NodeId};
use crate::message::Peer;
use crate::order;

/// A member's place in the ring. Both lists hold distinct other nodes in the order of the ring, nearest first.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    me: NodeId,
    most_successors: usize,
    most_predecessors: usize,
    successors: Vec<Peer>,
    predecessors: Vec<Peer>,
    changes: u64,
}

/// One of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The successors.
    After,
    /// The predecessors.
    Before,
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

    /// Makes `list`, the successors of `from` by its own word, what follows it among the successors, where it is one. `skip`
    /// names nodes known to be dead.
    pub(crate) fn extend_successors(&mut self, from: NodeId, list: &[Peer], skip: impl Fn(NodeId) -> bool) {
        let Some(at) = self.successors.iter().position(|peer| peer.id == from) else { return };
        let known = self.successors[..=at].to_vec();
        let whole: Vec<Peer> = known.iter().skip(1).chain(list).copied().collect();
        self.adopt_successors(known[0], &whole, skip);
    }

    /// The same for predecessors.
    pub(crate) fn extend_predecessors(&mut self, from: NodeId, list: &[Peer], skip: impl Fn(NodeId) -> bool) {
        let Some(at) = self.predecessors.iter().position(|peer| peer.id == from) else { return };
        let known = self.predecessors[..=at].to_vec();
        let whole: Vec<Peer> = known.iter().skip(1).chain(list).copied().collect();
        self.adopt_predecessors(known[0], &whole, skip);
    }

    /// Puts `head`, which has just spoken to us, before the present predecessors. Those that lie after it go.
    pub(crate) fn insert_predecessor(&mut self, head: Peer) {
        let before = |peer: &&Peer| Interval::open(self.me, head.id).contains(peer.id);
        let before: Vec<Peer> = self.predecessors.iter().filter(before).copied().collect();
        self.adopt_predecessors(head, &before, |_| false);
    }

    /// A node has been met at this address: both lists name it there, wherever it was before.
    pub(crate) fn relocate(&mut self, peer: Peer) {
        for listed in self.successors.iter_mut().chain(&mut self.predecessors) {
            if listed.id == peer.id && listed.addr != peer.addr {
                listed.addr = peer.addr;
                self.changes += 1;
            }
        }
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
    pub(crate) fn assert_invariants(&self) {
        let after: Vec<_> = self.successors.iter().map(|peer| self.me.distance_to(peer.id)).collect();
        let before: Vec<_> = self.predecessors.iter().map(|peer| peer.id.distance_to(self.me)).collect();
        for (list, most) in [(after, self.most_successors), (before, self.most_predecessors)] {
            assert!(list.len() <= most, "{list:?} is longer than {most}");
            assert!(list.is_sorted_by(|a, b| a < b), "{list:?} is out of order");
            assert!(list.first() != Some(&NodeId::ZERO), "the node is in its own list");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(place: u8) -> Peer {
        let mut bytes = [0; 20];
        bytes[0] = place;
        Peer { id: NodeId::from_bytes(bytes), addr: ([10, 0, 0, place], 1).into() }
    }

    fn peers(places: &[u8]) -> Vec<Peer> {
        places.iter().map(|place| peer(*place)).collect()
    }

    /// A member at 100 with lists of 3.
    fn ring(successors: &[u8], predecessors: &[u8]) -> Ring {
        let mut ring = Ring::new(peer(100).id, 3, 3);
        if let [head, rest @ ..] = successors {
            ring.adopt_successors(peer(*head), &peers(rest), |_| false);
        }
        if let [head, rest @ ..] = predecessors {
            ring.adopt_predecessors(peer(*head), &peers(rest), |_| false);
        }
        ring.assert_invariants();
        ring
    }

    #[test]
    fn a_list_is_cut_where_it_is_full_goes_round_or_goes_back() {
        assert_eq!(ring(&[110, 120, 130, 140], &[]).successors(), peers(&[110, 120, 130]));
        assert_eq!(ring(&[110, 100, 110], &[]).successors(), peers(&[110]), "back at this node");
        assert_eq!(ring(&[110, 90, 95, 100], &[]).successors(), peers(&[110, 90, 95]), "all the way round");
        assert_eq!(ring(&[110, 120, 115], &[]).successors(), peers(&[110, 120]), "out of order");
        assert_eq!(ring(&[110, 110, 120], &[]).successors(), peers(&[110]), "twice");
        assert_eq!(ring(&[], &[90, 80, 70, 60]).predecessors(), peers(&[90, 80, 70]));
        assert_eq!(ring(&[], &[90, 100, 90]).predecessors(), peers(&[90]));
    }

    #[test]
    fn the_dead_are_left_out_and_the_list_is_filled_behind_them() {
        let mut ring = ring(&[110], &[]);
        ring.adopt_successors(peer(110), &peers(&[120, 130, 140]), |id| id == peer(120).id);
        assert_eq!(ring.successors(), peers(&[110, 130, 140]));
    }

    #[test]
    fn a_node_owns_what_lies_between_its_predecessor_and_itself() {
        let alone = ring(&[], &[]);
        assert!(alone.owns(peer(5).id) && alone.is_alone());
        let member = ring(&[110], &[90]);
        assert!(member.owns(peer(100).id) && member.owns(peer(91).id));
        assert!(!member.owns(peer(90).id) && !member.owns(peer(101).id));
        let newcomer = ring(&[110], &[]);
        assert!(newcomer.owns(peer(100).id) && !newcomer.owns(peer(99).id));
    }

    #[test]
    fn a_nearer_predecessor_goes_before_the_others() {
        let mut ring = ring(&[110], &[80, 70, 60]);
        assert!(ring.is_nearer_predecessor(peer(90).id));
        assert!(!ring.is_nearer_predecessor(peer(75).id) && !ring.is_nearer_predecessor(peer(100).id));
        ring.insert_predecessor(peer(90));
        assert_eq!(ring.predecessors(), peers(&[90, 80, 70]));
    }

    #[test]
    fn a_node_that_comes_back_elsewhere_keeps_its_place() {
        let mut ring = ring(&[20, 30], &[30, 5]);
        let (moved, before) = (Peer { addr: peer(99).addr, ..peer(30) }, ring.changes());

        ring.relocate(moved);

        assert_eq!((ring.successors(), ring.predecessors()), (&[peer(20), moved][..], &[moved, peer(5)][..]));
        assert!(ring.changes() > before);
        let before = ring.changes();
        ring.relocate(moved);
        ring.relocate(peer(40));
        assert_eq!(ring.changes(), before);
    }

    #[test]
    fn a_lost_predecessor_leaves_its_list_as_candidates() {
        let mut ring = ring(&[110, 80], &[90, 80, 70]);
        let removed = ring.remove(peer(90).id);
        assert_eq!(removed, Removed { any: true, predecessor: Some(peers(&[80, 70])) });
        assert_eq!(ring.predecessors(), []);
        let removed = ring.remove(peer(80).id);
        assert_eq!(removed, Removed { any: true, predecessor: None });
        assert_eq!(ring.successors(), peers(&[110]));
        let changes = ring.changes();
        assert!(!ring.remove(peer(80).id).any);
        assert_eq!(ring.changes(), changes);
    }
}
