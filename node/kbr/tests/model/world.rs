//! One state of a small ring: the machines, what is under way between them, and the time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prost_kbr::{Config, Id, Input, Machine, Message, NodeId, Output, Peer, RingView, Time};

use crate::bug::{self, Bug};
use crate::events::{Delay, Event, Pending};
use crate::{invariant, signature};

/// How long everything takes where the schedule does not say otherwise: frames one way, and half of a handshake.
const LATENCY: Duration = Duration::from_millis(10);
/// The longest that a frame may take. A question and its answer fit twice into the shortest patience of a machine
/// (500 ms), so no live node is ever taken for dead: the perfect failure detection of Zave's model.
const LONGEST: Duration = Duration::from_millis(200);
/// How much later than asked for a machine may be woken: rounds of others may overtake its own.
const LATEST_WAKE: Duration = Duration::from_millis(400);
/// How long a dial to nobody takes to fail.
const DIAL_FAILS: Duration = Duration::from_millis(300);

/// A node, by its number.
pub(crate) type Place = usize;

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) peer: Peer,
    pub(crate) alive: bool,
    /// What its machine said last.
    pub(crate) view: Arc<RingView>,
    wanted: Option<Time>,
    /// Whether its next wake-up is held back.
    pub(crate) wake: Delay,
    /// Has been told to join.
    pub(crate) started: bool,
    unsent: BTreeMap<Place, Vec<Message>>,
    /// A hash of all that has happened to it. Its machine is a function of that.
    pub(crate) history: u64,
}

/// Cheap to clone: nodes are copied when they change.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) length: usize,
    /// How many nodes the ring had in the beginning.
    pub(crate) members: usize,
    /// The error that every machine makes.
    bug: Option<Bug>,
    pub(crate) nodes: Vec<Rc<Node>>,
    pub(crate) pending: Vec<Pending>,
    /// Who believes to have a connection to whom.
    connected: BTreeSet<(Place, Place)>,
    dialling: BTreeSet<(Place, Place)>,
    next: u64,
    /// Whose frame is being handled.
    speaker: Option<NodeId>,
    /// The first step that no machine may take.
    pub(crate) fault: Option<String>,
    /// What was found out about the lists of all nodes as they are now.
    pub(crate) known: Known,
    /// What has happened, as text, where wanted.
    pub(crate) log: Option<Vec<String>>,
}

/// Findings that hold until a list changes or a node dies.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub(crate) is_ideal: Option<bool>,
    pub(crate) may_fail: Option<Rc<[Place]>>,
}

/// A point at a fraction of the circle.
fn point(numerator: u64, denominator: u64) -> Id {
    let high = ((u128::from(numerator) << 64) / u128::from(denominator)) as u64;
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    Id::from_bytes(bytes)
}

fn address(place: Place) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, place as u8], 4000))
}

impl World {
    /// A ring of `members` with lists of `length`, ideal and calm, and nodes that have not joined yet: one for each
    /// of `joiners`, which names the point where it stands, in hundredths of the way from member to member.
    pub(crate) fn ring(length: usize, members: usize, joiners: &[u64], bug: Option<Bug>) -> World {
        let mut world = World {
            now: Time::from_micros(1_000_000),
            length,
            members,
            bug,
            nodes: Vec::new(),
            pending: Vec::new(),
            connected: BTreeSet::new(),
            dialling: BTreeSet::new(),
            next: 0,
            speaker: None,
            fault: None,
            known: Known::default(),
            log: None,
        };
        for place in 0..members as u64 {
            world.add(point(place * 100, members as u64 * 100));
        }
        for hundredths in joiners {
            world.add(point(*hundredths, members as u64 * 100));
        }
        for place in 0..members {
            world.join(place, if place == 0 { &[] } else { &[0] });
            world.run_for(Duration::from_millis(300));
        }
        world.run_for(Duration::from_secs(40));
        world
    }

