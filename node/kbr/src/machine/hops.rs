//! Hop by hop: acknowledgements, timeouts, and the next attempt.

use super::Machine;
use crate::failure::Failure;
use crate::id::NodeId;
use crate::message::{Message, Peer};
use crate::planted::Bug;
use crate::transit::{Aim, Parcel};

impl Machine {
    pub(super) fn acknowledge(&mut self, from: Peer, seq: u64) {
        if self.config.has(Bug::NoAcknowledgement) {
            return;
        }
        if let Some(runs) = self.acks.note(self.now, from.id, seq) {
            self.send(from, Message::Acknowledge { runs });
        }
    }

    pub(super) fn handle_acknowledge_timer(&mut self) {
        while let Some((from, runs)) = self.acks.overdue(self.now) {
            if let Some(from) = self.book.peer(from) {
                self.send(from, Message::Acknowledge { runs });
            }
        }
    }

    pub(super) fn on_acknowledge(&mut self, from: Peer, runs: &[(u64, u32)]) {
        let done = self.in_flight.acknowledge(self.now, from.id, runs);
        self.stats.acknowledged += done.transits.len() as u64;
        if let Some(rtt) = done.rtt {
            self.book.sample(from.id, rtt);
        }
        for transit in done.transits {
            let envelope = &transit.routed.envelope;
            if matches!(transit.aim, Aim::Node(_))
                && envelope.origin.id == self.me.id
                && let Some(origin) = self.pending.get_mut(envelope.id)
            {
                origin.accepted = true;
            }
        }
    }

    pub(super) fn handle_hop_timers(&mut self) {
        let book = &self.book;
        for (to, transits) in self.in_flight.overdue(self.now, |id| book.backed_off_timeout(id)) {
            self.stats.timeouts += transits.len() as u64;
            self.book.back_off(to);
            if let Some(peer) = self.book.peer(to) {
                self.suspect(peer);
            }
            self.retry(to, transits);
        }
        while let Some(transit) = self.held.overdue(self.now) {
            self.advance(transit);
        }
    }

    /// A connection is lost: what it may have taken along goes another way.
    pub(super) fn retry_all(&mut self, to: NodeId) {
        let transits = self.in_flight.take(to);
        self.retry(to, transits);
    }

    fn retry(&mut self, failed: NodeId, transits: Vec<Parcel>) {
        for mut transit in transits {
            self.stats.retries += 1;
            transit.fail(failed);
            self.advance(transit);
        }
    }

    /// A node is gone: messages for it alone have failed, the others go another way.
    pub(super) fn give_up_all(&mut self, gone: NodeId) {
        let mut transits = self.in_flight.take(gone);
        transits.append(&mut self.held.take_for(gone));
        let (direct, others): (Vec<_>, Vec<_>) =
            transits.into_iter().partition(|transit| matches!(transit.aim, Aim::Node(_)));
        for transit in direct {
            self.fail(*transit, Failure::Unreachable);
        }
        self.retry(gone, others);
    }

    /// Keeps a message until something changes or a while has passed, and then tries every hop again.
    pub(super) fn hold(&mut self, mut transit: Parcel) {
        if self.held.is_full() {
            self.overload(*transit);
            return;
        }
        self.stats.held += 1;
        transit.tried.clear();
        transit.waited = true;
        self.held.push(self.now + self.config.timeout_min, transit);
    }
}
