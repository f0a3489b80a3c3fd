//! One node of the world: its process, what its kernel holds, and what is known of it.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use prost_kbr::{NodeId, Peer, RingView, Time, TimerKind};
use prost_manager::{Input, Node};

use super::apps::Apps;
use super::clock::Clock;
use super::half::Half;
use super::queue::Event;
use super::{Index, Traffic};

/// Most events that wait for a node that stands still: what comes then is lost, as from a full socket buffer.
pub(super) const MAX_BACKLOG: usize = 65_536;
/// The port of the first 2^24 nodes.
const PORT: u16 = 4000;
/// Halves above which spent ones are looked for.
const SWEEP: usize = 64;

/// One of a node's last inputs.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are inputs")]
pub(super) enum Recent {
    Input(Input),
    Woken(Option<TimerKind>),
}

impl fmt::Display for Recent {
    /// A package is named, and its component left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recent::Input(Input::Ring(input)) => write!(f, "{input:?}"),
            Recent::Input(Input::Install { request, package }) => {
                let manifest = package.manifest.manifest();
                write!(f, "Install {{ request: {request}, package: {} {} }}", manifest.name, manifest.version)
            }
            Recent::Input(Input::Restore(package)) => {
                let manifest = package.manifest.manifest();
                write!(f, "Restore({} {})", manifest.name, manifest.version)
            }
            Recent::Input(input) => write!(f, "{input:?}"),
            Recent::Woken(kind) => write!(f, "Woken({kind:?})"),
        }
    }
}

/// A dial to whoever is at an address.
#[derive(Debug)]
pub(super) struct AddrDial {
    pub(super) number: u64,
    pub(super) addr: SocketAddr,
    /// Whether it has one of the node's places for handshakes.
    pub(super) seated: bool,
    /// Until when it waits for the other connection that it yielded to.
    pub(super) yielded: Option<Time>,
}

/// One node.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) peer: Peer,
    /// Counts its processes.
    pub(super) life: u32,
    pub(super) node: Option<Box<Node>>,
    pub(super) clock: Clock,
    /// The wake-up that counts.
    pub(super) wake: Option<Time>,
    pub(super) halves: Halves,
    /// Whom this process was ever connected to, in order.
    pub(super) met: Vec<Index>,
    /// Connections that are open.
    pub(super) live: u32,
    /// Its dials by address.
    pub(super) addr_dials: Vec<AddrDial>,
    /// Handshakes of its own under way, and dials that wait for their turn.
    pub(super) shaking: usize,
    pub(super) waiting: VecDeque<(Index, u64)>,
    /// Its uplink is busy until then.
    pub(super) uplink: Time,
    pub(super) paused_until: Time,
    pub(super) busy_until: Time,
    /// How long an event takes it, in microseconds.
    pub(super) each_us: u64,
    /// What it has not come to yet.
    pub(super) backlog: VecDeque<Event>,
    /// When it goes on with that.
    pub(super) resume: Option<Time>,
    pub(super) traffic: Traffic,
    pub(super) recent: VecDeque<(Time, Recent)>,
    /// The view seen last.
    pub(super) view: Option<Arc<RingView>>,
    /// Whether it stands in the list of those that have changed.
    pub(super) changed: bool,
    /// Its applications and its disk; none in a world without applications.
    pub(super) apps: Option<Box<Apps>>,
}

impl Host {
    pub(super) fn new(number: Index, id: NodeId, now: Time) -> Host {
        Host {
            peer: Peer { id, addr: address(number) },
            life: 0,
            node: None,
            clock: Clock::new(now),
            wake: None,
            halves: Halves::default(),
            met: Vec::new(),
            live: 0,
            addr_dials: Vec::new(),
            shaking: 0,
            waiting: VecDeque::new(),
            uplink: Time::ZERO,
            paused_until: Time::ZERO,
            busy_until: Time::ZERO,
            each_us: 0,
            backlog: VecDeque::new(),
            resume: None,
            traffic: Traffic::default(),
            recent: VecDeque::new(),
            view: None,
            changed: false,
            apps: None,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.node.is_some()
    }

    /// When it can handle an event that is there now.
    pub(super) fn ready_at(&self) -> Time {
        self.paused_until.max(self.busy_until)
    }

    /// Notes that it was connected to this one.
    pub(super) fn meet(&mut self, peer: Index) {
        if let Err(at) = self.met.binary_search(&peer) {
            self.met.insert(at, peer);
        }
    }

    /// Forgets what died with its process; gives the events that it had not come to.
    pub(super) fn die(&mut self) -> VecDeque<Event> {
        self.node = None;
        self.wake = None;
        self.halves = Halves::default();
        self.met = Vec::new();
        self.live = 0;
        self.addr_dials = Vec::new();
        self.shaking = 0;
        self.waiting = VecDeque::new();
        self.uplink = Time::ZERO;
        (self.paused_until, self.busy_until) = (Time::ZERO, Time::ZERO);
        self.resume = None;
        self.view = None;
        std::mem::take(&mut self.backlog)
    }
}

/// Where a node listens: 10.x.y.z from the low 24 bits of its number, the port from the rest.
pub(super) fn address(number: Index) -> SocketAddr {
    let [high, x, y, z] = number.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, x, y, z)), PORT + u16::from(high))
}

