//! The node that triggers stay with: it takes them, challenges, fires them, and has copies where it may be followed.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_i3_api::ask::{Counts, Kept as KeptStatus};
use prost_i3_api::{Hop, I3Id, MAX_STACK, Target, Trigger};
use prost_peerlet::{Key, KeyRange, Message as Envelope, NodeId, cbor, log, route};

use crate::message::{Copy, Delivery, Message, Packet, Refusal};
use crate::nonce::{Mint, Nonce};
use crate::reach::reach;
use crate::sender::{Sender, route_packet};
use crate::table::{Fired, Table};
use crate::times::LIFETIME;

/// Replicas among which a node must be to be believed that it keeps a trigger.
const REPLICAS: u32 = 8;
/// Copies in one message: they fit, however long their stacks are.
const COPIES: usize = 64;
/// Messages that hand triggers over in one event, of the 256 that an event may send.
const HAND_OVERS: usize = 200;
/// Triggers that a list has at most.
const LISTED: usize = 1000;

/// The keeping half of a node.
#[derive(Debug, Default)]
pub(crate) struct Server {
    table: Table,
    mint: Mint,
}

impl Server {
    /// Somebody wants a trigger to be there. Who answers a challenge with its nonce is where packets would go, and wants
    /// them. So many nodes get a copy.
    pub(crate) fn insert(&mut self, from: NodeId, number: u64, trigger: Trigger, nonce: Option<Nonce>, copies: u32) {
        let holder = match &trigger.target {
            Target::Host { address, .. } => address.node,
            Target::Stack(_) => from,
        };
        let answer = if !trigger.is_sound() {
            (from, Message::Refuse { number, why: Refusal::Malformed })
        } else if trigger.constraint().is_none() {
            (from, Message::Refuse { number, why: Refusal::Constraint })
        } else if !nonce.is_some_and(|nonce| self.mint.is_good(nonce, &trigger, holder)) {
            (holder, Message::Challenge { number, nonce: self.mint.make(&trigger, holder) })
        } else {
            let kept = trigger.clone();
            match self.table.insert(trigger, holder, LIFETIME) {
                Ok(()) => {
                    copy(&kept, holder, LIFETIME, copies);
                    (holder, Message::Acknowledge { number })
                }
                Err(_) => (from, Message::Refuse { number, why: Refusal::Full }),
            }
        };
        say(answer.0, &answer.1);
    }

    /// The target wants no more.
    pub(crate) fn remove(&mut self, from: NodeId, trigger: &Trigger, nonce: Nonce, copies: u32) {
        let holder = match &trigger.target {
            Target::Host { address, .. } => address.node,
            Target::Stack(_) => from,
        };
        if self.mint.is_good(nonce, trigger, holder) && self.table.remove(trigger) {
            copy(trigger, holder, Duration::ZERO, copies);
        }
    }

    /// A packet came for an endpoint that is not there, says its node itself.
    pub(crate) fn gone(&mut self, envelope: &Envelope, id: &I3Id, endpoint: u64) {
        if envelope.key.is_none() && envelope.previous == envelope.origin {
            self.table.remove_host(id, envelope.previous, endpoint);
        }
    }

    /// A node of the replica set shares triggers, or the end of some.
    pub(crate) fn copied(&mut self, envelope: &Envelope, copies: Vec<Copy>) {
        if envelope.key.is_some() || envelope.previous != envelope.origin {
            return;
        }
        for Copy { trigger, holder, left_ms } in copies.into_iter().take(COPIES) {
            let replicas = route::replica_set(trigger.id.ring_key(), REPLICAS).nodes;
            if !replicas.contains(&envelope.previous) {
                continue;
            }
            let left = Duration::from_millis(left_ms.into()).min(LIFETIME);
            if left.is_zero() {
                self.table.remove(&trigger);
            } else if trigger.is_sound() && trigger.constraint().is_some() {
                // Where there is no room, the trigger is there again after its next refresh.
                let _ = self.table.insert(trigger, holder, left);
            }
        }
    }

    /// Others have become responsible: they get what is kept here of theirs.
    pub(crate) fn hand_over(&self, lost: KeyRange) {
        let mut parcels: BTreeMap<NodeId, Vec<Vec<Copy>>> = BTreeMap::new();
        for kept in self.table.iter().filter(|kept| lost.contains(kept.trigger.id.ring_key())) {
            let owner = route::replica_set(kept.trigger.id.ring_key(), 1).nodes.first().copied();
            let Some(owner) = owner.filter(|owner| *owner != route::myself()) else { continue };
            let parcels = parcels.entry(owner).or_default();
            if parcels.last().is_none_or(|last| last.len() >= COPIES) {
                parcels.push(Vec::new());
            }
            if let Some(last) = parcels.last_mut() {
                last.push(copy_of(&kept.trigger, kept.holder, kept.end.from_now()));
            }
        }
        let parcels = parcels.into_iter().flat_map(|(owner, parcels)| parcels.into_iter().map(move |one| (owner, one)));
        parcels.take(HAND_OVERS).for_each(|(owner, copies)| share(owner, copies));
    }

