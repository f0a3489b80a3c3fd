//! Frames: on their way, and there.

use core::time::Duration;

use prost_kbr::wire::{self, Class};
use prost_kbr::{Message, Peer, Time};
use prost_manager::Input;

use super::half::{Acknowledged, Live, MAX_UNSENT};
use super::host::number_at;
use super::path::{held_up, losses, one_way_us, resend_us};
use super::queue::{Event, Frame};
use super::{Index, Traffic, World};
use crate::random::Random;
use crate::trace::Mark;
use crate::{Network, cost};

/// Most bytes that wait in a node's uplink: as many as the daemon queues for a peer.
const MAX_UPLINK: u64 = 4 << 20;
/// A frame that arrives twice does so within this time, in microseconds.
const DUPLICATE_WITHIN_US: u64 = 1_000_000;

impl Traffic {
    pub(super) fn add(&mut self, maintenance: bool, bytes: u64) {
        if maintenance {
            self.maintenance += bytes;
        } else {
            self.messages += bytes;
        }
    }

    pub(super) fn acknowledge(&mut self, acknowledged: Option<Acknowledged>) {
        if let Some(acknowledged) = acknowledged {
            self.add(acknowledged.maintenance, cost::ACK_DATAGRAM);
        }
    }
}

impl World {
    /// A node sends a frame, and dials first where it must.
    pub(super) fn send(&mut self, from: Index, to: Peer, message: Message) {
        let Some(peer) = self.resolve(from, to) else {
            // Whoever is at that address has another id: the handshake is refused.
            return self.tell_later(from, super::dial::HANDSHAKE_US, prost_kbr::Input::Disconnected { id: to.id });
        };
        if let Some(observer) = &mut self.observer {
            observer(self.now, from, peer, &message);
        }
        let now = self.now;
        let halves = &mut self.hosts[from as usize].halves;
        if halves.get(peer).is_some_and(|half| half.live.is_some()) {
            return self.transmit(from, peer, message);
        }
        if peer == from || self.is_full(from, peer) {
            return self.tell_later(from, 0, prost_kbr::Input::Disconnected { id: to.id });
        }
        let half = self.hosts[from as usize].halves.entry(peer, now);
        if half.unsent.len() < MAX_UNSENT {
            half.unsent.push(message);
        }
        half.owed = true;
        self.dial_soon(from, peer);
    }

    /// The node with this id, if it may be reached at this address or has been met before.
    pub(super) fn resolve(&self, from: Index, to: Peer) -> Option<Index> {
        let there = number_at(to.addr);
        let is_meant = |number: &Index| self.hosts.get(*number as usize).is_some_and(|host| host.peer.id == to.id);
        let there = there.filter(is_meant)?;
        // Who has a connection to the other process with this key needs none to this one.
        let linked = if self.connected(from, there) { None } else { self.linked_twin(from, there) };
        Some(linked.unwrap_or(there))
    }

    /// Puts a frame on an open connection.
    pub(super) fn transmit(&mut self, from: Index, to: Index, message: Message) {
        let now = self.now;
        let maintenance = cost::is_maintenance(&message);
        self.scratch.clear();
        let payload = wire::encode(&message, &mut self.scratch).unwrap_or_default();
        let length = (self.scratch.len() + payload.len()) as u64;
        let host = &mut self.hosts[from as usize];
        let Some(live) = host.halves.get_mut(to).and_then(|half| half.live.as_mut()) else { return };
        let Some(start) = uplink(&self.network, &mut host.uplink, now, length) else { return };
        let (mut bytes, datagrams) = live.packing.add(now, length);
        if datagrams > 0 {
            let (late, rides) = live.debt.ride(now);
            host.traffic.acknowledge(late);
            bytes += if rides { cost::ACK_FRAME } else { 0 };
        }
        live.said(now);
        live.released = None;
        let lost = losses(&self.network, &mut self.random, &mut live.burst);
        host.traffic.add(maintenance, bytes * (1 + u64::from(lost.unwrap_or(0))));
        self.sent += 1;
        let number = self.sent;
        self.trace.note(now, from, Mark::Sent, number, &[&to.to_be_bytes(), &self.scratch, &payload]);
        let Some(lost) = lost.filter(|_| self.network.passes(from, to)) else { return };
        let clogs = live.clogs(&self.network, &mut self.random, start);
        let way = one_way_us(&self.network, &mut self.random, live.rtt_us) + held_up(lost, resend_us(live.rtt_us));
        let stream = &mut live.streams[stream(message.class())];
        *stream = (start.max(live.clogged) + Duration::from_micros(way)).max(*stream);
        let (arrival, connection, clogged) = (*stream, live.number, live.clogged);
        if clogs {
            self.clog_other(to, from, connection, clogged);
        }
        let frame = Frame { from, connection, number, datagrams, maintenance, message };
        if self.network.duplicate > 0.0 && self.random.chance(self.network.duplicate) {
            let again = arrival + Duration::from_micros(self.random.below(DUPLICATE_WITHIN_US));
            let copy = Frame { datagrams: 0, ..frame.clone() };
            self.put_frame(again, to, copy);
        }
        self.put_frame(arrival, to, frame);
    }

