//! Finding and improving fingers, one slot a round.
//!
//! While slots are empty rounds follow quickly. After that each round measures one more node of one slot, and the more
//! nodes have been measured the rarer rounds become: the first few samples bring most of what there is to gain.

use core::time::Duration;

use super::Machine;
use crate::failure::Failure;
use crate::fingers::{SAMPLES, Slot};
use crate::message::{Message, Outcome, Peer, Purpose};
use crate::pending::Owner;
use crate::planted::Bug;
use crate::questions::Query;

/// Nodes asked for where a slot has no finger yet: any will do at first, and a long list on its way back costs more than
/// the rest of the lookup.
const ANY: u8 = 4;
/// A node replaces a finger where its round-trip time is at most this share, in percent: less would have fingers change
/// with every measurement. Bamboo's `rt_scale` is 90.
const CLEARLY_NEARER: u32 = 80;
/// How much longer a round takes for each candidate tried in every slot, once all have been looked at.
const PACE: Duration = Duration::from_millis(750);
/// How long after the loss of a finger others are not improved more often than this: where nodes come and go all the time
/// a nearer finger is not there for long enough to be worth what finding it costs, a handshake of 4 KB above all.
const UNREST: Duration = Duration::from_secs(30);
const UNREST_PACE: Duration = Duration::from_secs(10);

impl Machine {
    pub(super) fn handle_repair_timer(&mut self) {
        if self.repair_due.is_none_or(|due| due > self.now) {
            return;
        }
        let nearest = if self.ring.is_short() { None } else { self.near_successors().last().map(|peer| peer.id) };
        for lost in self.fingers.divide(nearest) {
            self.send(lost, Message::Unlink);
        }
        if let Some((slot, empty)) = self.fingers.turn()
            && !self.try_candidates(slot)
            && let Some(start) = self.fingers.start(slot)
        {
            let id = self.random.number();
            let wanted = if empty { ANY } else { SAMPLES as u8 };
            self.start_lookup_for(Owner::Finger(slot), id, start, Purpose::Finger(wanted));
        }
        self.repair_due = Some(self.now + self.random.jitter(self.repair_period()));
    }

    fn repair_period(&self) -> Duration {
        let longest = self.config.fingers_max;
        if self.ring.is_short() {
            return self.config.fingers_min.max(self.config.stabilize_max).min(longest);
        }
        if !self.fingers.is_settled() {
            return self.config.fingers_min;
        }
        let unrest = self.finger_lost.is_some_and(|lost| self.now.since(lost) < UNREST);
        let shortest = if unrest { UNREST_PACE } else { self.config.fingers_min };
        (PACE * (1 + self.fingers.effort())).max(shortest).min(longest)
    }

    pub(super) fn on_finger_outcome(&mut self, slot: Slot, outcome: Outcome) {
        if matches!(outcome.result, Err(Failure::NotJoined)) {
            return;
        }
        let me = self.me.id;
        let others = outcome.replicas.into_iter().filter(|peer| peer.id != me && !self.probes.is_lost(peer.id));
        let others: Vec<Peer> = others.collect();
        for peer in &others {
            self.book.hint(self.now, *peer);
        }
        self.fingers.propose(slot, others.into_iter());
        if !self.try_candidates(slot) {
            self.fingers.note_tried(slot);
        }
    }

    /// Tries the next candidate of a slot that is worth it. Says whether there was one.
    fn try_candidates(&mut self, slot: Slot) -> bool {
        loop {
            let book = &self.book;
            let known = |peer: &Peer| book.round_trip(peer.id).map_or(u64::MAX, |rtt| rtt.as_micros() as u64);
            let Some(candidate) = self.fingers.take_candidate(slot, known) else { return false };
            // The nearest neighbours behind are linked already.
            if self.ring.predecessors().contains(&candidate) {
                continue;
            }
            self.fingers.note_tried(slot);
            let measured = self.book.round_trip(candidate.id).filter(|_| self.book.is_connected(candidate.id));
            if self.fingers.finger(slot).is_none() {
                self.fingers.ask(slot, candidate);
                if self.config.has(Bug::UnprovenFinger) {
                    self.fingers.answered(candidate, true);
                }
                self.send(candidate, Message::Link);
                return true;
            }
            match measured {
                Some(_) => self.consider(candidate),
                // Found too far away when it was measured once: another handshake would tell nothing new.
                None if self.book.round_trip(candidate.id).is_some() && !self.is_better(slot, candidate) => {}
                None => {
                    self.probe(candidate);
                    return true;
                }
            }
        }
    }

    /// A peer's round-trip time is known: it becomes the finger of its slot where it is clearly nearer than the present.
    pub(super) fn consider(&mut self, peer: Peer) {
        if !self.is_member() || self.ring.contains(peer.id) || self.fingers.contains(peer.id) {
            return;
        }
        if let Some(slot) = self.fingers.slot_of(peer.id).filter(|slot| self.is_better(*slot, peer)) {
            self.fingers.ask(slot, peer);
            self.send(peer, Message::Link);
        }
    }

    /// Whether a peer is clearly nearer than the finger of a slot, as far as both have been measured.
    fn is_better(&self, slot: Slot, peer: Peer) -> bool {
        let finger = self.fingers.finger(slot).and_then(|finger| self.book.round_trip(finger.id));
        let times = self.book.round_trip(peer.id).zip(finger);
        times.is_some_and(|(new, old)| new * 100 < old * CLEARLY_NEARER)
    }

    pub(super) fn on_link(&mut self, from: Peer) {
        let accepted = self.is_member() && self.backpointers.admit(from);
        self.send(from, Message::Linked { accepted });
    }

    pub(super) fn on_linked(&mut self, from: Peer, accepted: bool) {
        match self.fingers.answered(from, accepted) {
            Some(replaced) => {
                self.stats.fingers_fixed += 1;
                if let Some(old) = replaced.filter(|old| old.id != from.id) {
                    self.send(old, Message::Unlink);
                }
            }
            None if !accepted => {
                // It was one once, and has no room for it any more.
                self.fingers.remove(from.id);
                self.release(from.id);
            }
            None => self.send(from, Message::Unlink),
        }
    }

    pub(super) fn on_unlink(&mut self, from: Peer) {
        self.backpointers.remove(from.id);
        self.fingers.remove(from.id);
    }

    /// A new member asks its successor, whose fingers are near its own, for candidates (MIT Chord's warm start).
    pub(super) fn ask_for_links(&mut self, successor: Peer) {
        if let Some(request) = self.ask(successor, Query::Links) {
            self.send(successor, Message::GetLinks { request });
        }
    }

    pub(super) fn on_get_links(&mut self, from: Peer, request: u64) {
        let mut links: Vec<Peer> = self.fingers.peers().chain(self.backpointers.peers()).collect();
        links.retain(|peer| peer.id != from.id && !self.probes.is_suspect(peer.id));
        links.truncate(crate::bounded::MAX_LIST);
        self.send(from, Message::Links { request, links });
    }

    pub(super) fn on_links(&mut self, from: Peer, request: u64, links: Vec<Peer>) {
        let Some(question) = self.answered(from, request) else {
            self.stats.dropped += 1;
            return;
        };
        if question.query == Query::Links {
            let nearest = if self.ring.is_short() { None } else { self.near_successors().last().map(|peer| peer.id) };
            self.fingers.divide(nearest);
            for peer in links.into_iter().filter(|peer| peer.id != self.me.id) {
                self.book.hint(self.now, peer);
                self.fingers.propose_one(peer);
            }
        }
    }
}
