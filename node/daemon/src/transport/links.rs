//! Who this node is connected to, is connecting to, and wants to be connected to.
//!
//! Two nodes share one connection. It counts from the moment when each has heard the other's greeting: the dialler
//! greets first, the other answers only on the connection that it adopts, so nothing is ever sent on one that loses.
//! Before a dialler greets it yields to any connection that is there; two that greet each other at once keep the one that
//! the smaller id dialled ([`judge`]). A peer that greets with another incarnation, or long after the connection was made, has
//! lost what it knew of that one, which is replaced.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use prost_kbr::{Message, NodeId, Peer};
use quinn::Connection;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::accept::Guests;
use super::code::CloseCode;
use super::dial;
use super::endpoint::Endpoint;
use super::inbox::{Arrival, Inbox};
use super::live::{Greeted, Live};
use super::outbox::Outbox;
use super::rivalry::{Direction, Present, Verdict, judge};
use super::settings::Limits;
use super::stats::{Refused, TransportStats};

/// What all tasks of a transport share. They live on one thread, and no borrow lasts across an await.
pub(super) struct Shared {
    pub(super) me: Peer,
    pub(super) ring: String,
    pub(super) incarnation: u64,
    pub(super) limits: Limits,
    pub(super) endpoint: Endpoint,
    pub(super) inbox: Inbox,
    pub(super) stats: TransportStats,
    pub(super) guests: Rc<RefCell<Guests>>,
    pub(super) dials: Semaphore,
    pub(super) links: RefCell<HashMap<NodeId, Link>>,
    pub(super) dialled_addrs: RefCell<Vec<SocketAddr>>,
    pub(super) writers: Cell<usize>,
    pub(super) writer_ended: Notify,
    pub(super) closing: Cell<bool>,
    pub(super) next_number: Cell<u64>,
    pub(super) random: Cell<u64>,
}

/// One peer.
pub(super) struct Link {
    pub(super) addr: SocketAddr,
    pub(super) outbox: Rc<Outbox>,
    pub(super) live: Option<Live>,
    /// A connection that this node dialled and has greeted on, without an answer so far.
    pub(super) greeted: Option<Connection>,
    dial: Option<Dial>,
    pub(super) wanted: bool,
    /// Whether someone waits to hear of this peer, so that a failure must be reported.
    owed: bool,
    failures: u32,
    /// No dial begins before: a peer that cannot be reached must not keep this node busy.
    pub(super) quiet_until: Instant,
}

/// A task that dials.
struct Dial {
    task: AbortHandle,
    begins: Instant,
}

impl Link {
    fn new(addr: SocketAddr, now: Instant) -> Link {
        Link {
            addr,
            outbox: Rc::default(),
            live: None,
            greeted: None,
            dial: None,
            wanted: false,
            owed: false,
            failures: 0,
            quiet_until: now,
        }
    }

    /// Whether nothing would be lost if this peer were forgotten.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        let idle = self.live.is_none() && self.dial.is_none() && self.greeted.is_none();
        idle && !self.wanted && self.quiet_until <= now
    }

    fn is_dialling(&self) -> bool {
        self.dial.is_some() || self.greeted.is_some()
    }

    /// Throws away what has not been taken for sending.
    fn drop_frames(&mut self, stats: &TransportStats) {
        stats.frames_undelivered.add(self.outbox.waiting());
        self.outbox = Rc::default();
    }

    fn stop_dial(&mut self) {
        if let Some(dial) = self.dial.take() {
            dial.task.abort();
        }
    }
}

impl Shared {
    /// Queues a frame; returns the outbox where its writers are to be woken for the first time since the last flush.
    pub(super) fn send(self: &Rc<Self>, to: Peer, message: &Message) -> Option<Rc<Outbox>> {
        let links = &mut *self.links.borrow_mut();
        if let Some(link) = links.get_mut(&to.id).filter(|link| link.live.is_some()) {
            self.queue(link, message);
            return link.outbox.mark().then(|| link.outbox.clone());
        }
        if to.id == self.me.id || (links.len() >= self.limits.connections && !links.contains_key(&to.id)) {
            self.stats.frames_overflowed.count();
            self.inbox.report(Arrival::Disconnected { id: to.id });
            return None;
        }
        let link = links.entry(to.id).or_insert_with(|| Link::new(to.addr, Instant::now()));
        self.queue(link, message);
        link.owed = true;
        self.dial_soon(link, to);
        None
    }

    fn queue(&self, link: &Link, message: &Message) {
        match link.outbox.push(message) {
            Some(bytes) => {
                self.stats.frames_sent.count();
                self.stats.bytes_sent.add(bytes as u64);
            }
            None => self.stats.frames_overflowed.count(),
        }
    }