    /// A packet has come, by its key or because this node is thought to be the one.
    pub(crate) fn packet(&mut self, key: Option<Key>, mut packet: Packet, sender: &mut Sender, counts: &mut Counts) {
        if packet.stack.len() > MAX_STACK {
            return;
        }
        // An address behind an id is for the hosts on the way, which know what they do. A packet that a trigger multiplies
        // would else reach a host that never asked for it.
        while let Some(Hop::Id(id)) = packet.stack.first().copied() {
            if key != Some(id.ring_key()) && !is_mine(id.ring_key()) {
                // The sender's cache is behind, or the stack goes on elsewhere.
                let _ = route_packet(&id, packet, counts);
                return;
            }
            let fired = self.table.fire(&id);
            let matched = fired.targets.len() as u32 + fired.limited;
            if let Some(ask) = packet.ask.take() {
                say(ask.node, &Message::Here { number: ask.number, matched });
            }
            packet.stack.remove(0);
            if matched > 0 {
                return fire(fired, &packet, sender, counts);
            }
            counts.unmatched += 1;
        }
    }

    pub(crate) fn sweep(&mut self) {
        self.table.sweep();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The triggers that are kept here.
    pub(crate) fn list(&self) -> Vec<KeptStatus> {
        let status = |kept: &crate::table::Kept| KeptStatus {
            id: kept.trigger.id,
            stack: match &kept.trigger.target {
                Target::Host { .. } => Vec::new(),
                Target::Stack(ids) => ids.clone(),
            },
            holder: kept.holder,
            expires_ms: kept.end.from_now().as_millis() as u64,
            responsible: is_mine(kept.trigger.id.ring_key()),
        };
        self.table.iter().take(LISTED).map(status).collect()
    }
}

/// Whether this node is responsible for a key, as far as it knows.
pub(crate) fn is_mine(key: Key) -> bool {
    route::range(route::myself(), 0).is_some_and(|range| range.contains(key))
}

/// A packet, whose stack is what was behind the id that matched, goes to each target.
fn fire(fired: Fired, packet: &Packet, sender: &mut Sender, counts: &mut Counts) {
    counts.limited += u64::from(fired.limited);
    let Some(ttl) = packet.ttl.checked_sub(1) else {
        counts.exhausted += 1;
        return;
    };
    for (id, target) in fired.targets {
        counts.fired += 1;
        let (rest, payload) = (packet.stack.clone(), packet.payload.clone());
        let sent = match target {
            Target::Host { address, .. } => sender.deliver(Delivery { address, id: Some(id), rest, payload }).map(drop),
            Target::Stack(ids) => {
                let stack: Vec<Hop> = ids.into_iter().map(Hop::Id).chain(rest).collect();
                if stack.len() > MAX_STACK {
                    counts.exhausted += 1;
                    continue;
                }
                sender.send(Packet { stack, payload, ttl, ask: None }, false, counts).map(drop)
            }
        };
        if sent.is_err() {
            log::debug("a packet that fired a trigger could not be sent on");
        }
    }
}

/// The nodes that would be responsible next get a trigger, or its end.
fn copy(trigger: &Trigger, holder: NodeId, lasts: Duration, copies: u32) {
    let me = route::myself();
    let replicas = route::replica_set(trigger.id.ring_key(), copies + 1).nodes;
    for node in replicas.into_iter().filter(|node| *node != me).take(copies as usize) {
        share(node, vec![copy_of(trigger, holder, lasts)]);
    }
}

fn copy_of(trigger: &Trigger, holder: NodeId, lasts: Duration) -> Copy {
    Copy { trigger: trigger.clone(), holder, left_ms: lasts.as_millis() as u32 }
}

/// Straight, so that the connection proves who says so. Soft state needs no certainty.
fn share(node: NodeId, copies: Vec<Copy>) {
    let _ = route::send(node, &cbor::encode(&Message::Copies(copies)));
}

/// Answers come again if they are lost: whoever waits asks again.
fn say(to: NodeId, message: &Message) {
    if reach(to, message).is_err() {
        log::debug("an answer could not be sent");
    }
}