    fn add(&mut self, id: Id) {
        let place = self.nodes.len();
        let peer = Peer { id, addr: address(place) };
        let config = Config {
            successors: self.length,
            predecessors: self.length,
            fall_over: self.length.min(2),
            // Lookups play no part in keeping the ring.
            connections: 0,
            ..Config::default()
        };
        let config = bug::plant(config, self.bug);
        let machine = Machine::new(peer, config, [place as u8 + 1; 32], self.now);
        self.nodes.push(Rc::new(Node {
            view: machine.view(),
            machine,
            peer,
            alive: true,
            wanted: None,
            wake: Delay::None,
            started: false,
            unsent: BTreeMap::new(),
            history: place as u64,
        }));
    }

    pub(crate) fn place(&self, id: NodeId) -> Place {
        self.nodes.iter().position(|node| node.peer.id == id).expect("a node of this world")
    }

    pub(crate) fn join(&mut self, place: Place, known: &[Place]) {
        let known: Vec<SocketAddr> = known.iter().map(|place| address(*place)).collect();
        self.node(place).started = true;
        self.input(place, Input::Join { known }, 0);
    }

    /// The process dies. Frames that it has sent still arrive. Each peer's transport notices after `notice`.
    pub(crate) fn fail(&mut self, place: Place, notice: Option<Duration>) {
        let node = self.node(place);
        node.alive = false;
        node.wake = Delay::None;
        self.known = Known::default();
        self.pending.retain(|pending| pending.node != place);
        let peers: Vec<Place> = (0..self.nodes.len()).filter(|peer| self.connected.contains(&(*peer, place))).collect();
        for peer in peers {
            if let Some(notice) = notice {
                self.schedule(peer, notice, Event::Notice { dead: place }, place as u64);
            }
        }
    }

    pub(crate) fn node(&mut self, place: Place) -> &mut Node {
        Rc::make_mut(&mut self.nodes[place])
    }