    /// Sees to it that a dial is under way, as soon as the peer may be dialled again.
    fn dial_soon(self: &Rc<Self>, link: &mut Link, to: Peer) {
        let begins = link.quiet_until.max(Instant::now());
        match &link.dial {
            Some(dial) if dial.begins <= begins => {}
            None if link.greeted.is_some() => {}
            _ => {
                link.addr = to.addr;
                self.start_dial(link, to.id, begins);
            }
        }
    }

    fn start_dial(self: &Rc<Self>, link: &mut Link, id: NodeId, begins: Instant) {
        link.stop_dial();
        if self.closing.get() {
            return;
        }
        let task = spawn_local(dial::dial_peer(self.clone(), Peer { id, addr: link.addr }, begins));
        link.dial = Some(Dial { task: task.abort_handle(), begins });
    }

    /// Replaces the set of peers that are kept connected.
    pub(super) fn keep(self: &Rc<Self>, peers: &[Peer]) {
        let links = &mut *self.links.borrow_mut();
        links.values_mut().for_each(|link| link.wanted = false);
        let now = Instant::now();
        for peer in peers.iter().filter(|peer| peer.id != self.me.id) {
            if !links.contains_key(&peer.id) && links.len() >= self.limits.connections {
                self.stats.refuse(Refused::Limit);
                self.inbox.report(Arrival::Disconnected { id: peer.id });
                continue;
            }
            let link = links.entry(peer.id).or_insert_with(|| Link::new(peer.addr, now));
            link.wanted = true;
            if let Some(live) = &mut link.live {
                live.released = None;
            } else {
                link.addr = peer.addr;
                if !link.is_dialling() {
                    link.owed = true;
                    let begins = link.quiet_until.max(now);
                    self.start_dial(link, peer.id, begins);
                }
            }
        }
        for link in links.values_mut().filter(|link| !link.wanted && !link.owed && link.live.is_none()) {
            // A dial again that nobody waits for any more.
            if link.dial.as_ref().is_some_and(|dial| dial.begins > now) {
                link.stop_dial();
            }
        }
    }

    /// Asks to greet on a connection that this node dialled; no where there is another connection to the peer.
    pub(super) fn may_greet(&self, peer: Peer, connection: &Connection) -> Result<(), CloseCode> {
        let links = &mut *self.links.borrow_mut();
        if !links.contains_key(&peer.id) && links.len() >= self.limits.connections {
            self.stats.refuse(Refused::Limit);
            return Err(CloseCode::Limit);
        }
        let link = links.entry(peer.id).or_insert_with(|| Link::new(peer.addr, Instant::now()));
        if link.live.is_some() || link.greeted.is_some() {
            return Err(CloseCode::Duplicate);
        }
        link.greeted = Some(connection.clone());
        Ok(())
    }

    /// Takes back what [`Shared::may_greet`] allowed.
    pub(super) fn greeting_failed(&self, id: NodeId, connection: &Connection) {
        if let Some(link) = self.links.borrow_mut().get_mut(&id)
            && link.greeted.as_ref().is_some_and(|greeted| greeted.stable_id() == connection.stable_id())
        {
            link.greeted = None;
        }
    }

    /// Whether there is a connection to the peer.
    pub(super) fn is_connected(&self, id: NodeId) -> bool {
        self.links.borrow().get(&id).is_some_and(|link| link.live.is_some())
    }

    /// Reports the connection to such a peer once more, where there is one.
    pub(super) fn report_again(&self, is_meant: impl Fn(Peer) -> bool) -> bool {
        let links = self.links.borrow();
        let live = links.iter().filter(|(_, link)| link.live.is_some());
        let found = live.map(|(id, link)| Peer { id: *id, addr: link.addr }).find(|peer| is_meant(*peer));
        if let Some(peer) = found {
            self.inbox.report(Arrival::Connected { peer });
        }
        found.is_some()
    }

