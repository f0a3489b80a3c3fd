//! What this node knows of other nodes: where to dial them, and how long they take to answer.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::id::NodeId;
use crate::message::Peer;
use crate::planted::Bug;
use crate::time::Time;

/// Most nodes whose address is remembered.
pub(crate) const MAX_BOOK: usize = 1024;
/// Entries looked at, at most, to make room for one.
const MAX_EVICTION_STEPS: usize = 192;
/// How old the note of an entry's last use may become, so that a busy peer does not cost a note for each frame.
const USE_GRAIN: Duration = Duration::from_secs(1);

/// A peer's round-trip time, as in RFC 6298.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    mean: Duration,
    deviation: Duration,
}

#[derive(Debug, Clone)]
struct Entry {
    addr: SocketAddr,
    /// Whether the address is one that a live connection of this peer has proven.
    proven: bool,
    connected: bool,
    estimate: Option<Estimate>,
    /// Timeouts since the last sample: each doubles the next.
    backoff: u32,
    heard: Time,
    used: Time,
}

/// A bounded address book. Entries of connected and of pinned nodes stay; of the others, the least recently used goes.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    entries: BTreeMap<NodeId, Entry>,
    by_use: BTreeSet<(Time, NodeId)>,
    pinned: BTreeSet<NodeId>,
    connections: u64,
    timeout_min: Duration,
    timeout_max: Duration,
}

impl Book {
    pub(crate) fn new(config: &Config) -> Book {
        Book {
            entries: BTreeMap::new(),
            by_use: BTreeSet::new(),
            pinned: BTreeSet::new(),
            connections: 0,
            timeout_min: config.timeout_min,
            timeout_max: if config.has(Bug::FixedTimeout) { config.timeout_min } else { config.timeout_max },
        }
    }

    /// Remembers where a peer may be dialled, by hearsay. What a connection has proven is not overwritten.
    pub(crate) fn hint(&mut self, now: Time, peer: Peer) {
        if let Some(entry) = self.entries.get_mut(&peer.id) {
            if !entry.proven {
                entry.addr = peer.addr;
            }
            self.touch(now, peer.id);
        } else {
            self.insert(now, peer);
        }
    }

    /// Notes a connection, which proves the peer's address.
    pub(crate) fn connect(&mut self, now: Time, peer: Peer) {
        self.hint(now, peer);
        if let Some(entry) = self.entries.get_mut(&peer.id) {
            entry.addr = peer.addr;
            entry.proven = true;
            self.connections += u64::from(!entry.connected);
            entry.connected = true;
            entry.heard = now;
        }
    }

