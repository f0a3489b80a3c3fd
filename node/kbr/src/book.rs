//! What this node knows of other nodes: where to dial them, and how long they take to answer.

use core::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use core::time::Duration;

use crate::config::Config;
use crate::id::NodeId;
use crate::message::Peer;
use crate::planted::Bug;
use crate::time::Time;

/// Nodes whose address is remembered: so many, and more for each connection that a node keeps. Its lists and links need a
/// fraction of that; the others are candidates for fingers, and ways back into a ring that has come apart.
const LEAST: usize = 128;
const FOR_CONNECTION: usize = 8;
/// Entries looked at, at most, to make room for one.
const MAX_EVICTION_STEPS: usize = 192;
/// How old the note of an entry's last use may become, so that a busy peer does not cost a note for each frame.
const USE_GRAIN: Duration = Duration::from_secs(1);
/// No entry.
const NONE: Place = Place::MAX;

/// Where an entry stands, for as long as it is there.
type Place = u16;

/// A peer's round-trip time, as in RFC 6298, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    mean: u64,
    deviation: u64,
}

/// An address in half of the room that [`SocketAddr`] takes.
#[derive(Debug, Clone)]
enum Addr {
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Addr {
        match addr {
            SocketAddr::V4(addr) => Addr::V4(addr),
            SocketAddr::V6(addr) => Addr::V6(Box::new(addr)),
        }
    }
}

/// What is known of a node at first hand.
#[derive(Debug, Clone, Default)]
struct Contact {
    /// Whether the address is one that a live connection of this peer has proven.
    proven: bool,
    /// Timeouts since the last sample: each doubles the next.
    backoff: u8,
    heard: Time,
    estimate: Option<Estimate>,
}

#[derive(Debug, Clone)]
struct Entry {
    id: NodeId,
    addr: Addr,
    /// The entries used before and after this one.
    older: Place,
    newer: Place,
    used: Time,
    /// Apart, as most nodes are known by hearsay alone.
    contact: Option<Box<Contact>>,
}

impl Entry {
    fn addr(&self) -> SocketAddr {
        match &self.addr {
            Addr::V4(addr) => SocketAddr::V4(*addr),
            Addr::V6(addr) => SocketAddr::V6(**addr),
        }
    }

    fn peer(&self) -> Peer {
        Peer { id: self.id, addr: self.addr() }
    }

    fn is_proven(&self) -> bool {
        self.contact.as_ref().is_some_and(|contact| contact.proven)
    }

    fn estimate(&self) -> Option<Estimate> {
        self.contact.as_ref()?.estimate
    }

    fn round_trip(&self) -> Option<Duration> {
        self.estimate().map(|estimate| Duration::from_nanos(estimate.mean))
    }
}

/// A bounded address book. Entries of connected and of pinned nodes stay; of the others, the least recently used goes.
///
/// It is most of what a node remembers and is asked at every turn. So entries stand in one piece, and a list by id and a
/// chain by use lead to them.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    entries: Vec<Entry>,
    /// In order of id. The first bits of the id save most looks at entries.
    by_id: Vec<(u32, Place)>,
    /// The ends of the chain in order of last use, and of id among those used at once.
    oldest: Place,
    newest: Place,
    /// In order of id. Those that most questions are about, so they are looked for here first.
    connected: Vec<(NodeId, Place)>,
    /// In order of id.
    pinned: Vec<NodeId>,
    connections: u64,
    /// Most entries.
    most: usize,
    timeout_min: Duration,
    timeout_max: Duration,
}

impl Book {
    pub(crate) fn new(config: &Config) -> Book {
        Book {
            entries: Vec::new(),
            by_id: Vec::new(),
            oldest: NONE,
            newest: NONE,
            connected: Vec::new(),
            pinned: Vec::new(),
            connections: 0,
            most: (LEAST + FOR_CONNECTION * config.connections).min(usize::from(NONE)),
            timeout_min: config.timeout_min,
            timeout_max: if config.has(Bug::FixedTimeout) { config.timeout_min } else { config.timeout_max },
        }
    }

