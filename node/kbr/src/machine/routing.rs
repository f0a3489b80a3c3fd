//! Where a message goes next: greedy routing over successors, predecessors and fingers.

use core::time::Duration;

use super::Machine;
use crate::failure::Failure;
use crate::header::Dispatch;
use crate::id::{Id, Interval, Key, NodeId};
use crate::io::{Output, Verdict};
use crate::message::{Message, Peer, Purpose, Routed};
use crate::order;
use crate::transit::{Aim, Parcel, Transit};
use crate::window::Name;
use crate::wire::MAX_PAYLOAD;

/// All nodes that a message can be sent on to, clockwise, with their distance from this node.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<(Id, Peer)>);

impl Table {
    pub(super) fn new(me: NodeId, peers: impl Iterator<Item = Peer>) -> Table {
        let mut table: Vec<(Id, Peer)> = peers.map(|peer| (me.distance_to(peer.id), peer)).collect();
        table.sort();
        table.dedup_by_key(|(way, _)| *way);
        Table(table)
    }

    /// The nodes before the point at `way`, the nearest to it first.
    fn before(&self, way: Id) -> impl Iterator<Item = Peer> {
        let end = self.0.partition_point(|(other, _)| *other < way);
        self.0[..end].iter().rev().map(|(_, peer)| *peer)
    }

    /// Whether any of the nodes is at the point at `way` or beyond it.
    fn reaches(&self, way: Id) -> bool {
        self.0.last().is_some_and(|(last, _)| *last >= way)
    }
}

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This node is responsible.
    Mine,
    To(Peer),
    /// Every way on is suspect or has failed.
    Hold,
}

impl Machine {
    pub(super) fn on_route(&mut self, from: Peer, seq: u64, routed: Routed) {
        if !self.is_member() {
            self.send_not_a_member(from);
            return;
        }
        self.acknowledge(from, seq);
        let envelope = &routed.envelope;
        if envelope.remaining_ms == 0 {
            self.stats.expired += 1;
            return;
        }
        let deadline = self.now + Duration::from_millis(u64::from(envelope.remaining_ms));
        let addressed = envelope.key.is_none() || !envelope.refused.is_empty();
        let transit = Transit { routed, previous: from, deadline, tried: Vec::new(), asked: false, aim: Aim::Ring };
        if addressed {
            self.arrive(Box::new(transit));
        } else {
            self.advance(Box::new(transit));
        }
    }

    /// Takes a message one step further from here.
    pub(super) fn advance(&mut self, transit: Parcel) {
        if transit.deadline <= self.now {
            self.stats.expired += 1;
            return;
        }
        match transit.aim {
            Aim::Node(peer) if self.probes.is_suspect(peer.id) || transit.tried.contains(&peer.id) => {
                self.hold(transit);
            }
            Aim::Node(peer) => self.transmit(transit, peer),
            Aim::First(peer) => self.go(transit, peer),
            Aim::Ring if !transit.routed.envelope.refused.is_empty() => self.fall_over(transit),
            Aim::Ring => match self.next_hop(&transit) {
                Next::Mine => self.arrive(transit),
                Next::To(peer) => self.go(transit, peer),
                Next::Hold => self.hold(transit),
            },
        }
    }

    fn next_hop(&self, transit: &Transit) -> Next {
        let Some(key) = transit.routed.envelope.key else { return Next::Hold };
        let previous = transit.previous.id;
        if self.ring.owns(key) || self.inherits(previous, key) {
            return Next::Mine;
        }
        let usable = |peer: &&Peer| !self.probes.is_suspect(peer.id) && !transit.tried.contains(&peer.id);
        // Behind: the owner, else whoever stands between it and here, and will be responsible should it be dead.
        let predecessors = self.ring.predecessors();
        if let Some(owner) = order::owner_behind(predecessors, key) {
            return predecessors[..=owner].iter().rfind(usable).map_or(Next::Hold, |peer| Next::To(*peer));
        }
        let successors = self.ring.successors();
        if let Some(owner) = order::owner_ahead(self.me.id, successors, key)
            && let Some(peer) = successors[owner..].iter().find(usable)
        {
            return Next::To(*peer);
        }
        let mut before = self.table.before(self.me.id.distance_to(key));
        let onward = before.find(|peer| usable(&peer) && peer.id != previous);
        // Without successors the first node clockwise is the farthest predecessor.
        let onward = onward.or_else(|| predecessors.last().filter(|_| successors.is_empty()).copied());
        onward.map_or(Next::Hold, Next::To)
    }

