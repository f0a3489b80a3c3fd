//! A peerlet on a ring, for its tests: the real node (routing, manager, keyed records) in the simulator's virtual time and
//! network, and the peerlet natively, as the Rust type that it is. No sandbox, no fuel: what those do to a component is
//! the business of `prost peerlet test`.
//!
//! ```
//! use std::time::Duration;
//! use prost_peerlet::{Peerlet, Request, Result, client};
//! use prost_peerlet_ring::{Ring, Setup};
//!
//! #[derive(Default)]
//! struct Greeter;
//!
//! impl Peerlet for Greeter {
//!     fn serve(&mut self, request: Request) -> Result {
//!         client::respond(request.id, Ok(b"hello"))?;
//!         Ok(())
//!     }
//! }
//!
//! let mut ring = Ring::<Greeter>::grow(Setup { nodes: 8, ..Setup::new("greeter") });
//! let node = ring.members()[3];
//! assert_eq!(ring.ask(node, "greet", b""), Ok(b"hello".to_vec()));
//! ring.crash(node);
//! ring.run(Duration::from_secs(30));
//! assert_eq!(ring.members().len(), 7);
//! ```

mod convert;
mod host;
mod native;
mod setup;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prost_contract::Place;
use prost_kbr::{AppId, Time};
use prost_package::Package;
use prost_peerlet::{Id, Key, NodeId, Peerlet};
use prost_sim::random::Random;
use prost_sim::{Act, Applications, Network, Seen, World, WorldConfig};

pub use prost_sim::{Index, Traffic};
pub use setup::{Latency, Setup};

use convert::{id, ring_id};
use native::{Instances, Native};

/// How often a growing ring lets nodes in, and how long a ring may take to become ideal.
const TICK: Duration = Duration::from_millis(250);
const SETTLE: Duration = Duration::from_secs(600);
/// Longer than a node gives a call.
const CALL: Duration = Duration::from_secs(35);
const SECOND: Duration = Duration::from_secs(1);

/// A call under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// When it came, on the ring's clock.
    pub at: Duration,
    /// What the application said, or why nothing came.
    pub outcome: Result<Vec<u8>, String>,
}

/// Nodes in virtual time that all run one peerlet.
pub struct Ring<P> {
    world: World,
    setup: Setup,
    package: Package,
    latency: Arc<dyn prost_sim::Latency>,
    random: Random,
    instances: Instances<P>,
    calls: u64,
    answers: BTreeMap<u64, Answer>,
    problems: Arc<native::Problems>,
}

