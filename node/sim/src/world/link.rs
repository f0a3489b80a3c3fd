//! How connections begin and end.

use core::time::Duration;

use prost_kbr::{Input as Ring, NodeId, Time};
use prost_manager::Input;

use super::dial::QUIET_US;
use super::half::{Half, Live};
use super::path::resend_us;
use super::queue::Event;
use super::{Index, World};
use crate::{Network, cost};

/// How long a connection lives on which nothing is heard (the daemon's `Limits::idle`).
const IDLE: Duration = Duration::from_secs(60);
/// How long one lives that a node has released, where nobody speaks on it (the daemon's `Limits::released`).
const RELEASED: Duration = Duration::from_secs(5);
/// What an uplink holds back for longer than this goes with the bound that held it back.
const HELD_BACK: Duration = Duration::from_secs(10);
/// A connection that lived shorter than this counts as another failure.
const STEADY: Duration = Duration::from_secs(10);

impl World {
    /// A connection is open on this side. What is sent on it arrives no sooner than `not_before`.
    pub(super) fn go_live(&mut self, node: Index, peer: Index, number: u64, outbound: bool, not_before: Time) {
        let (now, rtt_us) = (self.now, self.rtt_us(node, peer));
        let (there, life) = (self.peer(peer), self.hosts[peer as usize].life);
        let displaced = self.displace_twin(node, peer);
        let host = &mut self.hosts[node as usize];
        let half = host.halves.entry(peer, now);
        let mut live = Box::new(Live::new(number, outbound, life, rtt_us, now));
        live.streams = [not_before; 3];
        let before = half.live.replace(live);
        half.owed = false;
        let unsent = if before.is_some() { Vec::new() } else { std::mem::take(&mut half.unsent) };
        half.unsent = Vec::new();
        host.live += u32::from(before.is_none());
        host.meet(peer);
        self.queue.push(now + IDLE, Event::Idle { node, peer, connection: number });
        for message in unsent {
            self.transmit(node, peer, message);
        }
        if before.is_some() || displaced {
            self.tell(node, Ring::Disconnected { id: there.id });
        }
        self.tell(node, Ring::Connected { peer: there });
        self.tell(node, Ring::RoundTrip { id: there.id, rtt: Duration::from_micros(rtt_us) });
    }

    /// The connection with this number has ended for this node.
    pub(super) fn lost(&mut self, node: Index, peer: Index, number: u64) {
        let now = self.now;
        let host = &mut self.hosts[node as usize];
        let Some(half) = host.halves.get_mut(peer) else { return };
        let Some(live) = half.live.take_if(|live| live.number == number) else { return };
        self.half_open.remove(&number);
        host.live -= 1;
        half.failures = if now.since(live.since) < STEADY { half.failures + 1 } else { 0 };
        half.unsent = Vec::new();
        let (wanted, failures) = (half.wanted, half.failures);
        if wanted {
            let after = self.back_off_us(failures);
            let begins = self.after_us(after);
            self.start_dial(node, peer, begins);
        } else if failures == 0 && half.is_spent(now) {
            host.halves.remove(peer);
        } else {
            half.quiet_until = now + Duration::from_micros(QUIET_US);
        }
        let id = self.peer(peer).id;
        self.tell(node, Ring::Disconnected { id });
    }

    /// Looks whether a connection has been silent for too long.
    pub(super) fn on_idle(&mut self, node: Index, peer: Index, number: u64) {
        let Some(half) = self.hosts[node as usize].halves.get_mut(peer) else { return };
        let Some(live) = half.live_as(number) else { return };
        let fresh = live.fresh;
        if fresh + IDLE <= self.now {
            self.lost(node, peer, number);
        } else {
            self.queue.push(fresh + IDLE, Event::Idle { node, peer, connection: number });
        }
    }

    /// A node needs a connection no more, unless someone speaks on it.
    pub(super) fn release(&mut self, node: Index, id: NodeId) {
        let Some(peer) = self.index(id) else { return };
        let half = self.hosts[node as usize].halves.get_mut(peer);
        let Some(live) = half.and_then(|half| half.live.as_mut()) else { return };
        live.released = Some(self.now);
        self.queue.push(self.now + RELEASED, Event::Released { node, peer, connection: live.number });
    }

    /// Ends a connection that was released so long ago, if that still stands.
    pub(super) fn on_released(&mut self, node: Index, peer: Index, number: u64) {
        let Some(half) = self.hosts[node as usize].halves.get_mut(peer) else { return };
        let Some(released) = half.live_as(number).and_then(|live| live.released) else { return };
        if released + RELEASED <= self.now {
            self.hosts[node as usize].traffic.maintenance += cost::CLOSE;
            self.lost(node, peer, number);
            self.reset(node, peer, number);
        }
    }

