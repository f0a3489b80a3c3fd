//! How connections come about.
//!
//! The dialler's first flight and the answer to it take a round trip (the handshake), its greeting and the answer to that
//! another one. The rules are those of the daemon: `transport/dial.rs`, `transport/rivalry.rs`, `transport/links.rs`.

use core::time::Duration;
use std::net::SocketAddr;

use prost_kbr::{Input as Ring, Peer, Time};

use super::half::Dial;
use super::host::{AddrDial, number_at};
use super::path::{FIRST_RESEND_US, resend_us};
use super::queue::{Event, Stage};
use super::{Index, World};
use crate::cost;

/// How long a handshake may take, and then the greeting, in microseconds (the daemon's `Limits::handshake`).
pub(super) const HANDSHAKE_US: u64 = 5_000_000;
/// Own handshakes at a time; more dials wait (`Limits::dials`).
const SEATS: usize = 64;
/// Most peers that a node knows something of (`Limits::connections`).
const MAX_PEERS: usize = 512;
/// Most connections that others dialled (`Limits::inbound`).
const MAX_GUESTS: usize = 256;
/// Most addresses dialled at a time.
const MAX_ADDR_DIALS: usize = 64;
/// How long a dial that yielded waits for the connection that it yielded to, in microseconds, and how often it looks.
const GRACE_US: u64 = 2_000_000;
const LOOK_US: u64 = GRACE_US / 20;
/// No second dial sooner after one that failed, in microseconds.
pub(super) const QUIET_US: u64 = 1_000_000;
const FIRST_BACK_OFF_US: u64 = 250_000;
const LAST_BACK_OFF_US: u64 = 30_000_000;
/// Stands for whoever is at an address where no node can be.
const NOBODY: Index = Index::MAX;

/// What becomes of a connection that the peer dialled and greeted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Adopt,
    Replace,
    Reject,
}

impl World {
    /// Whether the node's table has no room for one more peer.
    pub(super) fn is_full(&self, node: Index, peer: Index) -> bool {
        let halves = &self.hosts[node as usize].halves;
        halves.len() >= MAX_PEERS && halves.get(peer).is_none() && halves.count(self.now) >= MAX_PEERS
    }

    /// Sees to it that a dial is under way, as soon as the peer may be dialled again.
    pub(super) fn dial_soon(&mut self, node: Index, peer: Index) {
        let now = self.now;
        let half = self.hosts[node as usize].halves.entry(peer, now);
        let begins = half.quiet_until.max(now);
        match half.dial {
            Some(dial) if dial.begins <= begins => {}
            None if half.greeted.is_some() => {}
            _ => self.start_dial(node, peer, begins),
        }
    }

    pub(super) fn start_dial(&mut self, node: Index, peer: Index, begins: Time) {
        self.stop_dial(node, peer);
        let number = self.take_dial();
        let half = self.hosts[node as usize].halves.entry(peer, self.now);
        half.dial = Some(Dial { number, begins, seated: false });
        self.queue.push(begins, Event::Dial { node, peer, dial: number, stage: Stage::Begin });
    }

    fn take_dial(&mut self) -> u64 {
        self.dials += 1;
        self.dials
    }

    /// Gives up the dial to a peer, if there is one.
    pub(super) fn stop_dial(&mut self, node: Index, peer: Index) {
        let Some(half) = self.hosts[node as usize].halves.get_mut(peer) else { return };
        let Some(dial) = half.dial.take() else { return };
        if half.greeted == Some(dial.number) {
            half.greeted = None;
        }
        if dial.seated {
            self.leave_seat(node);
        }
    }

    /// Dials whoever is at an address.
    pub(super) fn dial_addr(&mut self, node: Index, addr: SocketAddr) {
        let there = number_at(addr).filter(|number| (*number as usize) < self.hosts.len());
        let host = &mut self.hosts[node as usize];
        if let Some(peer) = there
            && host.halves.get(peer).is_some_and(|half| half.live.is_some())
        {
            let peer = self.peer(peer);
            return self.tell_later(node, 0, Ring::Connected { peer });
        }
        if host.addr_dials.iter().any(|dial| dial.addr == addr) {
            return;
        }
        if host.addr_dials.len() >= MAX_ADDR_DIALS || there == Some(node) {
            return self.tell_later(node, 0, Ring::DialFailed { addr });
        }
        let number = self.take_dial();
        let dial = AddrDial { number, addr, seated: false, yielded: None };
        self.hosts[node as usize].addr_dials.push(dial);
        let peer = there.unwrap_or(NOBODY);
        self.queue.push(self.now, Event::Dial { node, peer, dial: number, stage: Stage::Begin });
    }

