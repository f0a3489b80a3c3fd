//! Messages that have arrived: delivered once, handled, refused and passed on; and telling their origins.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use super::Machine;
use super::routing::name;
use crate::bounded::{MAX_LIST, MAX_TEXT};
use crate::failure::{Failure, Refusal};
use crate::id::{Key, NodeId};
use crate::io::{Handling, Output};
use crate::message::{Hop, Message, MessageId, Outcome, Peer, Purpose};
use crate::order;
use crate::planted::Bug;
use crate::time::Time;
use crate::transit::{Aim, Parcel, Transit};
use crate::window::{Name, Progress};

/// Outcomes that are remembered, and for how long, in case the connection fails that was to carry them.
const MAX_TOLD: usize = 1024;
const TOLD: Duration = Duration::from_secs(2);
/// What share of a typical round trip a hop costs on the way back, where it is not measured here: links are short ones.
const HOP_BACK: u64 = 8;
/// How often one outcome is sent, at most.
const TELLINGS: u8 = 3;

/// An outcome on its way to its origin.
#[derive(Debug, Clone)]
pub(super) struct Telling {
    to: Peer,
    outcome: Outcome,
    times: u8,
    /// The node that it was given to.
    by: Option<NodeId>,
}

/// Outcomes on their way to their origins, in order of time.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(VecDeque<(Time, Telling)>);

impl Told {
    fn note(&mut self, now: Time, telling: Telling) {
        while self.0.front().is_some_and(|(then, _)| now.since(*then) > TOLD) || self.0.len() >= MAX_TOLD {
            self.0.pop_front();
        }
        self.0.push_back((now, telling));
    }

    fn sent(&mut self, origin: NodeId, id: MessageId, by: NodeId) {
        if let Some((_, telling)) = self.0.back_mut().filter(|(_, last)| last.to.id == origin && last.outcome.id == id)
        {
            telling.by = Some(by);
        }
    }

    /// Takes those that this node was given and may have lost.
    fn take(&mut self, by: NodeId) -> Vec<Telling> {
        let (taken, kept) = std::mem::take(&mut self.0).into_iter().partition(|(_, telling)| telling.by == Some(by));
        self.0 = kept;
        let taken: VecDeque<(Time, Telling)> = taken;
        taken.into_iter().map(|(_, telling)| telling).collect()
    }
}

impl Machine {
    /// A message has reached the node that is responsible for it, or was addressed to this one.
    pub(super) fn arrive(&mut self, transit: Parcel) {
        let origin = transit.routed.envelope.origin;
        if origin.id != self.me.id {
            self.book.hint(self.now, origin);
        }
        if !matches!(transit.routed.envelope.purpose, Purpose::App(_)) {
            let outcome = self.outcome_here(&transit, Ok(self.me));
            self.tell(&transit, outcome);
            return;
        }
        let name = name(&transit.routed);
        match self.window.get(name) {
            _ if self.config.has(Bug::DeliversAgain) => self.deliver(name, transit),
            Some(Progress::Ended(outcome)) => {
                let outcome = Outcome::clone(outcome);
                self.stats.duplicates += 1;
                self.tell(&transit, outcome);
            }
            Some(Progress::Refused(refusal)) => {
                let refusal = *refusal;
                self.stats.duplicates += 1;
                if !self.config.has(Bug::SecondAttemptDropped) {
                    self.pass_on(transit, refusal);
                }
            }
            Some(Progress::Handling(_) | Progress::Handled) => self.stats.duplicates += 1,
            None if self.window.is_busy() => self.overload(*transit),
            None => self.deliver(name, transit),
        }
    }

    fn deliver(&mut self, name: Name, transit: Parcel) {
        let (routed, previous) = (transit.routed.clone(), transit.previous);
        self.window.deliver(name, transit);
        self.stats.delivered += 1;
        self.outbox.push_back(Output::Deliver { routed, previous });
    }