    /// Makes a connection the one to its peer and reports it, unless another has a better claim or it has ended.
    pub(super) fn adopt(self: &Rc<Self>, new: Greeted) -> Result<(), CloseCode> {
        let id = new.peer.id;
        let direction = if new.seat.is_some() { Direction::Inbound } else { Direction::Outbound };
        let links = &mut *self.links.borrow_mut();
        if self.closing.get() || new.connection.close_reason().is_some() {
            return Err(CloseCode::Shutdown);
        }
        if !links.contains_key(&id) && links.len() >= self.limits.connections {
            self.stats.refuse(Refused::Limit);
            return Err(CloseCode::Limit);
        }
        let link = links.entry(id).or_insert_with(|| Link::new(new.peer.addr, Instant::now()));
        match direction {
            Direction::Inbound => {
                let live = link.live.as_ref().map(|live| Present {
                    direction: live.direction,
                    same: live.incarnation == new.incarnation,
                    age: live.since.elapsed(),
                });
                match judge(self.me.id, id, live, link.greeted.is_some(), self.limits.greeting) {
                    Verdict::Adopt => {}
                    Verdict::Replace => self.end(link, id, CloseCode::Duplicate),
                    Verdict::Reject => {
                        self.stats.refuse(Refused::Duplicate);
                        return Err(CloseCode::Duplicate);
                    }
                }
                if let Some(greeted) = link.greeted.take() {
                    self.stats.refuse(Refused::Duplicate);
                    CloseCode::Duplicate.close(&greeted);
                }
            }
            Direction::Outbound => {
                let ours = |greeted: &Connection| greeted.stable_id() == new.connection.stable_id();
                if !link.greeted.as_ref().is_some_and(ours) {
                    return Err(CloseCode::Duplicate);
                }
                link.greeted = None;
            }
        }
        link.stop_dial();
        self.go_live(link, direction, new);
        Ok(())
    }

    fn go_live(self: &Rc<Self>, link: &mut Link, direction: Direction, new: Greeted) {
        let peer = new.peer;
        self.inbox.push(Arrival::Connected { peer }, 0);
        self.inbox.report(Arrival::RoundTrip { id: peer.id, rtt: new.connection.rtt() });
        self.stats.connected.count();
        link.addr = peer.addr;
        link.owed = false;
        link.live = Some(Live::begin(self, direction, new, &link.outbox));
    }

    /// Ends the peer's connection and reports that.
    fn end(&self, link: &mut Link, id: NodeId, code: CloseCode) {
        let Some(live) = link.live.take() else { return };
        code.close(&live.connection);
        link.failures = if live.since.elapsed() < STEADY { link.failures + 1 } else { 0 };
        link.drop_frames(&self.stats);
        self.stats.disconnected.count();
        self.inbox.report(Arrival::Disconnected { id });
    }

    /// The connection with this number has ended by itself, or was closed by either side.
    pub(super) fn lost(self: &Rc<Self>, id: NodeId, number: u64) {
        let links = &mut *self.links.borrow_mut();
        let Some(link) = links.get_mut(&id) else { return };
        if link.live.as_ref().is_none_or(|live| live.number != number) {
            return;
        }
        self.end(link, id, CloseCode::Shutdown);
        if link.wanted {
            let begins = Instant::now() + self.back_off(link.failures);
            self.start_dial(link, id, begins);
        } else if link.failures == 0 {
            links.remove(&id);
        } else {
            link.quiet_until = Instant::now() + QUIET;
        }
    }

    /// A dial has come to nothing.
    pub(super) fn dial_failed(self: &Rc<Self>, id: NodeId) {
        let links = &mut *self.links.borrow_mut();
        let Some(link) = links.get_mut(&id) else { return };
        link.dial = None;
        if link.live.is_some() {
            return;
        }
        self.stats.dial_failures.count();
        let now = Instant::now();
        link.failures = link.failures.saturating_add(1);
        link.quiet_until = now + QUIET;
        link.drop_frames(&self.stats);
        if std::mem::take(&mut link.owed) {
            self.inbox.report(Arrival::Disconnected { id });
        }
        if link.wanted {
            let begins = now + self.back_off(link.failures).max(QUIET);
            self.start_dial(link, id, begins);
        }
    }

    /// How long to wait before the next dial: doubled with each failure, and half of it random, so that nodes that lost
    /// each other at the same time do not meet again at the same time.
    fn back_off(&self, failures: u32) -> Duration {
        let whole = FIRST_BACK_OFF.saturating_mul(1 << failures.min(10)).min(LAST_BACK_OFF);
        whole.mul_f64(0.5 + 0.5 * self.random_fraction())
    }

    /// From zero to one: SplitMix64.
    fn random_fraction(&self) -> f64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }

    /// Ends all dials and lets no connection begin any more.
    pub(super) fn stop(&self) {
        self.closing.set(true);
        self.links.borrow_mut().values_mut().for_each(Link::stop_dial);
    }
}

/// No second dial sooner after one that failed.
const QUIET: Duration = Duration::from_secs(1);
const FIRST_BACK_OFF: Duration = Duration::from_millis(250);
const LAST_BACK_OFF: Duration = Duration::from_secs(30);
/// A connection that lived shorter than this counts as another failure.
const STEADY: Duration = Duration::from_secs(10);
