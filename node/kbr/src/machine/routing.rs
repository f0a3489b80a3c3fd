//! Where a message goes next: to the node responsible for its key where that is known, else on over the best link.

use core::time::Duration;

use super::Machine;
use super::table::Way;
use crate::bounded::MAX_LIST;
use crate::failure::Failure;
use crate::header::Dispatch;
use crate::id::{Interval, Key, NodeId};
use crate::io::{Output, Verdict};
use crate::message::{Message, Peer, Purpose, Routed};
use crate::order;
use crate::planted::Bug;
use crate::transit::{Aim, Parcel, Transit};
use crate::window::Name;
use crate::wire::MAX_PAYLOAD;

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This node is responsible.
    Mine,
    To(Peer),
    /// Every way on is suspect or has failed.
    Hold,
}

/// What the lists say of the node responsible for a key.
enum Known {
    /// It, or the node next in line.
    Owner(Peer),
    /// All in question are suspect or have failed.
    Unusable,
    /// Nothing.
    Nobody,
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
        let transit = Transit {
            routed,
            previous: from,
            deadline,
            tried: Vec::new(),
            waited: false,
            asked: false,
            aim: Aim::Ring,
        };
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
            Aim::Ring if self.may_end_early(&transit) => self.end_early(transit),
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
        let owned = if self.config.has(Bug::ClosedOpenRange) { key.plus_power(0) } else { key };
        let believed =
            self.config.has(Bug::PreviousHopsWord) && Interval::open_closed(previous, self.me.id).contains(key);
        let all = self.config.has(Bug::OwnsAllWithoutPredecessor) && self.ring.predecessor().is_none();
        if self.ring.owns(owned) || believed || all {
            return Next::Mine;
        }
        if self.may_inherit(previous, key) {
            return Next::Hold;
        }
        // Nodes it has been at come again only once it has waited: views that contradict each other cost time, not hops.
        let visited = if transit.waited { &[][..] } else { transit.routed.envelope.via.get(1..).unwrap_or_default() };
        let usable = |peer: &Peer| {
            !self.probes.is_suspect(peer.id) && !transit.tried.contains(&peer.id) && !visited.contains(&peer.id)
        };
        let (known, connected) = match self.known_owner(key, usable) {
            Known::Owner(peer) => (Some(peer), self.book.is_connected(peer.id)),
            Known::Unusable => return Next::Hold,
            Known::Nobody => (None, false),
        };
        if let Some(owner) = known.filter(|_| connected) {
            return Next::To(owner);
        }
        let leisurely = matches!(transit.routed.envelope.purpose, Purpose::Finger(_));
        let way = if leisurely { self.table.leisurely_way(key) } else { self.table.way(key) };
        let onward = |peer: &Peer| usable(peer) && peer.id != previous;
        let nearer = self.table.nearer(way, onward);
        match (known, nearer) {
            (Some(owner), Some((peer, cost))) => Next::To(if cost < self.table.cost_of_dial() { peer } else { owner }),
            (Some(peer), None) | (None, Some((peer, _))) => Next::To(peer),
            (None, None) => self.last_resort(way, onward),
        }
    }

    /// The node responsible for a key, where the lists name it; where it is suspect, whoever is next in line.
    fn known_owner(&self, key: Key, usable: impl Fn(&Peer) -> bool) -> Known {
        // Behind: the owner, else whoever stands between it and here, and will be responsible should it be dead.
        let predecessors = self.ring.predecessors();
        if let Some(owner) = order::owner_behind(predecessors, key) {
            let next = predecessors[..=owner].iter().rfind(|peer| usable(peer));
            return next.map_or(Known::Unusable, |peer| Known::Owner(*peer));
        }
        let successors = self.ring.successors();
        let owner = order::owner_ahead(self.me.id, successors, key);
        let next = owner.and_then(|owner| successors[owner..].iter().find(|peer| usable(peer)));
        next.map_or(Known::Nobody, |peer| Known::Owner(*peer))
    }

    /// The node responsible for a key, where the lists name it.
    pub(super) fn responsible(&self, key: Key) -> Option<Peer> {
        match self.known_owner(key, |peer| !self.probes.is_suspect(peer.id)) {
            Known::Owner(peer) => Some(peer),
            Known::Unusable | Known::Nobody => None,
        }
    }

    /// No link ends nearer to the key: clockwise then, as in a ring without fingers.
    fn last_resort(&self, way: Way, usable: impl Fn(&Peer) -> bool) -> Next {
        let (predecessors, successors) = (self.ring.predecessors(), self.ring.successors());
        let onward = self.table.before(way, usable);
        // Without successors the first node clockwise is the farthest predecessor.
        let onward = onward.or_else(|| predecessors.last().filter(|_| successors.is_empty()).copied());
        onward.map_or(Next::Hold, Next::To)
    }

    /// A node that does not know its predecessor cannot say whether a message from a node before it is its own: that node
    /// may only have gone round another which it suspects. The message waits for the predecessor to speak up.
    fn may_inherit(&self, previous: NodeId, key: Key) -> bool {
        self.ring.predecessor().is_none()
            && previous != self.me.id
            && Interval::open_closed(previous, self.me.id).contains(key)
            && !self.table.reaches(self.table.way(key))
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
                self.tell(&transit, outcome);
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
        let (passed, hops) = (name(&transit.routed), envelope.hops);
        if !self.wanderers.may_go_on(passed, hops) {
            self.stats.hop_limit += 1;
            return;
        }
        if self.in_flight.waiting(to.id) >= self.config.max_unacknowledged {
            self.overload(*transit);
            return;
        }
        let mut routed = transit.routed.clone();
        routed.envelope.hops += u8::from(!self.config.has(Bug::HopsNotCounted));
        let via = &mut routed.envelope.via;
        // Where it has come round to this node again, the answer need not go round as well.
        let here = via.iter().position(|node| *node == self.me.id).unwrap_or(via.len());
        via.truncate(here.min(MAX_LIST - 1));
        via.push(self.me.id);
        let remaining = transit.deadline.since(self.now).as_millis();
        routed.envelope.remaining_ms = u32::try_from(remaining).unwrap_or(u32::MAX).max(1);
        self.trace(&mut routed.envelope.path, Some(to.id));
        if transit.previous.id == self.me.id {
            self.pending.note_hop(routed.envelope.id, to.id);
        }
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
