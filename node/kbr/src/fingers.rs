//! The finger table: long ways round the ring. Never used to decide who is responsible.

use crate::id::{Id, NodeId};
use crate::message::Peer;

/// Most fingers. In a ring of N nodes about log2 (N / r) differ.
pub(crate) const MAX_FINGERS: usize = 32;

/// Finger i is the node responsible for the point 2^i after this node. Runs of equal fingers are kept once, under the
/// lowest i that was asked for.
#[derive(Debug)]
pub(crate) struct Fingers {
    me: NodeId,
    /// In rising order of exponent, and so clockwise.
    entries: Vec<(u32, Peer)>,
    /// The exponent to repair next.
    next: u32,
    /// Found, and not yet answered to a ping.
    candidates: Vec<(u32, Peer)>,
    changes: u64,
}

impl Fingers {
    pub(crate) fn new(me: NodeId) -> Fingers {
        Fingers { me, entries: Vec::new(), next: 0, candidates: Vec::new(), changes: 0 }
    }

    /// How often the fingers have changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Clockwise from this node.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.entries.iter().map(|(_, peer)| *peer)
    }

    pub(crate) fn contains(&self, id: NodeId) -> bool {
        self.entries.iter().any(|(_, peer)| peer.id == id)
    }

    /// The exponent whose turn it is, given the last successor; none where the list goes too far round for any.
    /// Fingers that the successor list covers are given up.
    pub(crate) fn turn(&mut self, last_successor: NodeId) -> Option<u32> {
        let lowest = self.me.distance_to(last_successor).log2()? + 1;
        let me = self.me;
        self.keep(|_, peer| me.distance_to(peer.id).log2().is_some_and(|reach| reach >= lowest));
        for (exponent, _) in &mut self.entries {
            *exponent = lowest.max(*exponent);
        }
        if lowest >= Id::BITS {
            return None;
        }
        if self.next < lowest || self.next >= Id::BITS {
            self.next = lowest;
        }
        Some(self.next)
    }

    /// The node responsible for the start of finger `exponent` is known: moves on to the next that differs. Gives
    /// the node to ping where it is not this finger yet.
    pub(crate) fn found(&mut self, exponent: u32, owner: Peer) -> Option<Peer> {
        let way = self.me.distance_to(owner.id);
        let Some(reach) = way.log2().filter(|reach| *reach >= exponent) else {
            // Responsibility wraps to this node or before the start: there is nothing beyond.
            self.keep(|other, _| other < exponent);
            self.next = 0;
            return None;
        };
        self.next = reach + 1;
        self.keep(|other, _| other <= exponent || other > reach);
        if self.entries.contains(&(exponent, owner)) {
            return None;
        }
        self.candidates.retain(|(other, _)| *other != exponent);
        if self.candidates.len() < MAX_FINGERS {
            self.candidates.push((exponent, owner));
        }
        Some(owner)
    }

    /// A neighbour is responsible for the start of finger `exponent`: no finger is needed as far as it reaches.
    pub(crate) fn covered(&mut self, exponent: u32, neighbour: Peer) {
        let reach = self.me.distance_to(neighbour.id).log2().map_or(exponent, |reach| reach.max(exponent));
        self.keep(|other, _| other < exponent || other > reach);
        self.next = reach + 1;
    }

    /// A lookup failed: its finger keeps what it has, and the next has its turn.
    pub(crate) fn missed(&mut self, exponent: u32) {
        self.next = exponent + 1;
    }

    /// A node has answered a ping: adopts it where it was a candidate. Says whether it was.
    pub(crate) fn adopt(&mut self, id: NodeId) -> bool {
        let Some(at) = self.candidates.iter().position(|(_, peer)| peer.id == id) else { return false };
        let (exponent, peer) = self.candidates.remove(at);
        self.keep(|other, old| other != exponent && old.id != id);
        if self.entries.len() == MAX_FINGERS {
            return false;
        }
        let place = self.entries.partition_point(|(other, _)| *other < exponent);
        self.entries.insert(place, (exponent, peer));
        self.changes += 1;
        true
    }

    /// A node has been met at this address: its fingers point there.
    pub(crate) fn relocate(&mut self, peer: Peer) {
        for (_, listed) in self.entries.iter_mut().chain(&mut self.candidates) {
            if listed.id == peer.id && listed.addr != peer.addr {
                listed.addr = peer.addr;
                self.changes += 1;
            }
        }
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        self.candidates.retain(|(_, peer)| peer.id != id);
        self.keep(|_, peer| peer.id != id);
    }

    /// Gives up all.
    pub(crate) fn clear(&mut self) {
        self.keep(|_, _| false);
        self.candidates.clear();
        self.next = 0;
    }

    fn keep(&mut self, which: impl Fn(u32, Peer) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|(exponent, peer)| which(*exponent, *peer));
        self.changes += u64::from(self.entries.len() != before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The node 2^`exponent` after the start.
    fn peer(exponent: u32) -> Peer {
        Peer { id: Id::ZERO.plus_power(exponent), addr: ([10, 0, 0, exponent as u8], 1).into() }
    }

    #[test]
    fn fingers_are_repaired_one_after_the_other_beyond_the_successors() {
        let mut fingers = Fingers::new(Id::ZERO);
        assert_eq!(fingers.turn(peer(100).id), Some(101));
        // One node is responsible for the starts of 101 to 120: no other is asked for.
        assert_eq!(fingers.found(101, peer(120)), Some(peer(120)));
        assert_eq!(fingers.peers().count(), 0, "not before it has answered");
        assert!(fingers.adopt(peer(120).id));
        assert_eq!(fingers.turn(peer(100).id), Some(121));
        assert_eq!(fingers.found(121, peer(159)), Some(peer(159)));
        assert!(fingers.adopt(peer(159).id));
        assert_eq!(fingers.turn(peer(100).id), Some(101), "round again");
        assert_eq!(fingers.found(101, peer(120)), None, "as it is");
        assert_eq!(fingers.peers().collect::<Vec<_>>(), [peer(120), peer(159)]);
        // The successor list has grown beyond the first.
        assert_eq!(fingers.turn(peer(130).id), Some(131));
        assert_eq!(fingers.peers().collect::<Vec<_>>(), [peer(159)]);
    }

    #[test]
    fn a_nearer_finger_replaces_and_a_dead_one_goes() {
        let mut fingers = Fingers::new(Id::ZERO);
        fingers.turn(peer(100).id);
        fingers.found(101, peer(120));
        fingers.adopt(peer(120).id);
        fingers.found(101, peer(110));
        assert!(fingers.adopt(peer(110).id));
        assert_eq!(fingers.peers().collect::<Vec<_>>(), [peer(110)]);
        let changes = fingers.changes();
        fingers.remove(peer(110).id);
        assert!(fingers.changes() > changes && !fingers.contains(peer(110).id));
        assert!(!fingers.adopt(peer(110).id), "a ping of someone who is no candidate");
    }

    #[test]
    fn a_lookup_that_comes_back_to_the_start_ends_the_round() {
        let mut fingers = Fingers::new(Id::ZERO);
        fingers.turn(peer(100).id);
        let me = Peer { id: Id::ZERO, addr: ([10, 0, 0, 1], 1).into() };
        assert_eq!(fingers.found(130, me), None);
        assert_eq!(fingers.turn(peer(100).id), Some(101));
    }
}