impl<P: Peerlet + Default + Send + 'static> Ring<P> {
    /// A ring of so many nodes, ideal and at rest, with the peerlet installed on all of them, or on the first.
    ///
    /// # Panics
    ///
    /// Where the ring does not become ideal, or a node will not run the peerlet.
    pub fn grow(setup: Setup) -> Ring<P> {
        let latency = setup.latency.model(setup.seed);
        let mut world = World::new(WorldConfig {
            seed: setup.seed,
            routing: setup.routing.clone(),
            latency: latency.clone(),
            network: Network::default(),
            remember: 0,
        });
        let (instances, problems) = (Instances::default(), Arc::default());
        let runtime = Native::<P>::new(instances.clone(), Arc::clone(&problems));
        world.host_apps(Applications { content_bytes: 0, ..Applications::new(Box::new(runtime)) });
        let mut ring = Ring {
            world,
            package: setup.package(),
            latency,
            random: Random::new(setup.seed ^ 0x7265_6e67),
            instances,
            calls: 0,
            answers: BTreeMap::new(),
            problems,
            setup,
        };
        ring.start_all();
        ring.settle();
        ring.run(ring.setup.rest);
        let first = ring.members()[0];
        let nodes = if ring.setup.everywhere { ring.members() } else { vec![first] };
        for node in nodes {
            ring.install(node);
        }
        ring.run(SECOND * 2);
        ring
    }

    /// Lets nodes in as fast as the ring takes them up.
    fn start_all(&mut self) {
        let mut started = 0;
        while self.world.members().len() < self.setup.nodes as usize {
            let members = self.world.members().len();
            let joining = started as usize - members;
            let room = (members / 8).max(4).saturating_sub(joining).min((members / 32).max(1));
            for _ in 0..room.min((self.setup.nodes - started) as usize) {
                let node = self.world.spawn();
                self.start(node);
                started += 1;
                if started == 1 {
                    break;
                }
            }
            self.run(TICK);
            assert!(self.now() < SETTLE * 2, "the ring does not grow: {members} members");
        }
    }

    fn start(&mut self, node: Index) {
        let known = self.some_members(3, node);
        self.world.act(Act::Start { node, known });
    }

    fn some_members(&mut self, count: usize, but: Index) -> Vec<Index> {
        let members: Vec<Index> = self.members().into_iter().filter(|node| *node != but).collect();
        (0..count).filter_map(|_| self.random.pick(&members).copied()).collect()
    }

    /// Time passes until the ring is ideal: every live node is a member and knows its true neighbours.
    ///
    /// # Panics
    ///
    /// Where it does not become so within ten minutes.
    pub fn settle(&mut self) {
        let end = self.now() + SETTLE;
        while !self.is_ideal() {
            assert!(self.now() < end, "the ring does not become ideal");
            self.run(SECOND);
        }
    }

    /// Whether every live node is a member, and each knows its true successors and its predecessor.
    pub fn is_ideal(&self) -> bool {
        let members: Vec<(prost_kbr::NodeId, Index)> =
            self.world.members().iter().map(|(id, node)| (*id, *node)).collect();
        let alive = (0..self.world.count()).filter(|node| self.world.is_alive(*node)).count();
        let count = members.len();
        let length = self.setup.routing.successors.min(count.saturating_sub(1));
        let knows = |at: usize| {
            let Some(node) = self.world.node(members[at].1) else { return false };
            let view = node.view();
            let after = (1..=length).map(|step| members[(at + step) % count].0);
            let before = members[(at + count - 1) % count].0;
            view.successors.iter().map(|peer| peer.id).eq(after)
                && (count == 1 || view.predecessors.first().map(|peer| peer.id) == Some(before))
        };
        alive == count && (0..count).all(knows)
    }

    /// An operator installs the package on a node.
    ///
    /// # Panics
    ///
    /// Where the node refuses it.
    pub fn install(&mut self, node: Index) {
        self.world.act(Act::Install { node, request: 0, package: Box::new(self.package.clone()) });
    }

    /// A program on a node asks the application.
    pub fn call(&mut self, node: Index, method: &str, body: &[u8]) -> Ticket {
        self.calls += 1;
        let (app, method) = (self.setup.name.to_owned(), method.to_owned());
        let body = Bytes::copy_from_slice(body);
        self.world.act(Act::Call { node, request: self.calls, app, method, body });
        Ticket(self.calls)
    }

    /// Takes the answer to a call, where it has come.
    pub fn answer(&mut self, ticket: Ticket) -> Option<Answer> {
        self.answers.remove(&ticket.0)
    }

    /// Asks, and lets time pass until the answer has come.
    ///
    /// # Errors
    ///
    /// What the application says, or why nothing came.
    pub fn ask(&mut self, node: Index, method: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        let ticket = self.call(node, method, body);
        let end = self.world.now() + CALL;
        while !self.answers.contains_key(&ticket.0) && self.world.step(end) {
            self.note();
        }
        self.answer(ticket).map_or_else(|| Err("the node has gone".to_owned()), |answer| answer.outcome)
    }

    /// Time passes.
    pub fn run(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.step(end) {
            self.note();
        }
        self.note();
    }

    fn note(&mut self) {
        let at = since_start(self.world.now());
        for seen in self.world.seen() {
            match seen {
                Seen::Responded { request, outcome, .. } => {
                    let outcome = outcome.map(|body| body.to_vec()).map_err(|failure| failure.to_string());
                    self.answers.insert(request, Answer { at, outcome });
                }
                Seen::Installed { result: Err(failure), node, .. } => panic!("node {node} will not run it: {failure}"),
                _ => {}
            }
        }
    }

    /// The virtual time since the ring's first node started.
    pub fn now(&self) -> Duration {
        since_start(self.world.now())
    }

    /// The live members, in order of their ids.
    pub fn members(&self) -> Vec<Index> {
        self.world.members().values().copied().collect()
    }

    /// A member drawn from the seed.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn any(&mut self) -> Index {
        let members = self.members();
        *self.random.pick(&members).expect("a member")
    }

    /// A number below `bound`, drawn from the seed.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// The member responsible for a key.
    ///
    /// # Panics
    ///
    /// Where there is no member.
    pub fn owner(&self, key: Key) -> Index {
        self.world.owner(ring_id(key)).expect("a member")
    }

    /// The first members responsible for a key.
    pub fn replicas(&self, key: Key, count: usize) -> Vec<Index> {
        let members = self.world.members();
        let key = ring_id(key);
        members.range(key..).chain(members.range(..key)).map(|(_, node)| *node).take(count).collect()
    }

    /// The id of a node.
    pub fn id(&self, node: Index) -> NodeId {
        id(self.world.peer(node).id)
    }

    /// The number of a node.
    pub fn index(&self, node: NodeId) -> Option<Index> {
        self.world.index(ring_id(node))
    }

    /// Whether the node's process runs.
    pub fn is_alive(&self, node: Index) -> bool {
        self.world.is_alive(node)
    }

    /// The round-trip time between two nodes as the network has it.
    pub fn round_trip(&self, a: Index, b: Index) -> Duration {
        self.latency.round_trip(a, b)
    }

    /// The process of a node dies without a word.
    pub fn crash(&mut self, node: Index) {
        self.world.act(Act::Crash { node });
    }

    /// A node that died starts again with what was durable on its disk.
    pub fn restart(&mut self, node: Index) {
        let known = self.some_members(3, node);
        self.world.act(Act::Restart { node, known });
    }

    /// A node leaves the ring.
    pub fn leave(&mut self, node: Index) {
        self.world.act(Act::Leave { node });
    }

    /// A new node joins, with an id drawn from the seed. It has never heard of the application.
    pub fn join(&mut self) -> Index {
        let node = self.world.spawn();
        self.start(node);
        node
    }

    /// The same with this id, as one that becomes responsible for a certain key.
    pub fn join_as(&mut self, node: NodeId) -> Index {
        let node = self.world.spawn_with(ring_id(node));
        self.start(node);
        node
    }

    /// A process stands still for so long.
    pub fn pause(&mut self, node: Index, time: Duration) {
        self.world.act(Act::Pause { node, time });
    }

    /// The clock of a node jumps by so many microseconds, and runs so many millionths too fast from now on.
    pub fn skew(&mut self, node: Index, jump: i64, drift: i32) {
        self.world.act(Act::Clock { node, jump, drift });
    }

    /// The conditions of the network change.
    pub fn network(&mut self, change: impl FnOnce(&mut Network)) {
        let mut network = self.world.network().clone();
        change(&mut network);
        self.world.act(Act::Network(Box::new(network)));
    }

    /// The network falls in two: between these nodes and all others nothing passes.
    pub fn cut(&mut self, side: &[Index]) {
        let count = self.world.count();
        self.network(|network| network.sides = (0..count).map(|node| u8::from(side.contains(&node))).collect());
    }

    /// The network is whole again.
    pub fn heal(&mut self) {
        self.network(|network| network.sides.clear());
    }

    /// Looks at the instance on a node; none where the application does not run there.
    pub fn peek<T>(&self, node: Index, look: impl FnOnce(&P) -> T) -> Option<T> {
        if !self.world.is_alive(node) {
            return None;
        }
        self.instances.with(self.world.peer(node).id, look)
    }

    /// The value of a record on a node.
    pub fn record(&self, node: Index, key: Option<Key>, name: &[u8]) -> Option<Vec<u8>> {
        let place = key.map_or(Place::Node, |key| Place::At(ring_id(key)));
        self.world.record(node, &self.app(), place, name).map(|value| value.to_vec())
    }

    /// How many live members hold a copy of the record at a key.
    pub fn copies(&self, key: Key, name: &[u8]) -> usize {
        self.members().into_iter().filter(|node| self.record(*node, Some(key), name).is_some()).count()
    }

    /// What a node has sent.
    pub fn traffic(&self, node: Index) -> Traffic {
        self.world.traffic(node)
    }

    /// Bytes of records on a node, and messages that its instance has handled.
    pub fn usage(&self, node: Index) -> (u64, u64) {
        self.world.app_usage(node).map_or((0, 0), |usage| (usage.stored_bytes, usage.messages))
    }

    /// Errors and excesses of handlers so far, each once with how often: what a handler refused is not lost on a test.
    pub fn problems(&self) -> BTreeMap<String, u64> {
        self.problems.list()
    }

    /// The last lines that instances have logged, with the node's id, oldest first.
    pub fn log(&self) -> VecDeque<(NodeId, String)> {
        self.problems.lines()
    }

    /// Everything about the simulated nodes.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// The application.
    pub fn app(&self) -> AppId {
        self.package.manifest.manifest().app()
    }
}

fn since_start(time: Time) -> Duration {
    Duration::from_micros(time.as_micros())
}

/// The point just before a key: a node there is not responsible for it, and one at the key itself is.
pub fn before(key: Key) -> Id {
    let mut bytes = key.to_bytes();
    for byte in bytes.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            break;
        }
    }
    Id::from_bytes(bytes)
}
