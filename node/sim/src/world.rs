//! Nodes, and what happens to them, in virtual time.

mod act;
mod acts;
mod apps;
mod clock;
mod clone;
mod deceit;
mod dial;
mod drive;
mod half;
mod host;
mod link;
mod path;
mod queue;
mod store;
#[cfg(test)]
mod tests;
mod transmit;
mod web;

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use bytes::BytesMut;
use prost_kbr::{Key, Message, NodeId, Peer, RingState, Time};
use prost_manager::Node;
use prost_package::Policy;

use crate::random::Random;
use crate::trace::Trace;
use crate::{Latency, Network};
use apps::Shared;
use host::{Host, Recent};
use queue::{Event, Queue};

pub use act::{Act, Route, Seen};
pub use deceit::Deceit;

/// A node's number: its place in the order of [`World::spawn`], never given twice.
pub type Index = u32;

/// What a world starts with.
#[derive(Debug, Clone)]
pub struct WorldConfig {
    /// Decides everything that happens.
    pub seed: u64,
    /// The settings of each node's routing layer.
    pub routing: prost_kbr::Config,
    /// How far nodes are from each other.
    pub latency: Arc<dyn Latency>,
    /// The conditions of the network at the start.
    pub network: Network,
    /// How many of a node's last inputs are kept, to be shown when a rule is broken; 0 for none.
    pub remember: usize,
}

/// Bytes that a node has sent: the frames themselves, and what UDP, IP and QUIC add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Ring maintenance: control frames, acknowledgements of QUIC for them, and all headers.
    pub maintenance: u64,
    /// Routed messages and their outcomes, with hop acknowledgements and headers.
    pub messages: u64,
    /// Handshakes of new connections.
    pub handshakes: u64,
}

/// Whoever watches frames: when, from, to, and the frame.
pub type Observer = Box<dyn FnMut(Time, Index, Index, &Message) + Send>;

/// All nodes, their network, and a clock.
pub struct World {
    config: WorldConfig,
    now: Time,
    hosts: Vec<Host>,
    ids: BTreeMap<NodeId, Index>,
    members: BTreeMap<NodeId, Index>,
    /// Byzantine nodes.
    liars: BTreeMap<Index, Deceit>,
    /// Processes with another's key, and that other.
    clones: BTreeMap<Index, Index>,
    /// Connections of which one side alone is left.
    half_open: BTreeSet<u64>,
    queue: Queue,
    random: Random,
    network: Network,
    policy: Arc<Policy>,
    /// Who runs applications; none where no node runs any.
    shared: Option<Box<Shared>>,
    trace: Trace,
    observer: Option<Observer>,
    seen: Vec<Seen>,
    changed: Vec<Index>,
    events: u64,
    /// Numbers of dials, and of the connections that they become, and of frames.
    dials: u64,
    sent: u64,
    /// The frame that is being encoded.
    scratch: BytesMut,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("nodes", &self.hosts.len()).finish_non_exhaustive()
    }
}

impl World {
    /// A world without nodes, at [`Time::ZERO`] plus one second.
    pub fn new(config: WorldConfig) -> World {
        World {
            now: Time::from_micros(1_000_000),
            hosts: Vec::new(),
            ids: BTreeMap::new(),
            members: BTreeMap::new(),
            liars: BTreeMap::new(),
            clones: BTreeMap::new(),
            half_open: BTreeSet::new(),
            queue: Queue::default(),
            random: Random::new(config.seed),
            network: config.network.clone(),
            policy: Arc::new(Policy::default_only(false)),
            shared: None,
            trace: Trace::new(config.seed),
            observer: None,
            seen: Vec::new(),
            changed: Vec::new(),
            events: 0,
            dials: 0,
            sent: 0,
            scratch: BytesMut::new(),
            config,
        }
    }

    /// Makes room for a node that [`Act::Start`] starts: its number, with an id drawn from the seed.
    pub fn spawn(&mut self) -> Index {
        let name = [self.config.seed.to_be_bytes(), u64::from(self.count()).to_be_bytes()].concat();
        self.spawn_with(NodeId::hash(&name))
    }

    /// The same with an id that the caller chooses. Where the id is taken: the number of the node that has it.
    pub fn spawn_with(&mut self, id: NodeId) -> Index {
        let number = self.count();
        let taken = *self.ids.entry(id).or_insert(number);
        if taken == number {
            self.hosts.push(Host::new(number, id, self.now));
        }
        taken
    }

    /// Does this now. What makes no sense does nothing: the crash of a dead node, the start of a live one, anything to a
    /// node that was not spawned. What a node is told reaches it with the next step.
    pub fn act(&mut self, act: Act) {
        self.perform(act);
    }

