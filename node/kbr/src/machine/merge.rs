//! How rings become one: after a partition, or where nodes joined through different members of a ring that was falling
//! apart.
//!
//! It takes one node that meets a node of another ring. Each is proposed to the other's ring, where the proposal is passed
//! on to the node that would be its predecessor. That one asks it, adopts it, and proposes the successor that it has had so
//! far to the new one, whose place is between: so the two rings are closed like a zip (ring unification: Shafaat, Ghodsi
//! and Haridi, "Handling Network Partitions and Mergers in Structured Overlay Networks", P2P 2007). Nothing is adopted by
//! hearsay: a proposal leads to a question, no more.

use super::Machine;
use crate::id::Interval;
use crate::message::{Message, Peer};

/// How often a proposal is passed on, at most.
const MAX_HOPS: u8 = 32;

impl Machine {
    /// A node that was taken for dead lives. It may have lived on in another ring.
    pub(super) fn on_returned(&mut self, peer: Peer) {
        if self.is_member() {
            self.search_through(peer);
            self.propose_to(peer, self.me);
        }
    }

    pub(super) fn propose_to(&mut self, to: Peer, peer: Peer) {
        self.send(to, Message::Candidate { peer, hops: 0 });
    }

    /// A node says that it has joined right after this one.
    pub(super) fn on_arrived(&mut self, from: Peer) {
        if self.is_member() && self.ring.is_nearer_successor(from.id) {
            self.ask_between(from);
        }
    }

    pub(super) fn on_candidate(&mut self, peer: Peer, hops: u8) {
        if peer.id == self.me.id {
            return;
        }
        if !self.is_member() {
            self.join.offered = Some(peer);
            return;
        }
        if self.ring.is_nearer_successor(peer.id) {
            if !self.probes.is_lost(peer.id) || self.probes.recheck(self.now, peer.id) {
                self.ask_between(peer);
            }
            return;
        }
        let between = Interval::open(self.me.id, peer.id);
        let known = self.ring.neighbours().chain(self.fingers.peers()).chain(self.backpointers.peers());
        let usable = |known: &Peer| between.contains(known.id) && !self.probes.is_suspect(known.id);
        let next = known.filter(usable).min_by_key(|known| known.id.distance_to(peer.id));
        if let Some(next) = next.filter(|_| hops < MAX_HOPS && !self.ring.contains(peer.id)) {
            self.send(next, Message::Candidate { peer, hops: hops + 1 });
        }
    }
}