    /// A dial has come to its next stage.
    pub(super) fn on_dial(&mut self, node: Index, peer: Index, dial: u64, stage: Stage) {
        if !self.hosts[node as usize].is_alive() {
            return;
        }
        match stage {
            Stage::Greeting => return self.on_greeting(node, peer, dial),
            Stage::Answer => return self.on_answer(node, peer, dial),
            _ => {}
        }
        if !self.is_dialling(node, peer, dial) {
            return;
        }
        match stage {
            Stage::Begin => self.sit(node, peer, dial),
            Stage::Shaken => self.on_shaken(node, peer, dial),
            Stage::Yield => self.on_yield(node, peer, dial),
            _ => self.on_dial_failed(node, peer, dial),
        }
    }

    fn dial_stage(&mut self, node: Index, peer: Index, dial: u64, stage: Stage, after_us: u64) {
        self.queue.push(self.after_us(after_us), Event::Dial { node, peer, dial, stage });
    }

    /// Whether this dial is still under way.
    fn is_dialling(&self, node: Index, peer: Index, dial: u64) -> bool {
        let host = &self.hosts[node as usize];
        let by_id = host.halves.get(peer).and_then(|half| half.dial).is_some_and(|own| own.number == dial);
        by_id || host.addr_dials.iter().any(|own| own.number == dial)
    }

    /// Takes a place for a handshake, or waits for one.
    fn sit(&mut self, node: Index, peer: Index, dial: u64) {
        let host = &mut self.hosts[node as usize];
        if host.shaking >= SEATS {
            host.waiting.push_back((peer, dial));
            return;
        }
        host.shaking += 1;
        self.seat(node, peer, dial, true);
        self.shake(node, peer, dial);
    }

    /// Notes whether a dial has a place; says whether it had one.
    fn seat(&mut self, node: Index, peer: Index, dial: u64, seated: bool) -> bool {
        let host = &mut self.hosts[node as usize];
        if let Some(own) = host.addr_dials.iter_mut().find(|own| own.number == dial) {
            return std::mem::replace(&mut own.seated, seated);
        }
        let own = host.halves.get_mut(peer).and_then(|half| half.dial.as_mut()).filter(|own| own.number == dial);
        own.is_some_and(|own| std::mem::replace(&mut own.seated, seated))
    }

    /// A place is free: the next dial that waits takes it.
    fn leave_seat(&mut self, node: Index) {
        self.hosts[node as usize].shaking -= 1;
        while let Some((peer, dial)) = self.hosts[node as usize].waiting.pop_front() {
            if self.is_dialling(node, peer, dial) {
                return self.sit(node, peer, dial);
            }
        }
    }

    /// The handshake begins.
    fn shake(&mut self, node: Index, peer: Index, dial: u64) {
        if let Some(after) = self.handshake_us(node, peer) {
            self.hosts[node as usize].traffic.handshakes += cost::HANDSHAKE_DIALLER;
            self.dial_stage(node, peer, dial, Stage::Shaken, after);
        } else {
            self.hosts[node as usize].traffic.handshakes += cost::HANDSHAKE_IN_VAIN;
            self.dial_stage(node, peer, dial, Stage::Fail, HANDSHAKE_US);
        }
    }

    /// How long the handshake takes; none where it fails.
    fn handshake_us(&mut self, node: Index, peer: Index) -> Option<u64> {
        let own = self.twin(node) == Some(peer);
        if own || !self.reaches(node, peer) || !self.network.passes(peer, node) {
            return None;
        }
        let rtt_us = self.rtt_us(node, peer);
        let there = self.flight_us(rtt_us, FIRST_RESEND_US)?;
        let ready = self.hosts[peer as usize].ready_at().since(self.now).as_micros() as u64;
        let back = self.flight_us(rtt_us, resend_us(rtt_us))?;
        let whole = there.max(ready) + back;
        (whole < HANDSHAKE_US).then_some(whole)
    }

