//! Sending: by the cache where the node that keeps the triggers is known, else by routing.

use std::collections::VecDeque;

use prost_i3_api::ask::Counts;
use prost_i3_api::{Address, Hop, I3Id};
use prost_peerlet::route::{self, RouteError};
use prost_peerlet::time::Instant;
use prost_peerlet::{Failure, NodeId, Recent, SoftState, cbor, random};

use crate::message::{Ask, Delivery, Message, Packet};
use crate::reach::Flows;
use crate::times::{CACHE, CACHE_REFRESH};

/// Prefixes whose node is known.
const CACHED: usize = 4096;
/// Packets whose question may still be answered.
const ASKED: usize = 1024;
/// Packets that went by the cache and may yet turn out not to have arrived, and their bytes.
const FLIGHTS: usize = 1024;
const FLIGHT_BYTES: usize = 4 << 20;

/// The sending half of a node.
#[derive(Debug)]
pub(crate) struct Sender {
    cache: SoftState<u64, Cached>,
    asked: Recent<u64, u64>,
    flights: Flights,
    flows: Flows,
}

#[derive(Debug, Clone, Copy)]
struct Cached {
    node: NodeId,
    since: Instant,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender {
            cache: SoftState::new(CACHED),
            asked: Recent::new(ASKED),
            flights: Flights::default(),
            flows: Flows::default(),
        }
    }
}

impl Sender {
    /// Sends a packet on to the head of its stack. Returns the number of the question that it carries.
    pub(crate) fn send(
        &mut self,
        mut packet: Packet,
        wants: bool,
        counts: &mut Counts,
    ) -> Result<Option<u64>, RouteError> {
        match packet.stack.first().copied() {
            None => Ok(None),
            Some(Hop::Host(address)) => {
                packet.stack.remove(0);
                let (rest, payload) = (packet.stack, packet.payload);
                self.deliver(Delivery { address, id: None, rest, payload }).map(|_| None)
            }
            Some(Hop::Id(id)) => {
                let cached = self.cache.get(&id.prefix()).copied();
                let stale = cached.is_none_or(|cached| cached.since + CACHE_REFRESH <= Instant::now());
                let number = (wants || stale).then(|| self.ask(&id, &mut packet));
                match cached {
                    Some(Cached { node, .. }) => self.send_to(node, packet, counts)?,
                    None => route_packet(&id, packet, counts)?,
                }
                Ok(number)
            }
        }
    }

    /// Sends a packet to an end host.
    pub(crate) fn deliver(&mut self, delivery: Delivery) -> Result<u64, RouteError> {
        let Address { node, .. } = delivery.address;
        self.flows.send(node, &Message::Deliver(delivery))
    }

    /// A node says that it keeps the triggers a packet asked for. Tells the question's number, where it was one of ours.
    pub(crate) fn learn(&mut self, number: u64, node: NodeId) -> bool {
        let Some(prefix) = self.asked.get(&number).copied() else { return false };
        if self.cache.insert(prefix, Cached { node, since: Instant::now() }, CACHE).is_err() {
            // Full of what is used: this prefix is routed to.
        }
        true
    }

    /// A message of this node came to nothing. A packet that did not reach the node it was thought to be for is routed.
    pub(crate) fn failed(&mut self, message: u64, reason: &Failure, counts: &mut Counts) {
        let Some((prefix, mut packet)) = self.flights.take(message) else { return };
        self.cache.remove(&prefix);
        // What ran out of time may have arrived, and comes too late in any case.
        if matches!(reason, Failure::Deadline | Failure::Overloaded) {
            return;
        }
        if let Some(Hop::Id(id)) = packet.stack.first().copied() {
            self.ask(&id, &mut packet);
            let _ = route_packet(&id, packet, counts);
        }
    }

    fn ask(&mut self, id: &I3Id, packet: &mut Packet) -> u64 {
        let number = random::number();
        self.asked.insert(number, id.prefix());
        packet.ask = Some(Ask { node: route::myself(), number });
        number
    }

    fn send_to(&mut self, node: NodeId, packet: Packet, counts: &mut Counts) -> Result<(), RouteError> {
        let Some(Hop::Id(id)) = packet.stack.first().copied() else { return Ok(()) };
        counts.cached += 1;
        let message = Message::Packet(packet);
        let number = self.flows.send(node, &message)?;
        if let Message::Packet(packet) = message {
            self.flights.insert(number, id.prefix(), packet);
        }
        Ok(())
    }
}

/// Routes a packet to the node that keeps the triggers of an id.
pub(crate) fn route_packet(id: &I3Id, packet: Packet, counts: &mut Counts) -> Result<(), RouteError> {
    counts.routed += 1;
    route::route(id.ring_key(), &cbor::encode(&Message::Packet(packet))).map(drop)
}

/// The packets that went by the cache last.
#[derive(Debug, Default)]
struct Flights {
    packets: VecDeque<(u64, u64, Packet)>,
    bytes: usize,
}

impl Flights {
    fn insert(&mut self, message: u64, prefix: u64, packet: Packet) {
        self.bytes += packet.payload.len();
        self.packets.push_back((message, prefix, packet));
        while self.packets.len() > FLIGHTS || self.bytes > FLIGHT_BYTES {
            let Some((_, _, oldest)) = self.packets.pop_front() else { break };
            self.bytes -= oldest.payload.len();
        }
    }

    fn take(&mut self, message: u64) -> Option<(u64, Packet)> {
        let at = self.packets.iter().position(|(number, ..)| *number == message)?;
        let (_, prefix, packet) = self.packets.remove(at)?;
        self.bytes -= packet.payload.len();
        Some((prefix, packet))
    }
}
