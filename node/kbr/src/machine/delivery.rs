//! Messages that have arrived: delivered once, handled, refused and passed on; and telling their origins.

use core::time::Duration;
use std::collections::VecDeque;

use super::Machine;
use super::routing::name;
use crate::bounded::{MAX_LIST, MAX_TEXT};
use crate::failure::{Failure, Refusal};
use crate::id::NodeId;
use crate::io::{Handling, Output};
use crate::message::{Hop, Message, Outcome, Peer, Purpose};
use crate::time::Time;
use crate::transit::{Aim, Parcel, Transit};
use crate::window::{Name, Progress};

/// Outcomes that are remembered, and for how long, in case the connection fails that was to carry them.
const MAX_TOLD: usize = 1024;
const TOLD: Duration = Duration::from_secs(2);
/// How often one outcome is sent, at most.
const TELLINGS: u8 = 3;

/// Outcomes on their way to their origins, in order of time.
#[derive(Debug, Default)]
pub(super) struct Told(VecDeque<(Time, Peer, Outcome, u8)>);

impl Told {
    fn note(&mut self, now: Time, to: Peer, outcome: Outcome, times: u8) {
        while self.0.front().is_some_and(|(then, ..)| now.since(*then) > TOLD) || self.0.len() >= MAX_TOLD {
            self.0.pop_front();
        }
        self.0.push_back((now, to, outcome, times));
    }

    fn take(&mut self, to: NodeId) -> VecDeque<(Time, Peer, Outcome, u8)> {
        let (taken, kept) = std::mem::take(&mut self.0).into_iter().partition(|(_, peer, ..)| peer.id == to);
        self.0 = kept;
        taken
    }
}

impl Machine {
    /// A message has reached the node that is responsible for it, or was addressed to this one.
    pub(super) fn arrive(&mut self, transit: Parcel) {
        let origin = transit.routed.envelope.origin;
        if origin.id != self.me.id {
            self.book.hint(self.now, origin);
        }
        if transit.routed.envelope.purpose == Purpose::Lookup {
            let outcome = self.outcome_here(&transit, Ok(self.me));
            self.tell(origin, outcome);
            return;
        }
        let name = name(&transit.routed);
        match self.window.get(name) {
            Some(Progress::Ended(outcome)) => {
                let outcome = Outcome::clone(outcome);
                self.stats.duplicates += 1;
                self.tell(origin, outcome);
            }
            Some(Progress::Handling(_) | Progress::PassedOn) => self.stats.duplicates += 1,
            None if self.window.is_busy() => self.overload(*transit),
            None => {
                let (routed, previous) = (transit.routed.clone(), transit.previous);
                self.window.deliver(name, transit);
                self.stats.delivered += 1;
                self.outbox.push_back(Output::Deliver { routed, previous });
            }
        }
    }

    pub(super) fn handle_handled(&mut self, name: Name, handling: Handling) {
        let Some(mut transit) = self.window.handled(name) else {
            self.stats.dropped += 1;
            return;
        };
        let result = match handling {
            Handling::Done => Ok(self.me),
            Handling::Failed(failure) => Err(failure),
            Handling::Refused(refusal) => {
                transit.routed.envelope.refused.push((self.me.id, refusal));
                if transit.routed.envelope.key.is_some() {
                    self.pass_on(transit);
                    return;
                }
                Err(self.no_willing_node(&transit))
            }
        };
        let outcome = self.outcome_here(&transit, result);
        self.window.ended(name, outcome.clone());
        self.tell(transit.routed.envelope.origin, outcome);
    }

    /// The first node after this one that has not refused and is not known to have failed gets the message next.
    fn pass_on(&mut self, mut transit: Parcel) {
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
        let most = self.config.fall_over.min(MAX_LIST);
        let next = self.ring.successors().iter().find(may).filter(|_| refused.len() < most).copied();
        match next {
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
        self.tell(transit.routed.envelope.origin, outcome);
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
        Outcome { id: envelope.id, result, hops: envelope.hops, path }
    }

    /// Adds this node to the path of a traced message.
    pub(super) fn trace(&self, path: &mut Option<Vec<Hop>>, next: Option<NodeId>) {
        if let Some(path) = path.as_mut().filter(|path| path.len() < MAX_LIST) {
            let rtt = next.and_then(|next| self.book.round_trip(next)).unwrap_or_default();
            path.push(Hop { node: self.me.id, rtt_us: u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX) });
        }
    }

    /// Tells the origin of a message how it ended.
    pub(super) fn tell(&mut self, origin: Peer, outcome: Outcome) {
        if origin.id == self.me.id {
            self.end(outcome);
        } else {
            self.tell_once(origin, outcome, 1);
        }
    }

    fn tell_once(&mut self, origin: Peer, outcome: Outcome, times: u8) {
        let to = self.book.peer(origin.id).unwrap_or(origin);
        if times < TELLINGS {
            self.told.note(self.now, to, outcome.clone(), times);
        }
        self.send(to, Message::Outcome(outcome));
    }

    /// The connection to a peer is lost: outcomes that it may not have got go again.
    pub(super) fn tell_again(&mut self, peer: Peer) {
        for (then, to, outcome, times) in self.told.take(peer.id) {
            if self.now.since(then) <= TOLD {
                self.tell_once(to, outcome, times + 1);
            }
        }
    }
}

/// At most [`MAX_TEXT`] bytes of a text.
fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