    /// The handshake is done: the dialler greets, unless there is another connection by now.
    fn on_shaken(&mut self, node: Index, peer: Index, dial: u64) {
        if self.is_full(node, peer) {
            return self.on_dial_failed(node, peer, dial);
        }
        let linked = self.linked_twin(node, peer).is_some();
        let half = self.hosts[node as usize].halves.entry(peer, self.now);
        if half.live.is_some() || half.greeted.is_some() || linked {
            return self.on_yield(node, peer, dial);
        }
        half.greeted = Some(dial);
        let rtt_us = self.rtt_us(node, peer);
        if let Some(after) = self.flight_us(rtt_us, resend_us(rtt_us)).filter(|_| self.network.passes(node, peer)) {
            self.dial_stage(peer, node, dial, Stage::Greeting, after);
        }
        // The peer may die, or stand still, with the greeting unread.
        self.dial_stage(node, peer, dial, Stage::Fail, HANDSHAKE_US);
    }

    /// The dialler's greeting has arrived at this node.
    fn on_greeting(&mut self, node: Index, dialler: Index, dial: u64) {
        let now = self.now;
        let there = &self.hosts[dialler as usize];
        let given_up = there.is_alive() && there.halves.get(node).is_none_or(|half| half.greeted != Some(dial));
        if given_up {
            return;
        }
        let life = there.life;
        if !self.network.passes(dialler, node) {
            return;
        }
        let closed = self.is_full(node, dialler) || self.guests(node, dialler) >= MAX_GUESTS;
        let verdict = self.judge(node, dialler, life);
        let rtt_us = self.rtt_us(node, dialler);
        let back = self.flight_us(rtt_us, resend_us(rtt_us)).filter(|_| self.network.passes(node, dialler));
        self.hosts[node as usize].traffic.handshakes += cost::HANDSHAKE_LISTENER;
        let (stage, after) = match back {
            // Too late: the dialler has given up by then.
            None => (Stage::Answer, HANDSHAKE_US),
            Some(after) if closed => (Stage::Fail, after),
            Some(after) if verdict == Verdict::Reject => (Stage::Yield, after),
            Some(after) => (Stage::Answer, after),
        };
        self.dial_stage(dialler, node, dial, stage, after);
        if closed || verdict == Verdict::Reject {
            return;
        }
        self.stop_dial(node, dialler);
        let half = self.hosts[node as usize].halves.entry(dialler, now);
        half.greeted = None;
        let not_before = self.after_us(after);
        self.go_live(node, dialler, dial, false, not_before);
    }

    /// How many others have dialled this node and are connected.
    fn guests(&self, node: Index, but: Index) -> usize {
        let halves = self.hosts[node as usize].halves.iter().filter(|half| half.peer != but);
        halves.filter(|half| half.live.as_ref().is_some_and(|live| !live.outbound)).count()
    }

    /// Which of two connections stays: `transport/rivalry.rs`.
    fn judge(&self, node: Index, dialler: Index, life: u32) -> Verdict {
        let smaller = self.hosts[node as usize].peer.id < self.hosts[dialler as usize].peer.id;
        let late = Duration::from_micros(HANDSHAKE_US);
        let Some(half) = self.hosts[node as usize].halves.get(dialler) else { return Verdict::Adopt };
        match &half.live {
            Some(live) if live.outbound && live.life == life && smaller && self.now.since(live.since) <= late => {
                Verdict::Reject
            }
            Some(_) => Verdict::Replace,
            None if half.greeted.is_some() && smaller => Verdict::Reject,
            None => Verdict::Adopt,
        }
    }

    /// The answer to this node's greeting has arrived.
    fn on_answer(&mut self, node: Index, peer: Index, dial: u64) {
        let meant = self.hosts[node as usize].halves.get(peer).is_some_and(|half| half.greeted == Some(dial));
        if !meant {
            return self.reset(node, peer, dial);
        }
        if !self.network.passes(peer, node) {
            return;
        }
        self.end_dial(node, peer, dial);
        self.stop_dial(node, peer);
        self.go_live(node, peer, dial, true, self.now);
    }