    /// Does this later. Acts at the same time happen in the order in which they were given; a time that has passed is now.
    pub fn act_at(&mut self, at: Time, act: Act) {
        let slot = self.queue.acts.put(act);
        self.queue.push(at.max(self.now), Event::Act { slot });
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Handles the next event, if it is due at `until` or before; else the time becomes `until`. Says whether there was one.
    pub fn step(&mut self, until: Time) -> bool {
        let Some((at, event)) = self.queue.pop(until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(at);
        self.events += 1;
        if let Some(node) = event.node() {
            let waits = self
                .hosts
                .get(node as usize)
                .is_some_and(|host| host.is_alive() && (host.ready_at() > self.now || !host.backlog.is_empty()));
            if waits {
                self.postpone(node, event);
                return true;
            }
        }
        self.happen(event);
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { node, at } => {
                if self.hosts[node as usize].wake == Some(at) {
                    self.wake(node);
                }
            }
            Event::Frame { node, slot } => self.on_frame(node, slot),
            Event::Idle { node, peer, connection } => self.on_idle(node, peer, connection),
            Event::Released { node, peer, connection } => self.on_released(node, peer, connection),
            Event::Closed { node, peer, connection } => self.lost(node, peer, connection),
            Event::Dial { node, peer, dial, stage } => self.on_dial(node, peer, dial, stage),
            Event::Told { node, slot } => self.on_told(node, slot),
            Event::Resume { node, at } => self.resume(node, at),
            Event::Act { slot } => {
                if let Some(act) = self.queue.acts.take(slot) {
                    self.perform(act);
                }
            }
        }
    }

    /// Takes what has been seen since the last call, in order.
    pub fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// Takes the nodes whose membership, liveness or lists have changed since the last call, in rising order.
    pub fn changed(&mut self) -> Vec<Index> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.iter().for_each(|node| self.hosts[*node as usize].changed = false);
        changed
    }

    /// How many numbers have been given.
    pub fn count(&self) -> u32 {
        u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    fn host(&self, node: Index) -> Option<&Host> {
        self.hosts.get(node as usize)
    }

    /// The node's id and address.
    ///
    /// # Panics
    ///
    /// On a number that was not given by [`World::spawn`].
    pub fn peer(&self, node: Index) -> Peer {
        self.hosts[node as usize].peer
    }

    /// The node with this id.
    pub fn index(&self, id: NodeId) -> Option<Index> {
        self.ids.get(&id).copied()
    }

    /// Whether its process runs (also while it is paused).
    pub fn is_alive(&self, node: Index) -> bool {
        self.host(node).is_some_and(Host::is_alive)
    }

    /// Whether its process stands still.
    pub fn is_paused(&self, node: Index) -> bool {
        self.host(node).is_some_and(|host| host.is_alive() && host.paused_until > self.now)
    }

    /// How far it has come; none where its process does not run.
    pub fn state(&self, node: Index) -> Option<RingState> {
        self.node(node).map(|node| node.ring().ring_state())
    }

    /// The machine; none where its process does not run.
    pub fn node(&self, node: Index) -> Option<&Node> {
        self.host(node)?.node.as_deref()
    }

    /// Whether these two have an open connection, as `a` sees it.
    pub fn connected(&self, a: Index, b: Index) -> bool {
        self.host(a).and_then(|host| host.halves.get(b)).is_some_and(|half| half.live.is_some())
    }

    /// Whether these two ever had a connection in this life of `a`: what `a` may know of `b`'s id for certain.
    pub fn has_met(&self, a: Index, b: Index) -> bool {
        let met = |b: Index| self.host(a).is_some_and(|host| host.met.binary_search(&b).is_ok());
        met(b) || self.twin(b).is_some_and(met)
    }

    /// Open connections of a node.
    pub fn connections(&self, node: Index) -> usize {
        self.host(node).map_or(0, |host| host.live as usize)
    }

    /// What a node has sent so far, over all of its lives. Nothing for a number that was not given.
    pub fn traffic(&self, node: Index) -> Traffic {
        let Some(host) = self.host(node) else { return Traffic::default() };
        let mut traffic = host.traffic;
        for live in host.halves.iter().filter_map(|half| half.live.as_ref()) {
            traffic.acknowledge(live.debt.overdue(self.now));
        }
        traffic
    }

    /// The conditions of the network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The node's last inputs, oldest first, as text, where [`WorldConfig::remember`] asked for them.
    pub fn recent(&self, node: Index) -> Vec<String> {
        let line = |(at, recent): &(Time, Recent)| {
            let (s, us) = (at.as_micros() / 1_000_000, at.as_micros() % 1_000_000);
            format!("{s}.{us:06} {recent}")
        };
        self.host(node).map(|host| host.recent.iter().map(line).collect()).unwrap_or_default()
    }

    /// Calls this for every frame that a node hands to the network: when, from, to, and the frame.
    pub fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// Writes a line for each input of each node from now on.
    pub fn trace_to(&mut self, to: Box<dyn Write + Send>) {
        self.trace.write_to(to);
    }

    /// Events handled so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The hash of everything that has happened: times, nodes, and each frame's bytes.
    pub fn trace_hash(&self) -> [u8; 32] {
        self.trace.hash()
    }

    /// Members, by the omniscient view: each live node that is in a ring, in order of id. Clones are not among them.
    pub fn members(&self) -> &BTreeMap<NodeId, Index> {
        &self.members
    }

    /// The node responsible for a key, by the omniscient view: the first live member at or after it.
    pub fn owner(&self, key: Key) -> Option<Index> {
        self.members.range(key..).next().or_else(|| self.members.first_key_value()).map(|(_, node)| *node)
    }
}