    /// Remembers where a peer may be dialled, by hearsay. What a connection has proven is not overwritten.
    pub(crate) fn hint(&mut self, now: Time, peer: Peer) {
        let Some(place) = self.find(peer.id) else { return self.insert(now, peer) };
        let entry = &mut self.entries[usize::from(place)];
        if !entry.is_proven() {
            entry.addr = peer.addr.into();
        }
        self.touch(now, place);
    }

    /// Notes a connection, which proves the peer's address.
    pub(crate) fn connect(&mut self, now: Time, peer: Peer) {
        self.hint(now, peer);
        let Some(place) = self.find(peer.id) else { return };
        let entry = &mut self.entries[usize::from(place)];
        entry.addr = peer.addr.into();
        let contact = entry.contact.get_or_insert_default();
        contact.proven = true;
        contact.heard = now;
        if let Err(at) = self.search_connected(peer.id) {
            self.connected.insert(at, (peer.id, place));
            self.connections += 1;
        }
    }

    pub(crate) fn disconnect(&mut self, id: NodeId) {
        if let Ok(at) = self.search_connected(id) {
            self.connected.remove(at);
            self.connections += 1;
        }
    }

    /// How often a connection has come or gone.
    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    /// The peer may come back elsewhere: its address is hearsay from now on.
    pub(crate) fn doubt(&mut self, id: NodeId) {
        if let Some(contact) = self.contact_mut(id) {
            contact.proven = false;
        }
    }

