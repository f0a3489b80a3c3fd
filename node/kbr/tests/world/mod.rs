//! A few machines in one process: a virtual clock, connections, latency and crashes, all from one seed.

#![allow(dead_code, reason = "each test binary uses another part of it")]

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost_kbr::{
    Change, Config, Dispatch, Handling, Id, Input, Key, Machine, Message, MessageId, NodeId, Outcome, Output, Peer,
    RouteRequest, Routed, Time, Verdict, wire,
};

/// How long a dial to nobody takes to fail.
const DIAL_FAILS: Duration = Duration::from_millis(300);

/// What the network does.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Wake(NodeId),
    Input(NodeId, Input),
    /// A connection is made, if the peer is there.
    Connect {
        from: NodeId,
        to: SocketAddr,
        expected: Option<NodeId>,
    },
    /// A frame arrives, if the connection still exists.
    Frame {
        from: NodeId,
        to: NodeId,
        connection: u64,
        bytes: Bytes,
    },
}

/// What the layer above a machine has seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Forward { routed: Routed, next: NodeId },
    Deliver { routed: Routed, previous: NodeId },
    Ended(Outcome),
    Update(Change),
    Neighbours(u64, Option<(Vec<Peer>, Vec<Peer>)>),
    Upper(NodeId, Bytes),
    Joined,
    Left,
}

pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) peer: Peer,
    pub(crate) alive: bool,
    pub(crate) seen: Vec<(Time, Seen)>,
    /// What it answers to deliveries.
    pub(crate) handling: Handling,
    /// What it answers to messages of type 0; none to leave them unanswered.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) kept: Vec<Peer>,
    /// How often a connection was released.
    pub(crate) released: usize,
    wake: Option<Time>,
    unsent: BTreeMap<NodeId, Vec<Message>>,
    dialling: BTreeSet<NodeId>,
}

impl Node {
    pub(crate) fn ended(&self) -> Vec<&Outcome> {
        self.seen
            .iter()
            .filter_map(|(_, seen)| if let Seen::Ended(outcome) = seen { Some(outcome) } else { None })
            .collect()
    }

    pub(crate) fn changes(&self) -> Vec<&Change> {
        self.seen
            .iter()
            .filter_map(|(_, seen)| if let Seen::Update(change) = seen { Some(change) } else { None })
            .collect()
    }

    pub(crate) fn deliveries(&self) -> Vec<MessageId> {
        self.seen
            .iter()
            .filter_map(
                |(_, seen)| if let Seen::Deliver { routed, .. } = seen { Some(routed.envelope.id) } else { None },
            )
            .collect()
    }
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) config: Config,
    /// Checked after every event.
    pub(crate) check: Option<fn(&World)>,
    /// Every output of every machine, as text, where wanted.
    pub(crate) trace: Option<Vec<String>>,
    /// Frames between these are lost without notice.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    at: BTreeMap<SocketAddr, NodeId>,
    events: BTreeMap<(Time, u64), Event>,
    next_event: u64,
    connections: BTreeMap<(NodeId, NodeId), u64>,
    next_connection: u64,
    arrivals: BTreeMap<(NodeId, NodeId), Time>,
    random: u64,
    next_message: u64,
}

/// A point at a fraction of the circle.
pub(crate) fn point(numerator: u64, denominator: u64) -> Id {
    let high = ((u128::from(numerator) << 64) / u128::from(denominator)) as u64;
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    Id::from_bytes(bytes)
}

pub(crate) fn small_config() -> Config {
    Config { successors: 4, predecessors: 4, ..Config::default() }
}

impl World {
    pub(crate) fn new(seed: u64, config: Config) -> World {
        World {
            now: Time::from_micros(1_000_000),
            nodes: BTreeMap::new(),
            config,
            check: None,
            trace: None,
            cut: BTreeSet::new(),
            at: BTreeMap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            connections: BTreeMap::new(),
            next_connection: 0,
            arrivals: BTreeMap::new(),
            random: seed,
            next_message: 1,
        }
    }

