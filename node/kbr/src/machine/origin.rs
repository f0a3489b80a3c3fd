//! Messages and lookups that start here: each ends in exactly one outcome.

use bytes::Bytes;

use super::Machine;
use crate::failure::Failure;
use crate::header::MAX_HEADER;
use crate::id::{Key, NodeId};
use crate::io::{Output, RouteRequest};
use crate::message::{Envelope, MessageId, Outcome, Peer, Purpose, Routed};
use crate::pending::{Due, Owner};
use crate::planted::Bug;
use crate::time::Time;
use crate::transit::{Aim, Transit};
use crate::wire::MAX_PAYLOAD;

impl Machine {
    pub(super) fn start_route(&mut self, request: RouteRequest) {
        let RouteRequest { id, key, dispatch, header, payload, hint, deadline } = request;
        let hint = hint.and_then(|hint| if hint == self.me.id { Some(self.me) } else { self.book.peer(hint) });
        let aim = match (key, hint) {
            (None, None) => return self.refuse(id, Failure::Unreachable),
            (None, Some(to)) => Aim::Node(to),
            (Some(_), Some(first)) if first.id != self.me.id => Aim::First(first),
            (Some(_), _) => Aim::Ring,
        };
        if header.len() > MAX_HEADER || payload.len() > MAX_PAYLOAD {
            return self.refuse(id, Failure::Overloaded);
        }
        let envelope = self.envelope(id, key, Purpose::App(dispatch));
        let deadline = self.now + deadline.unwrap_or(self.config.deadline);
        let routed = Routed { envelope, header, payload };
        if self.note_start(Owner::Caller, &routed, aim, deadline) {
            self.set_out(routed, aim, deadline, false);
        }
    }

    /// Looks for the node responsible for a key, or for so many of its replica set.
    pub(super) fn start_lookup(&mut self, id: MessageId, key: Key, replicas: u8) {
        let purpose = if replicas == 0 { Purpose::Lookup } else { Purpose::Replicas(replicas) };
        self.start_lookup_for(Owner::Caller, id, key, purpose);
    }

    pub(super) fn start_lookup_for(&mut self, owner: Owner, id: MessageId, key: Key, purpose: Purpose) {
        let Some((routed, deadline)) = self.register(owner, self.lookup(id, key, purpose)) else { return };
        self.set_out(routed, Aim::Ring, deadline, false);
    }

    /// Notes a lookup that goes out in another way. Says whether it may.
    pub(super) fn register_lookup(&mut self, owner: Owner, id: MessageId, key: Key, purpose: Purpose) -> bool {
        self.register(owner, self.lookup(id, key, purpose)).is_some()
    }

    fn register(&mut self, owner: Owner, routed: Routed) -> Option<(Routed, Time)> {
        let deadline = self.now + self.config.deadline;
        self.note_start(owner, &routed, Aim::Ring, deadline).then_some((routed, deadline))
    }

    fn lookup(&self, id: MessageId, key: Key, purpose: Purpose) -> Routed {
        let path = (!matches!(purpose, Purpose::Finger(_))).then(Vec::new);
        let envelope = Envelope { path, ..self.envelope(id, Some(key), purpose) };
        Routed { envelope, header: Bytes::new(), payload: Bytes::new() }
    }

    fn envelope(&self, id: MessageId, key: Option<Key>, purpose: Purpose) -> Envelope {
        let (refused, via) = (Vec::new(), Vec::new());
        Envelope { id, origin: self.me, key, purpose, hops: 0, remaining_ms: 0, refused, via, path: None }
    }

    /// Says whether the message may set out; else it has ended.
    fn note_start(&mut self, owner: Owner, routed: &Routed, aim: Aim, deadline: Time) -> bool {
        let id = routed.envelope.id;
        if self.pending.contains(id) {
            // The message of that id ends once, and so does this one with it.
            self.stats.dropped += 1;
        } else if !self.is_member() {
            self.refuse(id, Failure::NotJoined);
        } else if self.pending.is_full() {
            self.stats.overloaded += 1;
            self.refuse(id, Failure::Overloaded);
        } else {
            self.stats.started += u64::from(owner == Owner::Caller);
            self.pending.start(self.now, owner, routed.clone(), aim, deadline);
            return true;
        }
        false
    }