    /// Notes a sign of life and gives the peer, where it is known.
    pub(crate) fn hear(&mut self, now: Time, id: NodeId) -> Option<Peer> {
        let place = self.find(id)?;
        let entry = &mut self.entries[usize::from(place)];
        entry.contact.get_or_insert_default().heard = now;
        let peer = entry.peer();
        if now.since(entry.used) > USE_GRAIN {
            self.touch(now, place);
        }
        Some(peer)
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<Peer> {
        self.entry(id).map(Entry::peer)
    }

    /// The connected peer at an address.
    pub(crate) fn connected_at(&self, addr: SocketAddr) -> Option<Peer> {
        let mut connected = self.connected.iter().map(|(_, place)| self.entries[usize::from(*place)].peer());
        connected.find(|peer| peer.addr == addr)
    }

    /// Whether someone who was connected, and not lost since, listens at this address.
    pub(crate) fn has_met(&self, addr: SocketAddr) -> bool {
        self.entries.iter().any(|entry| entry.is_proven() && entry.addr() == addr)
    }

    pub(crate) fn is_connected(&self, id: NodeId) -> bool {
        self.search_connected(id).is_ok()
    }

    pub(crate) fn heard(&self, id: NodeId) -> Option<Time> {
        self.entry(id).map(|entry| entry.contact.as_ref().map_or(Time::ZERO, |contact| contact.heard))
    }

    /// Connected peers first, then the others.
    pub(crate) fn all(&self) -> impl Iterator<Item = Peer> {
        let connected = self.connected.iter().map(|(_, place)| *place);
        let others = self.by_id.iter().map(|(_, place)| *place);
        let others = others.filter(|place| !self.is_connected(self.entries[usize::from(*place)].id));
        connected.chain(others).map(|place| self.entries[usize::from(place)].peer())
    }

    /// Entries of these nodes stay. The caller bounds their number far below that of entries.
    pub(crate) fn pin(&mut self, nodes: impl Iterator<Item = NodeId>) {
        self.pinned.clear();
        self.pinned.extend(nodes);
        self.pinned.sort_unstable();
        self.pinned.dedup();
    }

    /// A round trip measured here: RFC 6298, section 2.
    pub(crate) fn sample(&mut self, id: NodeId, rtt: Duration) {
        let (Some(contact), rtt) = (self.contact_mut(id), nanos(rtt)) else { return };
        contact.backoff = 0;
        contact.estimate = Some(match contact.estimate {
            None => Estimate { mean: rtt, deviation: rtt / 2 },
            Some(Estimate { mean, deviation }) => {
                Estimate { mean: (mean * 7 + rtt) / 8, deviation: (deviation * 3 + mean.abs_diff(rtt)) / 4 }
            }
        });
    }

    /// The transport's own estimate, which is smooth already.
    pub(crate) fn measured(&mut self, id: NodeId, rtt: Duration) {
        let (Some(contact), rtt) = (self.contact_mut(id), nanos(rtt)) else { return };
        let deviation = match contact.estimate {
            None => rtt / 2,
            Some(Estimate { mean, deviation }) => (deviation * 3 + mean.abs_diff(rtt)) / 4,
        };
        contact.estimate = Some(Estimate { mean: rtt, deviation });
    }

    /// A timeout: the next is twice as long, until there is a sample.
    pub(crate) fn back_off(&mut self, id: NodeId) {
        if let Some(contact) = self.contact_mut(id) {
            contact.backoff = (contact.backoff + 1).min(8);
        }
    }

    /// The retransmission timeout of a peer: mean and four deviations, within the configured bounds.
    pub(crate) fn timeout(&self, id: NodeId) -> Duration {
        self.timeout_of(self.entry(id))
    }

    /// The same, doubled for each timeout since the last sample.
    pub(crate) fn backed_off_timeout(&self, id: NodeId) -> Duration {
        let entry = self.entry(id);
        let backoff = entry.and_then(|entry| entry.contact.as_ref()).map_or(0, |contact| contact.backoff);
        (self.timeout_of(entry) * (1 << backoff)).min(self.timeout_max)
    }

    fn timeout_of(&self, entry: Option<&Entry>) -> Duration {
        let Some(Estimate { mean, deviation }) = entry.and_then(Entry::estimate) else {
            return self.timeout_max;
        };
        Duration::from_nanos(mean + deviation * 4).clamp(self.timeout_min, self.timeout_max)
    }

    pub(crate) fn round_trip(&self, id: NodeId) -> Option<Duration> {
        self.entry(id)?.round_trip()
    }

    /// The smoothed round-trip time of a peer, and whether it is connected.
    pub(crate) fn link(&self, id: NodeId) -> (Option<Duration>, bool) {
        match self.search_connected(id) {
            Ok(at) => (self.entries[usize::from(self.connected[at].1)].round_trip(), true),
            Err(_) => (self.round_trip(id), false),
        }
    }

    /// The smoothed round-trip times of connected peers, in order of id.
    pub(crate) fn round_trips(&self) -> Vec<(NodeId, Duration)> {
        let round_trip = |place: &Place| self.entries[usize::from(*place)].round_trip();
        self.connected.iter().filter_map(|(id, place)| Some((*id, round_trip(place)?))).collect()
    }

    /// Where a node stands in the list of connected ones, or would stand.
    fn search_connected(&self, id: NodeId) -> Result<usize, usize> {
        self.connected.binary_search_by(|(other, _)| other.cmp(&id))
    }

    /// Where a node stands in the list by id, or would stand.
    fn search(&self, id: NodeId) -> Result<usize, usize> {
        let head = head(id);
        let order = |(other, place): &(u32, Place)| {
            other.cmp(&head).then_with(|| self.entries[usize::from(*place)].id.cmp(&id))
        };
        self.by_id.binary_search_by(order)
    }

    fn find(&self, id: NodeId) -> Option<Place> {
        match self.search_connected(id) {
            Ok(at) => Some(self.connected[at].1),
            Err(_) => self.search(id).ok().map(|at| self.by_id[at].1),
        }
    }

    fn entry(&self, id: NodeId) -> Option<&Entry> {
        self.find(id).map(|place| &self.entries[usize::from(place)])
    }

    fn contact_mut(&mut self, id: NodeId) -> Option<&mut Contact> {
        self.find(id).map(|place| &mut **self.entries[usize::from(place)].contact.get_or_insert_default())
    }

    fn insert(&mut self, now: Time, peer: Peer) {
        let entry = Entry { id: peer.id, addr: peer.addr.into(), older: NONE, newer: NONE, used: now, contact: None };
        let place = if self.entries.len() < self.most {
            if self.entries.len() == self.entries.capacity() {
                self.grow();
            }
            self.entries.push(entry);
            (self.entries.len() - 1) as Place
        } else if let Some(place) = self.evict(now) {
            self.entries[usize::from(place)] = entry;
            place
        } else {
            return;
        };
        if let Err(at) = self.search(peer.id) {
            self.by_id.insert(at, (head(peer.id), place));
        }
        self.link_in(place);
    }

    /// Makes room as a vector does by itself, but for no more entries than there may be.
    fn grow(&mut self) {
        let more = self.entries.len().max(8).min(self.most - self.entries.len());
        self.entries.reserve_exact(more);
        self.by_id.reserve_exact(more + self.entries.len() - self.by_id.len());
    }

    fn touch(&mut self, now: Time, place: Place) {
        if self.entries[usize::from(place)].used != now {
            self.link_out(place);
            self.entries[usize::from(place)].used = now;
            self.link_in(place);
        }
    }

    /// Makes room for one; gives the place that is free then.
    fn evict(&mut self, now: Time) -> Option<Place> {
        for _ in 0..MAX_EVICTION_STEPS {
            let place = self.oldest;
            let Entry { id, used, .. } = *self.entries.get(usize::from(place))?;
            if self.is_connected(id) || self.pinned.binary_search(&id).is_ok() {
                if used == now {
                    return None;
                }
                self.touch(now, place);
                continue;
            }
            if let Ok(at) = self.search(id) {
                self.by_id.remove(at);
            }
            self.link_out(place);
            return Some(place);
        }
        None
    }

    /// Puts an entry into the chain by use. Its place is at the end, or a few before it.
    fn link_in(&mut self, place: Place) {
        let key = |entry: &Entry| (entry.used, entry.id);
        let own = key(&self.entries[usize::from(place)]);
        let (mut older, mut newer) = (self.newest, NONE);
        while let Some(entry) = self.entries.get(usize::from(older)).filter(|entry| key(entry) > own) {
            (older, newer) = (entry.older, older);
        }
        let entry = &mut self.entries[usize::from(place)];
        (entry.older, entry.newer) = (older, newer);
        self.join(older, place);
        self.join(place, newer);
    }

    fn link_out(&mut self, place: Place) {
        let Entry { older, newer, .. } = self.entries[usize::from(place)];
        self.join(older, newer);
    }

    /// Makes two entries follow each other in the chain by use.
    fn join(&mut self, older: Place, newer: Place) {
        match self.entries.get_mut(usize::from(older)) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(usize::from(newer)) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}

/// The first bits of an id.
fn head(id: NodeId) -> u32 {
    (id.high() >> 32) as u32
}

/// A round trip of centuries is none; the bound keeps sums of them from running over.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 16)
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
        let most = book.most as u32;
        let now = Time::from_micros(1);
        book.connect(now, peer(0));
        book.hint(now, peer(1));
        book.pin([peer(1).id].into_iter());
        book.hint(now, Peer { addr: peer(99).addr, ..peer(0) });
        for number in 2..5 * most {
            book.hint(now + Duration::from_micros(u64::from(number)), peer(number));
        }
        assert_eq!(book.entries.len(), book.most);
        assert_eq!(book.by_id.len(), book.most);
        assert_eq!(book.peer(peer(0).id), Some(peer(0)));
        assert_eq!(book.peer(peer(1).id), Some(peer(1)));
        assert_eq!(book.peer(peer(2).id), None);
        assert!(book.peer(peer(5 * most - 1).id).is_some());
    }

    #[test]
    fn a_copy_that_is_all_but_full_takes_in_the_last() {
        let mut book = book();
        let most = book.most as u32;
        (0..most - 3).for_each(|number| book.hint(Time::ZERO, peer(number)));
        let mut copy = book.clone();
        (most - 3..most).for_each(|number| copy.hint(Time::ZERO, peer(number)));
        assert_eq!((copy.entries.len(), copy.by_id.len()), (copy.most, copy.most));
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