    /// A node that does not know its predecessor yet takes a message from the node before it at its word, where it
    /// knows of no one else between the key and itself.
    fn inherits(&self, previous: NodeId, key: Key) -> bool {
        self.ring.predecessor().is_none()
            && previous != self.me.id
            && Interval::open_closed(previous, self.me.id).contains(key)
            && !self.table.reaches(self.me.id.distance_to(key))
    }

    /// Sends a message on, once the applications here have had their say.
    fn go(&mut self, mut transit: Parcel, next: Peer) {
        let per_hop = transit.routed.envelope.purpose == Purpose::App(Dispatch::PerHop);
        if per_hop && !transit.asked {
            self.ask_applications(transit, next);
        } else {
            transit.aim = Aim::Ring;
            self.transmit(transit, next);
        }
    }

    fn ask_applications(&mut self, transit: Parcel, next: Peer) {
        let name = name(&transit.routed);
        if self.waiting.contains(name) {
            self.stats.duplicates += 1;
        } else if self.waiting.is_full() {
            self.overload(*transit);
        } else {
            let (routed, previous) = (transit.routed.clone(), transit.previous);
            let due = self.now + transit.deadline.since(self.now) / 2;
            self.waiting.push(due, name, transit);
            self.outbox.push_back(Output::Forward { routed, previous, next: next.id });
        }
    }

    pub(super) fn handle_verdict(&mut self, name: Name, verdict: Verdict) {
        let Some(mut transit) = self.waiting.take(name) else {
            self.stats.dropped += 1;
            return;
        };
        transit.asked = true;
        match verdict {
            Verdict::Pass => self.advance(transit),
            Verdict::Stop => {
                let outcome = self.outcome_here(&transit, Ok(self.me));
                self.tell(transit.routed.envelope.origin, outcome);
            }
            Verdict::Rewrite { payload, .. } if payload.len() > MAX_PAYLOAD => self.overload(*transit),
            Verdict::Rewrite { key, payload, next } => {
                transit.routed.envelope.key = Some(key);
                transit.routed.payload = payload;
                let next = next.filter(|next| *next != self.me.id).and_then(|next| self.book.peer(next));
                transit.aim = next.map_or(Aim::Ring, Aim::First);
                self.rewrite_origin(&transit);
                self.advance(transit);
            }
        }
    }

    /// The applications have taken too long: the message goes on as it is.
    pub(super) fn handle_verdict_timers(&mut self) {
        while let Some(mut transit) = self.waiting.overdue(self.now) {
            transit.asked = true;
            self.advance(transit);
        }
    }

    /// Sends a message to a node, and answers for it until that node has accepted it.
    pub(super) fn transmit(&mut self, transit: Parcel, to: Peer) {
        let envelope = &transit.routed.envelope;
        if envelope.hops >= self.config.max_hops {
            self.stats.hop_limit += 1;
            self.fail(*transit, Failure::TooManyHops);
            return;
        }
        if self.in_flight.waiting(to.id) >= self.config.max_unacknowledged {
            self.overload(*transit);
            return;
        }
        let mut routed = transit.routed.clone();
        routed.envelope.hops += 1;
        let remaining = transit.deadline.since(self.now).as_millis();
        routed.envelope.remaining_ms = u32::try_from(remaining).unwrap_or(u32::MAX).max(1);
        self.trace(&mut routed.envelope.path, Some(to.id));
        let timeout = self.book.backed_off_timeout(to.id);
        let seq = self.in_flight.push(self.now, to.id, timeout, transit);
        self.stats.routed_forwarded += 1;
        self.send(to, Message::Route { seq, routed });
    }
}

/// What a message is called everywhere.
pub(super) fn name(routed: &Routed) -> Name {
    (routed.envelope.origin.id, routed.envelope.id)
}