    /// Lets the next thing happen.
    pub(crate) fn step(&mut self) {
        let Some(due) = self.due() else { return };
        self.now = self.now.max(due.at);
        self.note(|world| format!("{} {}", world.clock(), world.describe(&due)));
        let node = due.node;
        match due.pending {
            None => self.wake(node),
            Some(at) => {
                let pending = self.pending.remove(at);
                match pending.event {
                    Event::Frame { from, message } => {
                        let from = self.nodes[from].peer.id;
                        self.speaker = Some(from);
                        self.input(node, Input::Received { from, message: *message }, pending.origin);
                        self.speaker = None;
                    }
                    Event::Notice { dead } => {
                        self.connected.remove(&(node, dead));
                        let id = self.nodes[dead].peer.id;
                        self.input(node, Input::Disconnected { id }, pending.origin);
                    }
                    Event::Connect { to, by_address } => self.connect(node, to, by_address, pending.origin),
                }
            }
        }
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.due().is_some_and(|due| due.at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// When a machine wants to be woken, and when it will be at the latest.
    pub(crate) fn wake_times(&self, place: Place) -> Option<(Time, Time)> {
        let node = &self.nodes[place];
        let at = node.wanted.filter(|_| node.alive)?;
        Some((at, at + LATEST_WAKE))
    }

    fn wake(&mut self, place: Place) {
        let now = self.now;
        let node = self.node(place);
        node.wake = Delay::None;
        node.machine.handle_timeout(now);
        node.history = signature::mix(node.history, now.as_micros());
        self.settle(place);
    }

    fn input(&mut self, place: Place, input: Input, origin: u64) {
        if !self.nodes[place].alive {
            return;
        }
        let now = self.now;
        let node = self.node(place);
        node.machine.handle(now, input);
        node.history = signature::mix(signature::mix(node.history, now.as_micros()), origin);
        self.settle(place);
    }

    /// After anything has happened to a node: does what it wants done, and lets go of what waited for this.
    fn settle(&mut self, place: Place) {
        let delays = self.pending.iter_mut().filter(|pending| pending.node == place).map(|pending| &mut pending.delay);
        for delay in delays.chain([&mut Rc::make_mut(&mut self.nodes[place]).wake]) {
            if *delay == Delay::Next {
                *delay = Delay::None;
            }
        }
        let mut count = 0;
        while let Some(output) = self.node(place).machine.poll_output() {
            count += 1;
            let origin = signature::mix(self.nodes[place].history, count);
            self.output(place, output, origin);
        }
        let node = self.node(place);
        node.wanted = node.machine.poll_timeout().map(|(at, _)| at);
        let view = node.machine.view();
        if !Arc::ptr_eq(&view, &node.view) {
            let before = std::mem::replace(&mut node.view, Arc::clone(&view));
            self.known = Known::default();
            if let Err(fault) = invariant::check_step(self, &before, &view, self.speaker) {
                self.fault.get_or_insert(fault);
            }
        }
    }

    fn output(&mut self, place: Place, output: Output, origin: u64) {
        match output {
            Output::Dial { addr } => {
                let to = (0..self.nodes.len()).find(|place| address(*place) == addr).expect("a node of this world");
                self.schedule(place, LATENCY * 2, Event::Connect { to, by_address: true }, origin);
            }
            Output::Send { to, message } => {
                let to = self.place(to.id);
                if self.connected.contains(&(place, to)) {
                    self.transmit(place, to, message, origin);
                } else {
                    self.node(place).unsent.entry(to).or_default().push(message);
                    self.dial(place, to, origin);
                }
            }
            Output::Keep(peers) => {
                for peer in peers {
                    let to = self.place(peer.id);
                    if !self.connected.contains(&(place, to)) {
                        self.dial(place, to, origin);
                    }
                }
            }
            _ => {}
        }
    }

    fn transmit(&mut self, from: Place, to: Place, message: Message, origin: u64) {
        if self.nodes[to].alive {
            self.schedule(to, LATENCY, Event::Frame { from, message: Box::new(message) }, origin);
        }
    }

    fn dial(&mut self, from: Place, to: Place, origin: u64) {
        if self.dialling.insert((from, to)) {
            let after = if self.nodes[to].alive { LATENCY * 2 } else { DIAL_FAILS };
            self.schedule(from, after, Event::Connect { to, by_address: false }, origin);
        }
    }

    fn connect(&mut self, from: Place, to: Place, by_address: bool, origin: u64) {
        if !by_address {
            self.dialling.remove(&(from, to));
        }
        let (one, other) = (self.nodes[from].peer, self.nodes[to].peer);
        if !self.nodes[to].alive {
            self.node(from).unsent.remove(&to);
            let failed = Input::DialFailed { addr: other.addr };
            let input = if by_address { failed } else { Input::Disconnected { id: other.id } };
            self.input(from, input, origin);
            return;
        }
        if self.connected.insert((from, to)) {
            self.connected.insert((to, from));
            let rtt = LATENCY * 2;
            self.input(to, Input::Connected { peer: one }, origin);
            self.input(to, Input::RoundTrip { id: one.id, rtt }, origin);
            self.input(from, Input::Connected { peer: other }, origin);
            self.input(from, Input::RoundTrip { id: other.id, rtt }, origin);
        } else if by_address {
            self.input(from, Input::Connected { peer: other }, origin);
        }
        for (count, message) in self.node(from).unsent.remove(&to).unwrap_or_default().into_iter().enumerate() {
            self.transmit(from, to, message, signature::mix(origin, count as u64));
        }
    }

    fn schedule(&mut self, node: Place, after: Duration, event: Event, origin: u64) {
        let at = self.now + after;
        let latest = at.max(self.now + LONGEST);
        self.pending.push(Pending { seq: self.next, node, at, latest, delay: Delay::None, event, origin });
        self.next += 1;
    }
}
