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
        self.keep(|exponent, _| exponent >= lowest);
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