    /// SplitMix64.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.random() % end
    }

    pub(crate) fn random_id(&mut self) -> Id {
        let mut bytes = [0; 20];
        for chunk in bytes.chunks_mut(8) {
            let random = self.random().to_be_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        Id::from_bytes(bytes)
    }

    /// A machine that has not joined yet.
    pub(crate) fn add(&mut self, id: Id) -> Peer {
        let number = self.at.len() as u16;
        let addr = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 4000));
        let peer = Peer { id, addr };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.random().to_be_bytes());
        let machine = Machine::new(peer, self.config.clone(), seed, self.now);
        let node = Node {
            machine,
            peer,
            alive: true,
            seen: Vec::new(),
            handling: Handling::Done,
            verdict: Some(Verdict::Pass),
            kept: Vec::new(),
            released: 0,
            wake: None,
            unsent: BTreeMap::new(),
            dialling: BTreeSet::new(),
        };
        assert!(self.nodes.insert(id, node).is_none(), "the id is taken");
        self.at.insert(addr, id);
        peer
    }

    pub(crate) fn join(&mut self, node: Peer, known: &[Peer]) {
        self.input(node.id, Input::Join { known: known.iter().map(|peer| peer.addr).collect() });
    }

    /// A ring of nodes at these points, joined one after the other, and settled.
    pub(crate) fn ring(seed: u64, config: Config, points: &[Id]) -> World {
        let mut world = World::new(seed, config);
        let peers: Vec<Peer> = points.iter().map(|id| world.add(*id)).collect();
        world.join(peers[0], &[]);
        for peer in &peers[1..] {
            world.join(*peer, &peers[..1]);
            world.run_for(Duration::from_millis(50));
        }
        world.settle(Duration::from_secs(120));
        world
    }

    /// A ring of nodes at random points.
    pub(crate) fn random_ring(seed: u64, config: Config, count: usize) -> World {
        let mut source = World::new(seed ^ 0x5eed, config.clone());
        let points: Vec<Id> = (0..count).map(|_| source.random_id()).collect();
        World::ring(seed, config, &points)
    }

    pub(crate) fn input(&mut self, node: NodeId, input: Input) {
        if !self.nodes[&node].alive {
            return;
        }
        let now = self.now;
        self.nodes.get_mut(&node).unwrap().machine.handle(now, input);
        self.drain(node);
    }

    pub(crate) fn at_time(&mut self, after: Duration, event: Event) {
        let key = (self.now + after, self.next_event);
        self.next_event += 1;
        self.events.insert(key, event);
    }

    /// One way, the same for a pair at all times: 2 to 30 ms.
    pub(crate) fn latency(&self, a: NodeId, b: NodeId) -> Duration {
        let (a, b) = (a.min(b), a.max(b));
        let mix = a
            .as_bytes()
            .iter()
            .chain(b.as_bytes())
            .fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        Duration::from_micros(2_000 + mix % 28_000)
    }

    /// The process dies. Its peers notice after `notice`, or not at all before they send something.
    pub(crate) fn crash(&mut self, id: NodeId, notice: Option<Duration>) {
        self.nodes.get_mut(&id).unwrap().alive = false;
        let peers: Vec<NodeId> = self
            .connections
            .keys()
            .filter(|(a, b)| *a == id || *b == id)
            .map(|(a, b)| if *a == id { *b } else { *a })
            .collect();
        if let Some(notice) = notice {
            for peer in peers {
                self.disconnect_later(peer, id, notice);
            }
        }
    }

    /// The connection is gone with all that is on it; whoever is to know is told by the caller.
    pub(crate) fn break_connection(&mut self, a: NodeId, b: NodeId) {
        self.connections.remove(&pair(a, b));
    }

    fn disconnect_later(&mut self, node: NodeId, from: NodeId, after: Duration) {
        self.connections.remove(&pair(node, from));
        self.at_time(after, Event::Input(node, Input::Disconnected { id: from }));
    }

    pub(crate) fn step(&mut self) -> bool {
        let Some(((time, _), event)) = self.events.pop_first() else { return false };
        self.now = time;
        match event {
            Event::Wake(id) => {
                let now = self.now;
                let node = self.nodes.get_mut(&id).unwrap();
                if node.wake == Some(now) {
                    node.wake = None;
                    if node.alive {
                        node.machine.handle_timeout(now);
                        self.drain(id);
                    }
                }
            }
            Event::Input(id, input) => self.input(id, input),
            Event::Connect { from, to, expected } => self.connect(from, to, expected),
            Event::Frame { from, to, connection, bytes } => {
                let live = self.connections.get(&pair(from, to)) == Some(&connection);
                if live && !self.cut.contains(&(from, to)) {
                    let length = wire::frame_length(&bytes).unwrap().unwrap();
                    assert_eq!(length, bytes.len() - 4, "the frame's length");
                    let message = wire::decode(bytes.slice(4..)).unwrap();
                    self.input(to, Input::Received { from, message });
                }
            }
        }
        if let Some(check) = self.check {
            check(self);
        }
        true
    }

    fn connect(&mut self, from: NodeId, to: SocketAddr, expected: Option<NodeId>) {
        let there = self.at.get(&to).copied().filter(|id| {
            self.nodes[id].alive && expected.is_none_or(|expected| expected == *id) && !self.cut.contains(&(from, *id))
        });
        if let Some(expected) = expected {
            self.nodes.get_mut(&from).unwrap().dialling.remove(&expected);
        }
        let Some(there) = there.filter(|_| self.nodes[&from].alive) else {
            let input = match expected {
                Some(id) => {
                    self.nodes.get_mut(&from).unwrap().unsent.remove(&id);
                    Input::Disconnected { id }
                }
                None => Input::DialFailed { addr: to },
            };
            self.input(from, input);
            return;
        };
        if there != from && !self.connections.contains_key(&pair(from, there)) {
            self.next_connection += 1;
            self.connections.insert(pair(from, there), self.next_connection);
            let (one, other) = (self.nodes[&from].peer, self.nodes[&there].peer);
            let rtt = self.latency(from, there) * 2;
            self.input(there, Input::Connected { peer: one });
            self.input(there, Input::RoundTrip { id: from, rtt });
            self.input(from, Input::Connected { peer: other });
            self.input(from, Input::RoundTrip { id: there, rtt });
        } else if expected.is_none() && there != from {
            let peer = self.nodes[&there].peer;
            self.input(from, Input::Connected { peer });
        }
        for message in self.nodes.get_mut(&from).unwrap().unsent.remove(&there).unwrap_or_default() {
            self.transmit(from, there, &message);
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, message: &Message) {
        let mut frame = BytesMut::new();
        let payload = wire::encode(message, &mut frame);
        frame.extend_from_slice(&payload.unwrap_or_default());
        let connection = self.connections[&pair(from, to)];
        let arrival =
            (self.now + self.latency(from, to)).max(self.arrivals.get(&(from, to)).copied().unwrap_or_default());
        self.arrivals.insert((from, to), arrival);
        let after = arrival.since(self.now);
        self.at_time(after, Event::Frame { from, to, connection, bytes: frame.freeze() });
    }

    fn dial(&mut self, from: NodeId, to: Peer) {
        if self.nodes.get_mut(&from).unwrap().dialling.insert(to.id) {
            let there = self.at.get(&to.addr).is_some_and(|id| self.nodes[id].alive);
            let after = if there { self.latency(from, to.id) * 2 } else { DIAL_FAILS };
            self.at_time(after, Event::Connect { from, to: to.addr, expected: Some(to.id) });
        }
    }

    fn drain(&mut self, id: NodeId) {
        while let Some(output) = self.nodes.get_mut(&id).unwrap().machine.poll_output() {
            let now = self.now;
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{now:?} {id:?} {output:?}"));
            }
            self.handle_output(id, output);
        }
        let node = self.nodes.get_mut(&id).unwrap();
        if let Some((at, _)) = node.machine.poll_timeout() {
            let at = at.max(self.now);
            if node.wake.is_none_or(|wake| wake > at) {
                node.wake = Some(at);
                let after = at.since(self.now);
                self.at_time(after, Event::Wake(id));
            }
        }
    }

    fn handle_output(&mut self, id: NodeId, output: Output) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        let seen = match output {
            Output::Dial { addr } => {
                self.at_time(Duration::from_millis(20), Event::Connect { from: id, to: addr, expected: None });
                return;
            }
            Output::Send { to, message } => {
                assert_ne!(to.id, id, "a node does not send to itself: {message:?}");
                if self.connections.contains_key(&pair(id, to.id)) {
                    self.transmit(id, to.id, &message);
                } else {
                    node.unsent.entry(to.id).or_default().push(message);
                    self.dial(id, to);
                }
                return;
            }
            Output::Release(peer) => {
                let view = node.machine.view();
                let mut pointing = view.backpointers.iter().chain(&node.kept);
                assert!(pointing.all(|needed| needed.id != peer), "{peer:?} is still needed");
                node.released += 1;
                return;
            }
            Output::Keep(peers) => {
                node.kept.clone_from(&peers);
                for peer in peers {
                    if !self.connections.contains_key(&pair(id, peer.id)) {
                        self.dial(id, peer);
                    }
                }
                return;
            }
            Output::Forward { routed, next, .. } => {
                let (origin, message) = (routed.envelope.origin.id, routed.envelope.id);
                if let Some(verdict) = node.verdict.clone() {
                    self.at_time(Duration::ZERO, Event::Input(id, Input::Verdict { origin, id: message, verdict }));
                }
                Seen::Forward { routed, next }
            }
            Output::Deliver { routed, previous } => {
                let (origin, message) = (routed.envelope.origin.id, routed.envelope.id);
                let handling = node.handling.clone();
                self.at_time(Duration::ZERO, Event::Input(id, Input::Handled { origin, id: message, handling }));
                Seen::Deliver { routed, previous: previous.id }
            }
            Output::Ended(outcome) => Seen::Ended(outcome),
            Output::Update(change) => Seen::Update(change),
            Output::Neighbours { request, neighbours } => Seen::Neighbours(request, neighbours),
            Output::Joined => Seen::Joined,
            Output::Left => Seen::Left,
            Output::Upper { from, payload } => Seen::Upper(from.id, payload),
        };
        self.nodes.get_mut(&id).unwrap().seen.push((now, seen));
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.events.first_key_value().is_some_and(|((time, _), _)| *time <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Runs until `done`; says whether that came in time.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.now >= end || !self.step() {
                return done(self);
            }
        }
        true
    }

    /// Runs until the ring is ideal, and fails where it does not become so.
    pub(crate) fn settle(&mut self, limit: Duration) {
        let end = self.now + limit;
        while !self.flaws().is_empty() {
            assert!(self.now < end, "at {:?} the ring still has flaws:\n{}", self.now, self.flaws().join("\n"));
            self.run_for(Duration::from_millis(20));
        }
    }

    pub(crate) fn route(&mut self, from: NodeId, key: Key, dispatch: Dispatch) -> MessageId {
        self.request(from, Some(key), None, dispatch, None)
    }

    pub(crate) fn request(
        &mut self,
        from: NodeId,
        key: Option<Key>,
        hint: Option<NodeId>,
        dispatch: Dispatch,
        deadline: Option<Duration>,
    ) -> MessageId {
        let id = self.next_message;
        self.next_message += 1;
        let (header, payload) = (Bytes::from_static(b"header"), Bytes::from_static(b"payload"));
        self.input(from, Input::Route(RouteRequest { id, key, dispatch, header, payload, hint, deadline }));
        id
    }

    pub(crate) fn lookup(&mut self, from: NodeId, key: Key) -> MessageId {
        let id = self.next_message;
        self.next_message += 1;
        self.input(from, Input::Lookup { id, key, replicas: 0 });
        id
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