    pub(crate) fn disconnect(&mut self, id: NodeId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.connections += u64::from(entry.connected);
            entry.connected = false;
        }
    }

    /// How often a connection has come or gone.
    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    /// The peer may come back elsewhere: its address is hearsay from now on.
    pub(crate) fn doubt(&mut self, id: NodeId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.proven = false;
        }
    }

    /// Notes a sign of life and gives the peer, where it is known.
    pub(crate) fn hear(&mut self, now: Time, id: NodeId) -> Option<Peer> {
        let entry = self.entries.get_mut(&id)?;
        entry.heard = now;
        let peer = Peer { id, addr: entry.addr };
        if now.since(entry.used) > USE_GRAIN {
            self.touch(now, id);
        }
        Some(peer)
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<Peer> {
        self.entries.get(&id).map(|entry| Peer { id, addr: entry.addr })
    }

    /// The connected peer at an address.
    pub(crate) fn connected_at(&self, addr: SocketAddr) -> Option<Peer> {
        let found = self.entries.iter().find(|(_, entry)| entry.connected && entry.addr == addr);
        found.map(|(id, _)| Peer { id: *id, addr })
    }

    pub(crate) fn is_connected(&self, id: NodeId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.connected)
    }

    pub(crate) fn heard(&self, id: NodeId) -> Option<Time> {
        self.entries.get(&id).map(|entry| entry.heard)
    }

    /// Connected peers first, then the others.
    pub(crate) fn all(&self) -> impl Iterator<Item = Peer> {
        let listed = |connected: bool| {
            let these = self.entries.iter().filter(move |(_, entry)| entry.connected == connected);
            these.map(|(id, entry)| Peer { id: *id, addr: entry.addr })
        };
        listed(true).chain(listed(false))
    }

    /// Entries of these nodes stay. The caller bounds their number far below [`MAX_BOOK`].
    pub(crate) fn pin(&mut self, nodes: BTreeSet<NodeId>) {
        self.pinned = nodes;
    }

    /// A round trip measured here: RFC 6298, section 2.
    pub(crate) fn sample(&mut self, id: NodeId, rtt: Duration) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.backoff = 0;
        entry.estimate = Some(match entry.estimate {
            None => Estimate { mean: rtt, deviation: rtt / 2 },
            Some(Estimate { mean, deviation }) => {
                Estimate { mean: (mean * 7 + rtt) / 8, deviation: (deviation * 3 + mean.abs_diff(rtt)) / 4 }
            }
        });
    }

    /// The transport's own estimate, which is smooth already.
    pub(crate) fn measured(&mut self, id: NodeId, rtt: Duration) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let deviation = match entry.estimate {
            None => rtt / 2,
            Some(Estimate { mean, deviation }) => (deviation * 3 + mean.abs_diff(rtt)) / 4,
        };
        entry.estimate = Some(Estimate { mean: rtt, deviation });
    }

    /// A timeout: the next is twice as long, until there is a sample.
    pub(crate) fn back_off(&mut self, id: NodeId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.backoff = (entry.backoff + 1).min(8);
        }
    }

    /// The retransmission timeout of a peer: mean and four deviations, within the configured bounds.
    pub(crate) fn timeout(&self, id: NodeId) -> Duration {
        let Some(entry) = self.entries.get(&id) else { return self.timeout_max };
        let Some(Estimate { mean, deviation }) = entry.estimate else { return self.timeout_max };
        (mean + deviation * 4).clamp(self.timeout_min, self.timeout_max)
    }

    /// The same, doubled for each timeout since the last sample.
    pub(crate) fn backed_off_timeout(&self, id: NodeId) -> Duration {
        let backoff = self.entries.get(&id).map_or(0, |entry| entry.backoff);
        (self.timeout(id) * (1 << backoff)).min(self.timeout_max)
    }

    pub(crate) fn round_trip(&self, id: NodeId) -> Option<Duration> {
        self.entries.get(&id)?.estimate.map(|estimate| estimate.mean)
    }

    /// The smoothed round-trip times of connected peers.
    pub(crate) fn round_trips(&self) -> BTreeMap<NodeId, Duration> {
        let connected = self.entries.iter().filter(|(_, entry)| entry.connected);
        connected.filter_map(|(id, entry)| Some((*id, entry.estimate?.mean))).collect()
    }

    fn insert(&mut self, now: Time, peer: Peer) {
        if self.entries.len() >= MAX_BOOK && !self.evict(now) {
            return;
        }
        let entry = Entry {
            addr: peer.addr,
            proven: false,
            connected: false,
            estimate: None,
            backoff: 0,
            heard: Time::ZERO,
            used: now,
        };
        self.entries.insert(peer.id, entry);
        self.by_use.insert((now, peer.id));
    }

    fn touch(&mut self, now: Time, id: NodeId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.used != now {
            self.by_use.remove(&(entry.used, id));
            self.by_use.insert((now, id));
            entry.used = now;
        }
    }

    fn evict(&mut self, now: Time) -> bool {
        for _ in 0..MAX_EVICTION_STEPS {
            let Some((used, id)) = self.by_use.first().copied() else { return false };
            if self.pinned.contains(&id) || self.is_connected(id) {
                if used == now {
                    return false;
                }
                self.touch(now, id);
                continue;
            }
            self.by_use.remove(&(used, id));
            self.entries.remove(&id);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> Peer {
        Peer { id: NodeId::hash(&number.to_be_bytes()), addr: ([10, 0, 0, 1], 1 + number as u16).into() }
    }

    fn book() -> Book {
        Book::new(&Config::default())
    }

    #[test]
    fn hearsay_never_displaces_the_connected_the_pinned_or_a_proven_address() {
        let mut book = book();
        let now = Time::from_micros(1);
        book.connect(now, peer(0));
        book.hint(now, peer(1));
        book.pin([peer(1).id].into());
        book.hint(now, Peer { addr: peer(99).addr, ..peer(0) });
        for number in 2..5 * MAX_BOOK as u32 {
            book.hint(now + Duration::from_micros(u64::from(number)), peer(number));
        }
        assert_eq!(book.entries.len(), MAX_BOOK);
        assert_eq!(book.by_use.len(), MAX_BOOK);
        assert_eq!(book.peer(peer(0).id), Some(peer(0)));
        assert_eq!(book.peer(peer(1).id), Some(peer(1)));
        assert_eq!(book.peer(peer(2).id), None);
        assert!(book.peer(peer(5 * MAX_BOOK as u32 - 1).id).is_some());
    }

    #[test]
    fn a_doubted_address_can_be_corrected() {
        let mut book = book();
        book.connect(Time::ZERO, peer(0));
        book.disconnect(peer(0).id);
        book.doubt(peer(0).id);
        let moved = Peer { addr: peer(7).addr, ..peer(0) };
        book.hint(Time::ZERO, moved);
        assert_eq!(book.peer(moved.id), Some(moved));
        assert_eq!(book.connected_at(moved.addr), None);
        book.connect(Time::ZERO, moved);
        assert_eq!(book.connected_at(moved.addr), Some(moved));
    }

    #[test]
    fn a_timeout_follows_the_round_trips_within_its_bounds() {
        let mut book = book();
        let id = peer(0).id;
        assert_eq!(book.timeout(id), Duration::from_secs(2), "nothing is known");
        book.connect(Time::ZERO, peer(0));
        assert_eq!(book.timeout(id), Duration::from_secs(2));
        book.sample(id, Duration::from_millis(1));
        assert_eq!(book.timeout(id), Duration::from_millis(250));
        (0..50).for_each(|_| book.sample(id, Duration::from_millis(400)));
        let steady = book.timeout(id);
        assert!((400..500).contains(&steady.as_millis()), "{steady:?}");
        book.sample(id, Duration::from_millis(800));
        assert!(book.timeout(id) > Duration::from_millis(800));
        book.sample(id, Duration::from_secs(60));
        assert_eq!(book.timeout(id), Duration::from_secs(2));
    }

    #[test]
    fn a_timeout_doubles_until_there_is_a_sample() {
        let mut book = book();
        let id = peer(0).id;
        book.connect(Time::ZERO, peer(0));
        book.sample(id, Duration::from_millis(1));
        book.back_off(id);
        book.back_off(id);
        assert_eq!(book.backed_off_timeout(id), Duration::from_secs(1));
        assert_eq!(book.timeout(id), Duration::from_millis(250));
        (0..100).for_each(|_| book.back_off(id));
        assert_eq!(book.backed_off_timeout(id), Duration::from_secs(2));
        book.sample(id, Duration::from_millis(1));
        assert_eq!(book.backed_off_timeout(id), Duration::from_millis(250));
    }
}