    /// There is another connection to the peer, or there soon will be.
    fn on_yield(&mut self, node: Index, peer: Index, dial: u64) {
        let until = self.after_us(GRACE_US);
        if self.seat(node, peer, dial, false) {
            self.leave_seat(node);
        }
        let host = &mut self.hosts[node as usize];
        let is_live = match host.halves.get_mut(peer) {
            Some(half) => {
                half.greeted = half.greeted.filter(|own| *own != dial);
                half.live.is_some()
            }
            None => false,
        };
        let Some(own) = host.addr_dials.iter_mut().find(|own| own.number == dial) else {
            // Its adoption ends this dial, or it was a mistake.
            return self.dial_stage(node, peer, dial, Stage::Fail, GRACE_US);
        };
        let until = *own.yielded.get_or_insert(until);
        if is_live {
            host.addr_dials.retain(|own| own.number != dial);
            let peer = self.peer(peer);
            return self.tell(node, Ring::Connected { peer });
        }
        let stage = if self.now < until { Stage::Yield } else { Stage::Fail };
        self.dial_stage(node, peer, dial, stage, LOOK_US);
    }

    /// Takes away what a dial holds; gives the address, where it was by address.
    fn end_dial(&mut self, node: Index, peer: Index, dial: u64) -> Option<SocketAddr> {
        if self.seat(node, peer, dial, false) {
            self.leave_seat(node);
        }
        let host = &mut self.hosts[node as usize];
        if let Some(half) = host.halves.get_mut(peer) {
            half.greeted = half.greeted.filter(|own| *own != dial);
            half.dial = half.dial.filter(|own| own.number != dial);
        }
        let at = host.addr_dials.iter().position(|own| own.number == dial)?;
        Some(host.addr_dials.remove(at).addr)
    }

    /// A dial has come to nothing.
    fn on_dial_failed(&mut self, node: Index, peer: Index, dial: u64) {
        if let Some(addr) = self.end_dial(node, peer, dial) {
            return self.tell(node, Ring::DialFailed { addr });
        }
        let now = self.now;
        let linked = self.linked_twin(node, peer).is_some();
        let half = self.hosts[node as usize].halves.entry(peer, now);
        if half.live.is_some() || linked {
            return;
        }
        half.failures = half.failures.saturating_add(1);
        half.quiet_until = now + Duration::from_micros(QUIET_US);
        half.unsent = Vec::new();
        let (owed, wanted, failures) = (std::mem::take(&mut half.owed), half.wanted, half.failures);
        if wanted {
            let after = self.back_off_us(failures).max(QUIET_US);
            let begins = self.after_us(after);
            self.start_dial(node, peer, begins);
        }
        if owed {
            let Peer { id, .. } = self.peer(peer);
            self.tell(node, Ring::Disconnected { id });
        }
    }

    /// How long to wait before the next dial: doubled with each failure, and half of it random.
    pub(super) fn back_off_us(&mut self, failures: u32) -> u64 {
        let whole = (FIRST_BACK_OFF_US << failures.min(10)).min(LAST_BACK_OFF_US);
        whole / 2 + self.random.below(whole / 2 + 1)
    }

    /// Replaces the set of peers that a node keeps connected.
    pub(super) fn keep(&mut self, node: Index, peers: &[Peer]) {
        let now = self.now;
        self.hosts[node as usize].halves.iter_mut().for_each(|half| half.wanted = false);
        for peer in peers {
            match self.resolve(node, *peer).filter(|number| *number != node) {
                Some(number) if !self.is_full(node, number) => self.keep_one(node, number),
                Some(_) => self.tell_later(node, 0, Ring::Disconnected { id: peer.id }),
                None => {}
            }
        }
        let late = |dial: Dial| dial.begins > now;
        let halves = self.hosts[node as usize].halves.iter();
        let unwanted = halves.filter(|half| !half.wanted && !half.owed && half.live.is_none());
        let given_up: Vec<Index> = unwanted.filter(|half| half.dial.is_some_and(late)).map(|half| half.peer).collect();
        given_up.into_iter().for_each(|peer| self.stop_dial(node, peer));
    }

    fn keep_one(&mut self, node: Index, peer: Index) {
        let now = self.now;
        let half = self.hosts[node as usize].halves.entry(peer, now);
        half.wanted = true;
        if let Some(live) = &mut half.live {
            live.released = None;
        } else if half.dial.is_none() && half.greeted.is_none() {
            half.owed = true;
            let begins = half.quiet_until.max(now);
            self.start_dial(node, peer, begins);
        }
    }
}