/// The number of the node that would listen there.
pub(super) fn number_at(addr: SocketAddr) -> Option<Index> {
    let IpAddr::V4(ip) = addr.ip() else { return None };
    let [ten, x, y, z] = ip.octets();
    let high = u8::try_from(addr.port().checked_sub(PORT)?).ok()?;
    (ten == 10).then(|| Index::from_be_bytes([high, x, y, z]))
}

/// A node's halves, by peer. The keys stand apart: a search touches two or three cache lines.
#[derive(Debug, Default)]
pub(super) struct Halves {
    peers: Vec<Index>,
    halves: Vec<Half>,
    sweep_at: usize,
}

impl Halves {
    fn find(&self, peer: Index) -> Result<usize, usize> {
        self.peers.binary_search(&peer)
    }

    pub(super) fn get(&self, peer: Index) -> Option<&Half> {
        self.find(peer).ok().map(|at| &self.halves[at])
    }

    pub(super) fn get_mut(&mut self, peer: Index) -> Option<&mut Half> {
        self.find(peer).ok().map(|at| &mut self.halves[at])
    }

    /// The half for a peer, made where there is none.
    pub(super) fn entry(&mut self, peer: Index, now: Time) -> &mut Half {
        let at = match self.find(peer) {
            // What is spent is as good as forgotten: the daemon looks once a second.
            Ok(at) => {
                if self.halves[at].is_spent(now) {
                    self.halves[at].failures = 0;
                }
                at
            }
            Err(_) => {
                self.sweep(now);
                let at = self.peers.partition_point(|known| *known < peer);
                self.peers.insert(at, peer);
                self.halves.insert(at, Half::new(peer, now));
                at
            }
        };
        &mut self.halves[at]
    }

    pub(super) fn remove(&mut self, peer: Index) {
        if let Ok(at) = self.find(peer) {
            self.peers.remove(at);
            self.halves.remove(at);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Half> {
        self.halves.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Half> {
        self.halves.iter_mut()
    }

    /// How many peers the transport knows something of.
    pub(super) fn count(&self, now: Time) -> usize {
        self.halves.iter().filter(|half| !half.is_spent(now)).count()
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    fn sweep(&mut self, now: Time) {
        if self.peers.len() >= self.sweep_at.max(SWEEP) {
            self.halves.retain(|half| !half.is_spent(now));
            self.peers = self.halves.iter().map(|half| half.peer).collect();
            self.sweep_at = 2 * self.peers.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_back_to_its_node() {
        for number in [0, 1, 255, 256, 65_536, 0x00ff_ffff, 0x0100_0000, 0x0312_3456] {
            assert_eq!(number_at(address(number)), Some(number));
        }
        assert_eq!(number_at("11.0.0.1:4000".parse().unwrap()), None);
        assert_eq!(number_at("10.0.0.1:3999".parse().unwrap()), None);
        assert_eq!(number_at("[::1]:4000".parse().unwrap()), None);
    }

    #[test]
    fn halves_stay_in_order_and_spent_ones_are_swept() {
        let (now, mut halves) = (Time::from_micros(5), Halves::default());
        for peer in (0..200).rev() {
            halves.entry(peer, now).wanted = peer < 3;
        }
        assert!(halves.iter().map(|half| half.peer).is_sorted());
        assert!((0..3).all(|peer| halves.get(peer).is_some()));
        assert!(halves.len() <= SWEEP + 1, "{}", halves.len());
    }
}