    fn put_frame(&mut self, at: Time, node: Index, frame: Frame) {
        let slot = self.queue.frames.put(frame);
        self.queue.push(at, Event::Frame { node, slot });
    }

    /// A connection that stands still does so both ways.
    fn clog_other(&mut self, node: Index, peer: Index, connection: u64, until: Time) {
        let half = self.hosts.get_mut(node as usize).and_then(|host| host.halves.get_mut(peer));
        if let Some(live) = half.and_then(|half| half.live_as(connection)) {
            live.clogged = live.clogged.max(until);
        }
    }

    /// A frame has arrived.
    pub(super) fn on_frame(&mut self, node: Index, slot: u32) {
        let Some(frame) = self.queue.frames.take(slot) else { return };
        let Frame { from, connection, number, datagrams, maintenance, message } = frame;
        if !self.reaches(from, node) {
            return;
        }
        let (now, answers) = (self.now, self.network.passes(node, from));
        let host = &mut self.hosts[node as usize];
        let Some(live) = host.halves.get_mut(from).and_then(|half| half.live_as(connection)) else {
            if self.half_open.contains(&connection) {
                return;
            }
            return self.reset(node, from, connection);
        };
        live.heard(now);
        live.released = None;
        let rtt_us = live.rtt_us;
        for acknowledged in live.debt.owe(now, datagrams, maintenance) {
            host.traffic.acknowledge(acknowledged);
        }
        if answers {
            // The acknowledgement is heard half a round trip later. It decides nothing sooner.
            let at = self.after_us(rtt_us / 2);
            let half = self.hosts[from as usize].halves.get_mut(node);
            if let Some(live) = half.and_then(|half| half.live_as(connection)) {
                live.heard(at);
            }
        }
        self.trace.note(now, node, Mark::Received, number, &[]);
        if self.deceive(node, from, &message) {
            return;
        }
        let from = self.hosts[from as usize].peer.id;
        self.give(node, Input::Ring(prost_kbr::Input::Received { from, message }));
    }
}

/// When a frame has left the node; none where too much waits already. Of headers it counts one datagram's: what else
/// shares it is not known yet.
fn uplink(network: &Network, busy_until: &mut Time, now: Time, length: u64) -> Option<Time> {
    let Some(bandwidth) = network.bandwidth.filter(|bandwidth| *bandwidth > 0) else { return Some(now) };
    let waits = busy_until.since(now).as_micros() as u64;
    if waits.saturating_mul(bandwidth) / 1_000_000 > MAX_UPLINK {
        return None;
    }
    let takes = ((length + cost::DATAGRAM) * 1_000_000).div_ceil(bandwidth);
    *busy_until = (*busy_until).max(now) + Duration::from_micros(takes);
    Some(*busy_until)
}

impl Live {
    /// Draws whether the connection clogs in this second, once a second, and notes until when. Says whether it does.
    fn clogs(&mut self, network: &Network, random: &mut Random, start: Time) -> bool {
        let (chance, mean) = network.clog;
        let second = start.as_micros() / 1_000_000;
        if chance <= 0.0 {
            self.clogged = Time::ZERO;
        }
        if chance <= 0.0 || self.drawn == second {
            return false;
        }
        self.drawn = second;
        let clogs = random.chance(chance);
        if clogs {
            self.clogged = self.clogged.max(start + random.exponential(mean));
        }
        clogs
    }
}

fn stream(class: Class) -> usize {
    match class {
        Class::Control => 0,
        Class::Messages => 1,
        Class::Bulk => 2,
    }
}