    /// Tells a peer that this node knows nothing of the connection, or has ended it (RFC 9000, section 10).
    pub(super) fn reset(&mut self, node: Index, peer: Index, number: u64) {
        if !self.network.passes(node, peer) {
            return;
        }
        let rtt_us = self.rtt_us(node, peer);
        let after = self.one_way_us(rtt_us);
        self.queue.push(self.after_us(after), Event::Closed { node: peer, peer: node, connection: number });
    }

    /// A node closes its connections and ends. What it has sent arrives first.
    pub(super) fn close_all(&mut self, node: Index) {
        let now = self.now;
        let host = &self.hosts[node as usize];
        let live = host.halves.iter().filter_map(|half| Some((half.peer, half.live.as_ref()?)));
        let open: Vec<_> =
            live.map(|(peer, live)| (peer, live.number, live.rtt_us, live.streams.into_iter().max())).collect();
        for (peer, number, rtt_us, last) in open {
            self.hosts[node as usize].traffic.maintenance += cost::CLOSE;
            if self.network.passes(node, peer) {
                let at = (now + Duration::from_micros(self.one_way_us(rtt_us))).max(last.unwrap_or(now));
                self.queue.push(at, Event::Closed { node: peer, peer: node, connection: number });
            }
        }
    }

    /// The network is another from now on.
    ///
    /// When a frame arrives was settled as it was sent. Where nodes can send more than before, connections break on which
    /// frames would still arrive at the old rate for long, and where connections clog no more, those that would stand still
    /// for long: they end sooner than the frames would have come.
    pub(super) fn change_network(&mut self, network: Network) {
        let raised = self.network.bandwidth.is_some_and(|old| network.bandwidth.is_none_or(|new| new > old));
        let cleared = self.network.clog.0 > 0.0 && network.clog.0 <= 0.0;
        self.network = network;
        let latest = self.now + HELD_BACK;
        for node in 0..self.count() {
            let host = &mut self.hosts[node as usize];
            let held_back = raised && host.uplink > latest;
            if held_back {
                host.uplink = self.now;
            }
            let late = |half: &Half| {
                let late = |live: &Live| {
                    held_back && live.streams.iter().any(|at| *at > latest) || cleared && live.clogged > latest
                };
                half.live.as_deref().is_some_and(late)
            };
            let late: Vec<Index> = host.halves.iter().filter(|half| late(half)).map(|half| half.peer).collect();
            late.into_iter().for_each(|peer| self.break_connection(node, peer));
        }
    }

    /// A connection breaks; both sides learn of it at once.
    pub(super) fn break_connection(&mut self, a: Index, b: Index) {
        for (node, peer) in [(a, b), (b, a)] {
            let live = self.hosts.get(node as usize).and_then(|host| host.halves.get(peer)?.live.as_ref());
            if let Some(connection) = live.map(|live| live.number) {
                self.queue.push(self.now, Event::Closed { node, peer, connection });
            }
        }
    }

    /// The address of a node changes. The first packet from the new one starts the validation of the path, which takes a
    /// round trip (RFC 9000, section 9.3); the peer sends to the old address until then, and what it loses it sends again.
    pub(super) fn rebind(&mut self, node: Index) {
        let now = self.now;
        let open =
            self.hosts[node as usize].halves.iter().filter_map(|half| Some((half.peer, half.live.as_ref()?.number)));
        for (peer, number) in open.collect::<Vec<_>>() {
            for (from, to) in [(node, peer), (peer, node)] {
                let half = self.hosts.get_mut(from as usize).and_then(|host| host.halves.get_mut(to));
                let Some(live) = half.and_then(|half| half.live_as(number)) else { continue };
                let clear = now + Duration::from_micros(live.rtt_us + resend_us(live.rtt_us));
                live.streams = live.streams.map(|stream| stream.max(clear));
            }
        }
    }

    /// The connection of two nodes ends at one of them, and the other is not told.
    pub(super) fn half_open(&mut self, node: Index, gone_at: Index) {
        let live = |a: Index, b: Index| Some(self.hosts.get(a as usize)?.halves.get(b)?.live.as_ref()?.number);
        let Some(number) = live(node, gone_at).filter(|number| live(gone_at, node) == Some(*number)) else { return };
        self.lost(gone_at, node, number);
        self.half_open.insert(number);
    }

    /// Tells a node something about the ring now.
    pub(super) fn tell(&mut self, node: Index, input: Ring) {
        self.note(node, &input);
        self.give(node, Input::Ring(input));
    }
}