    fn set_out(&mut self, routed: Routed, aim: Aim, deadline: Time, asked: bool) {
        let transit =
            Box::new(Transit { routed, previous: self.me, deadline, tried: Vec::new(), waited: false, asked, aim });
        if matches!(aim, Aim::Node(to) if to.id == self.me.id) {
            self.arrive(transit);
        } else {
            self.advance(transit);
        }
    }

    /// Ends a message that never started.
    fn refuse(&mut self, id: MessageId, failure: Failure) {
        self.stats.started += 1;
        self.stats.ended_failed += 1;
        self.outbox.push_back(Output::Ended(Outcome::failed(id, Purpose::Lookup, failure)));
    }

    /// An application here has changed a message that started here: a second attempt sends the changed one.
    pub(super) fn rewrite_origin(&mut self, transit: &Transit) {
        let envelope = &transit.routed.envelope;
        if envelope.origin.id == self.me.id
            && let Some(origin) = self.pending.get_mut(envelope.id)
        {
            origin.routed.envelope.key = envelope.key;
            origin.routed.payload = transit.routed.payload.clone();
            origin.aim = Aim::Ring;
        }
    }

    /// An outcome, for this node or on its way back through it.
    pub(super) fn on_outcome(&mut self, from: Peer, via: Vec<NodeId>, origin: Peer, outcome: Outcome) {
        if origin.id != self.me.id {
            self.stats.relayed += 1;
            self.send_back(via, origin, outcome);
            return;
        }
        // A stranger speaks for itself only: who says that it was handled has handled it. A node that messages are sent
        // through is believed what it brings back, as it could have answered itself.
        let sent = self.pending.get_mut(outcome.id).is_some_and(|origin| origin.sent_to.contains(&from.id));
        if matches!(&outcome.result, Ok(handler) if handler.id != from.id) && !sent {
            self.stats.dropped += 1;
            return;
        }
        self.end(outcome);
    }

    /// Ends a message that started here. What is not waited for any more is ignored.
    pub(super) fn end(&mut self, outcome: Outcome) {
        let Some(origin) = self.pending.end(outcome.id) else { return };
        self.seeks.forget(outcome.id);
        match (origin.owner, outcome.result.is_ok()) {
            (Owner::Finger(slot), _) => self.on_finger_outcome(slot, outcome),
            (Owner::Caller, ok) => {
                let count = if ok { &mut self.stats.ended_ok } else { &mut self.stats.ended_failed };
                *count += 1;
                self.outbox.push_back(Output::Ended(outcome));
            }
        }
    }

    pub(super) fn end_failed(&mut self, id: MessageId, failure: Failure) {
        self.end(Outcome::failed(id, Purpose::Lookup, failure));
    }

    pub(super) fn handle_origin_timers(&mut self) {
        while let Some(due) = self.pending.overdue(self.now) {
            match due {
                Due::Again(id) => self.start_again(id),
                Due::Over(id) => self.on_deadline(id),
            }
        }
        self.handle_verdict_timers();
    }

    /// Half of a message's time is over: it sets out once more, under the same id, so that no one delivers it twice.
    fn start_again(&mut self, id: MessageId) {
        if self.waiting.contains((self.me.id, id)) {
            return;
        }
        let Some(origin) = self.pending.get_mut(id) else { return };
        let (routed, deadline) = (origin.routed.clone(), origin.deadline);
        if matches!(routed.envelope.purpose, Purpose::Finger(_)) {
            return;
        }
        // A hint that has led nowhere is not tried again.
        let aim = if matches!(origin.aim, Aim::Node(_)) { origin.aim } else { Aim::Ring };
        self.stats.retries += 1;
        match (routed.envelope.purpose, routed.envelope.key) {
            (Purpose::Lookup | Purpose::Replicas(_), Some(key)) => self.seek_again(id, key),
            _ => self.set_out(routed, aim, deadline, true),
        }
    }

    fn on_deadline(&mut self, id: MessageId) {
        if self.config.has(Bug::NoDeadline) {
            self.pending.end(id);
            return;
        }
        let Some(origin) = self.pending.get_mut(id) else { return };
        let refused_hop = matches!(origin.aim, Aim::Node(_)) && !origin.accepted;
        self.end_failed(id, if refused_hop { Failure::Unreachable } else { Failure::Deadline });
    }
}