    pub(super) fn handle_handled(&mut self, name: Name, handling: Handling) {
        let Some(transit) = self.window.handled(name) else {
            self.stats.dropped += 1;
            return;
        };
        let result = match handling {
            Handling::Done => Ok(self.me),
            Handling::Failed(failure) => Err(failure),
            Handling::Refused(refusal) if transit.routed.envelope.key.is_some() => {
                self.window.refused(name, refusal);
                self.pass_on(transit, refusal);
                return;
            }
            Handling::Refused(refusal) => Err(Failure::NoWillingNode(vec![(self.me.id, refusal)])),
        };
        let outcome = self.outcome_here(&transit, result);
        self.window.ended(name, outcome.clone());
        self.tell(&transit, outcome);
    }

    /// This node refuses: the first node after it that has not and is not known to have failed gets the message next. A
    /// second attempt goes the way of the first, past whoever has died with that.
    fn pass_on(&mut self, mut transit: Parcel, refusal: Refusal) {
        let refused = &mut transit.routed.envelope.refused;
        if self.config.has(Bug::RefusalsNotCarried) {
            refused.clear();
        }
        if !refused.iter().any(|(node, _)| *node == self.me.id) {
            refused.push((self.me.id, refusal));
        }
        transit.tried.clear();
        transit.aim = Aim::Ring;
        transit.asked = true;
        self.stats.fallen_over += 1;
        self.fall_over(transit);
    }

    pub(super) fn fall_over(&mut self, transit: Parcel) {
        let refused = &transit.routed.envelope.refused;
        let may = |peer: &&Peer| {
            !transit.tried.contains(&peer.id)
                && !self.probes.is_suspect(peer.id)
                && !refused.iter().any(|(node, _)| *node == peer.id)
        };
        let most = self.config.fall_over.min(self.config.successors);
        let mut after = self.ring.successors().iter();
        let next = if self.config.has(Bug::LastReplicaNext) { after.rfind(may) } else { after.find(may) };
        match next.filter(|_| refused.len() < most).copied() {
            Some(next) => self.transmit(transit, next),
            None => {
                let failure = self.no_willing_node(&transit);
                self.fail(*transit, failure);
            }
        }
    }

    fn no_willing_node(&self, transit: &Transit) -> Failure {
        let mut refused: Vec<(NodeId, Refusal)> = transit.routed.envelope.refused.clone();
        refused.truncate(MAX_LIST);
        Failure::NoWillingNode(refused)
    }

    /// A message ends here without having been handled.
    pub(super) fn fail(&mut self, transit: Transit, failure: Failure) {
        let outcome = self.outcome_here(&transit, Err(failure));
        self.tell(&transit, outcome);
    }

    pub(super) fn overload(&mut self, transit: Transit) {
        self.stats.overloaded += 1;
        self.fail(transit, Failure::Overloaded);
    }

    pub(super) fn outcome_here(&self, transit: &Transit, result: Result<Peer, Failure>) -> Outcome {
        let envelope = &transit.routed.envelope;
        let mut path = envelope.path.clone();
        self.trace(&mut path, None);
        let result = result.map_err(|failure| match failure {
            Failure::HandlerFailed(text) => Failure::HandlerFailed(shortened(text)),
            other => other,
        });
        let replicas = match (&result, envelope.purpose, envelope.key) {
            (Ok(_), Purpose::Replicas(_), Some(key)) => self.known_replicas(key),
            (Ok(_), Purpose::Finger(wanted), Some(key)) => {
                self.known_replicas(key).into_iter().take(usize::from(wanted)).collect()
            }
            _ => Vec::new(),
        };
        Outcome { id: envelope.id, purpose: envelope.purpose, result, replicas, hops: envelope.hops, path }
    }

    /// The first nodes responsible for a key, as many as this node knows of.
    fn known_replicas(&self, key: Key) -> Vec<Peer> {
        let (me, successors, predecessors) = (self.me, self.ring.successors(), self.ring.predecessors());
        let onward = [me].into_iter().chain(successors.iter().copied());
        let mut replicas: Vec<Peer> = if let Some(owner) = order::owner_behind(predecessors, key) {
            predecessors[..=owner].iter().rev().copied().chain(onward).collect()
        } else if self.ring.owns(key) {
            onward.collect()
        } else {
            let owner = order::owner_ahead(me.id, successors, key).unwrap_or(successors.len());
            successors[owner..].to_vec()
        };
        // In a small ring the lists overlap.
        let mut known = BTreeSet::new();
        replicas.retain(|peer| known.insert(peer.id) && !self.probes.is_suspect(peer.id));
        replicas.truncate(self.config.successors);
        replicas
    }

    /// Whether this node can answer a lookup that another is responsible for.
    pub(super) fn may_end_early(&self, transit: &Transit) -> bool {
        let envelope = &transit.routed.envelope;
        let Some(key) = envelope.key else { return false };
        let wanted = match envelope.purpose {
            Purpose::Replicas(wanted) => usize::from(wanted.max(1)),
            Purpose::Finger(wanted) => usize::from(wanted).min(self.config.successors / 2),
            Purpose::App(_) | Purpose::Lookup => return false,
        };
        self.known_replicas(key).len() >= wanted
    }

    pub(super) fn end_early(&mut self, transit: Parcel) {
        let owner = transit.routed.envelope.key.and_then(|key| self.known_replicas(key).first().copied());
        let outcome = self.outcome_here(&transit, owner.ok_or(Failure::Unreachable));
        self.tell(&transit, outcome);
    }

    /// Adds this node to the path of a traced message.
    pub(super) fn trace(&self, path: &mut Option<Vec<Hop>>, next: Option<NodeId>) {
        if let Some(path) = path.as_mut().filter(|path| path.len() < MAX_LIST) {
            let rtt = next.and_then(|next| self.book.round_trip(next)).unwrap_or_default();
            path.push(Hop { node: self.me.id, rtt_us: u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX) });
        }
    }

    /// Tells the origin of a message how it ended.
    pub(super) fn tell(&mut self, transit: &Transit, outcome: Outcome) {
        let envelope = &transit.routed.envelope;
        if envelope.origin.id == self.me.id {
            self.end(outcome);
        } else {
            self.told.note(self.now, Telling { to: envelope.origin, outcome: outcome.clone(), times: 1, by: None });
            self.send_back(envelope.via.clone(), envelope.origin, outcome);
        }
    }

    /// Sends an outcome back the way its message came: making connections for single answers would cost more time. The
    /// node that has handled the message sends straight over a connection that is there, as the origin believes it; and
    /// over a new one where the way is broken.
    pub(super) fn send_back(&mut self, mut via: Vec<NodeId>, origin: Peer, outcome: Outcome) {
        let origin = self.book.peer(origin.id).unwrap_or(origin);
        let mut to = origin;
        let handled_here = matches!(&outcome.result, Ok(handler) if handler.id == self.me.id);
        let straight = handled_here && self.book.is_connected(origin.id);
        if let Some(at) = self.best_way_back(&via).filter(|_| !straight) {
            to = self.book.peer(via[at]).unwrap_or(to);
            via.truncate(at);
        }
        if to.id == origin.id {
            via.clear();
        }
        self.told.sent(origin.id, outcome.id, to.id);
        self.send(to, Message::Outcome { via, origin, outcome });
    }

    /// The node of those on the way that brings an outcome back soonest, by its place. The origin, the first of them, believes
    /// only the node that it has sent the message to.
    fn best_way_back(&self, via: &[NodeId]) -> Option<usize> {
        let usable = |at: &usize| self.book.is_connected(via[*at]) && !self.probes.is_suspect(via[*at]);
        let cost = |at: &usize| {
            let measured = self.book.round_trip(via[*at]).map(|time| time.as_micros() as u64);
            measured.unwrap_or(self.table.typical()) / 2 + *at as u64 * self.table.typical() / HOP_BACK
        };
        let first = usize::from(via.len() > 1);
        (first..via.len()).filter(usable).min_by_key(cost)
    }

    /// The connection to a peer is lost: outcomes that it may not have got or passed on go again, straight.
    pub(super) fn tell_again(&mut self, peer: Peer) {
        for mut telling in self.told.take(peer.id) {
            let origin = self.book.peer(telling.to.id).unwrap_or(telling.to);
            telling.times += 1;
            let outcome = telling.outcome.clone();
            if telling.times < TELLINGS {
                telling.by = Some(origin.id);
                self.told.note(self.now, telling);
            }
            self.send(origin, Message::Outcome { via: Vec::new(), origin, outcome });
        }
    }
}

/// At most [`MAX_TEXT`] bytes of a text.
fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
