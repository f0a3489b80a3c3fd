//! A few nodes in one process: a virtual clock, connections, latency, crashes, sandboxes and disks, all from one seed.

mod act;
mod drive;
mod host;
mod shelf;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost_contract::{Event as Told, Execution, Outcome};
use prost_kbr::{AppId, Config, Id, Input as Ring, Key, Message, NodeId, Peer, Time};
use prost_manager::{
    CallFailure, ContentSettings, Found, InstallFailure, Node, NotDurable, PublishFailure, Published, Settings,
};
use prost_package::{Digest, Policy};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::guest::{Component, Instance};
use shelf::Shelves;
pub(crate) use shelf::{Ask, NotStored, Record, RecordFate, RecordFrame, RecordMeddler, Tell, write as write_records};
pub(crate) use web::Page;

/// Wall clock at the start of the virtual time, milliseconds since 1970.
pub(crate) const WALL_MS: u64 = 1_800_000_000_000;
/// How long a dial to nobody takes to fail.
const DIAL_FAILS: Duration = Duration::from_millis(300);
/// How often a node may be woken at one instant: more is a busy loop.
const MAX_WAKES: u32 = 20;

/// The frames of the code protocol as they stand on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Code {
    GetManifest { request: u64, app: AppId },
    Manifest { request: u64, envelope: Option<ByteBuf>, chunks: Option<ByteBuf> },
    GetChunk { request: u64, digest: Digest, offset: u64 },
    Chunk { request: u64, offset: u64, bytes: Option<ByteBuf> },
}

/// What a node has done, and what it was told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// A frame of the code protocol left.
    Asked(NodeId, Code),
    Compile(AppId),
    Stop(AppId),
    /// An event ran.
    Ran(AppId, Told, Outcome),
    Commit(u64, Vec<String>),
    Committed(u64, bool),
    /// A message that an application here sent left, with its data.
    Sent(NodeId, String),
    Saved(AppId),
    Forgot(AppId),
    Responded(u64, Result<Bytes, CallFailure>),
    Pushed(u64, Bytes),
    Installed(u64, Result<AppId, InstallFailure>),
    Published(u64, Result<Published, PublishFailure>),
    /// A frame about keyed records left.
    Records(NodeId, RecordFrame),
    Removed(u64, Result<AppId, CallFailure>),
    LookedUp(u64),
    Routed(u64, prost_kbr::Outcome),
    Logged(String),
    /// A URL was asked for.
    Download(u64, String),
    /// The rest of what stands there was.
    DownloadRest(u64, u64),
    CancelDownload(u64),
}

/// How a disk behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// Writes are durable after a while.
    Works(Duration),
    /// Writes are not taken.
    Refuses,
    /// The next writes are not taken; those after them are.
    RefusesOnce,
    /// Writes are taken, and lost after a while.
    Breaks(Duration),
    /// Nothing is answered.
    Hangs,
}

/// What a node was told of the work of one application, to compare with what it says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) traps: u64,
    pub(crate) refusals: u64,
    pub(crate) fuel: u64,
    pub(crate) micros: u64,
    pub(crate) compile_micros: u64,
}

/// What the network does.
#[derive(Debug, Clone)]
enum Event {
    Wake(NodeId),
    Ring(NodeId, Ring),
    Connect { from: NodeId, to: SocketAddr, expected: Option<NodeId> },
    Frame { from: NodeId, to: NodeId, connection: u64, bytes: Bytes },
    Compiled { node: NodeId, app: AppId, generation: u64, component: Bytes },
    Ran { node: NodeId, app: AppId, generation: u64, executions: Vec<Execution> },
    Committed { node: NodeId, commit: u64, result: Result<u64, NotDurable> },
    Looked { node: NodeId, look: u64, found: Found },
    Web(NodeId, web::Reply),
}

/// One step of an application or of one of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The message arrived.
    Message,
    /// A frame of the code protocol arrived, of so many bytes.
    Code(usize),
    /// The outcome arrived.
    Outcome,
    Compiled,
    Ran,
    Committed,
}

/// What becomes of a frame of the code protocol.
pub(crate) enum Fate {
    Arrives,
    Lost,
    /// It arrives, but this is what it says.
    Says(Code),
}

pub(crate) type Meddler = Box<dyn FnMut(NodeId, NodeId, &Code) -> Fate>;

/// One node with what surrounds it.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) peer: Peer,
    pub(crate) journal: Vec<(Time, Seen)>,
    pub(crate) disk: Disk,
    pub(crate) compiler: Duration,
    pub(crate) sandbox: Duration,
    /// Events of a batch after which the rest is to wait for its turn.
    pub(crate) slice: usize,
    pub(crate) tallies: BTreeMap<AppId, Tally>,
    alive: bool,
    records: BTreeMap<AppId, BTreeSet<Vec<u8>>>,
    pub(crate) shelves: Shelves,
    loaded: BTreeMap<AppId, Component>,
    instances: BTreeMap<AppId, Instance>,
    generations: BTreeMap<AppId, u64>,
    under_way: BTreeSet<AppId>,
    /// Downloads under way, with what they ask for.
    downloads: BTreeMap<u64, String>,
    open_calls: BTreeSet<u64>,
    wake: Option<Time>,
    wakes: (Time, u32),
    unsent: BTreeMap<NodeId, Vec<Message>>,
    dialling: BTreeSet<NodeId>,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    pub(crate) meddler: Option<Meddler>,
    /// What stands at URLs.
    pub(crate) pages: BTreeMap<String, Page>,
    pub(crate) record_meddler: Option<RecordMeddler>,
    /// Every output of every node, as text, where wanted.
    pub(crate) trace: Option<Vec<String>>,
    /// What has happened to applications and their messages: where, and what.
    pub(crate) steps: Vec<(NodeId, Step)>,
    /// Frames about keyed records get lost.
    pub(crate) loses_records: bool,
    /// Looks at a node after each input, where wanted.
    pub(crate) auditor: Option<fn(&mut Host)>,
    /// Bytes of others' code that each node keeps.
    content_bytes: u64,
    config: Config,
    at: BTreeMap<SocketAddr, NodeId>,
    events: BTreeMap<(Time, u64), Event>,
    next_event: u64,
    connections: BTreeMap<(NodeId, NodeId), u64>,
    arrivals: BTreeMap<(NodeId, NodeId), Time>,
    random: u64,
    next_number: u64,
}

/// A point at a fraction of the circle.
pub(crate) fn point(numerator: usize, denominator: usize) -> Id {
    let high = ((numerator as u128) << 64) / denominator as u128;
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&(high as u64).to_be_bytes());
    Id::from_bytes(bytes)
}

/// Building and looking.
impl World {
    /// A settled ring of `count` nodes, evenly spread, that know four successors each, and have no fingers, so that
    /// messages take several hops.
    pub(crate) fn ring(seed: u64, count: usize) -> World {
        let config = Config { successors: 4, predecessors: 4, connections: 8, ..Config::default() };
        World::of(seed, count, config)
    }

    /// A settled ring of `count` nodes, evenly spread, with these settings.
    pub(crate) fn of(seed: u64, count: usize, config: Config) -> World {
        World::with(seed, count, config, 0)
    }

    /// The same, whose nodes keep so many bytes of each other's code.
    pub(crate) fn keeping(seed: u64, count: usize, content_bytes: u64) -> World {
        let config = Config { successors: 4, predecessors: 4, connections: 8, ..Config::default() };
        World::with(seed, count, config, content_bytes)
    }

    fn with(seed: u64, count: usize, config: Config, content_bytes: u64) -> World {
        let mut world = World {
            now: Time::from_micros(1_000_000),
            hosts: BTreeMap::new(),
            meddler: None,
            pages: BTreeMap::new(),
            record_meddler: None,
            trace: None,
            steps: Vec::new(),
            loses_records: false,
            auditor: None,
            content_bytes,
            config,
            at: BTreeMap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            connections: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            random: seed,
            next_number: 0,
        };
        let peers: Vec<Peer> = (0..count).map(|at| world.add(point(at, count))).collect();
        world.ring_input(peers[0].id, Ring::Join { known: Vec::new() });
        for peer in &peers[1..] {
            world.ring_input(peer.id, Ring::Join { known: vec![peers[0].addr] });
            world.run_for(Duration::from_millis(50));
        }
        world.settle();
        world
    }

    /// The same world once more, in which nobody meddles: each goes its own way from here.
    pub(crate) fn fork(&self) -> World {
        World {
            now: self.now,
            hosts: self.hosts.clone(),
            meddler: None,
            pages: self.pages.clone(),
            record_meddler: None,
            trace: None,
            loses_records: self.loses_records,
            auditor: None,
            steps: self.steps.clone(),
            content_bytes: self.content_bytes,
            config: self.config.clone(),
            at: self.at.clone(),
            events: self.events.clone(),
            next_event: self.next_event,
            connections: self.connections.clone(),
            arrivals: self.arrivals.clone(),
            random: self.random,
            next_number: self.next_number,
        }
    }

    fn add(&mut self, id: NodeId) -> Peer {
        let number = self.at.len() as u16;
        let addr = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 4000));
        let peer = Peer { id, addr };
        let content = ContentSettings { most_bytes: self.content_bytes, held: Vec::new() };
        let host = Host {
            node: self.start_node(peer, content),
            peer,
            journal: Vec::new(),
            disk: Disk::Works(Duration::from_millis(4)),
            compiler: Duration::from_millis(30),
            sandbox: Duration::from_millis(1),
            slice: usize::MAX,
            tallies: BTreeMap::new(),
            alive: true,
            records: BTreeMap::new(),
            shelves: Shelves::default(),
            loaded: BTreeMap::new(),
            instances: BTreeMap::new(),
            generations: BTreeMap::new(),
            under_way: BTreeSet::new(),
            downloads: BTreeMap::new(),
            open_calls: BTreeSet::new(),
            wake: None,
            wakes: (self.now, 0),
            unsent: BTreeMap::new(),
            dialling: BTreeSet::new(),
        };
        self.hosts.insert(id, host);
        self.at.insert(addr, id);
        peer
    }

    fn start_node(&mut self, peer: Peer, content: ContentSettings) -> Node {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.random().to_be_bytes());
        let policy = Arc::new(Policy::default_only(true));
        let settings =
            Settings { ring: self.config.clone(), policy, wall_origin_ms: WALL_MS, newest_version: 0, content };
        Node::new(peer, settings, seed, self.now)
    }

    /// The process dies and starts again, with no more room for the code of others than what its disk keeps of it takes.
    pub(crate) fn restart_full(&mut self, at: usize) {
        let (id, known) = (self.id(at), self.hosts[&self.id(0)].peer.addr);
        self.crash(id);
        self.run_for(Duration::from_secs(1));
        let host = &self.hosts[&id];
        let (peer, held) = (host.peer, host.shelves.held());
        let most_bytes = held.iter().map(|(_, bytes)| bytes).sum();
        let node = self.start_node(peer, ContentSettings { most_bytes, held });
        let host = self.hosts.get_mut(&id).expect("a node");
        (host.node, host.alive, host.wake) = (node, true, None);
        self.ring_input(id, Ring::Join { known: vec![known] });
        self.settle();
    }

    /// Runs until everyone knows its neighbours.
    fn settle(&mut self) {
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        let knows = |world: &World, at: usize| {
            let after = (1..ids.len()).take(world.config.successors).map(|step| ids[(at + step) % ids.len()]);
            let view = world.hosts[&ids[at]].node.view();
            view.joined
                && view.successors.iter().map(|peer| peer.id).eq(after)
                && (!view.predecessors.is_empty() || ids.len() == 1)
        };
        let good = self.run_until(Duration::from_secs(120), |world| (0..ids.len()).all(|at| knows(world, at)));
        assert!(good, "the ring does not settle");
        self.run_for(Duration::from_secs(5));
    }

    /// SplitMix64.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The node at this place.
    pub(crate) fn id(&self, at: usize) -> NodeId {
        point(at, self.hosts.len())
    }

    pub(crate) fn host(&self, at: usize) -> &Host {
        &self.hosts[&self.id(at)]
    }

    pub(crate) fn host_mut(&mut self, at: usize) -> &mut Host {
        let id = self.id(at);
        self.hosts.get_mut(&id).expect("a node")
    }

    /// A key of the node at this place.
    pub(crate) fn key_of(&self, at: usize) -> Key {
        let mut bytes = *self.id(at).as_bytes();
        bytes[19] = 0;
        let key = Id::from_bytes(bytes);
        assert_eq!(key, self.id(at), "ids end in a zero");
        key
    }

    /// The places of the nodes for which this holds.
    pub(crate) fn places(&self, holds: impl Fn(&Host) -> bool) -> Vec<usize> {
        (0..self.hosts.len()).filter(|at| holds(self.host(*at))).collect()
    }

    /// Everything that happened at the nodes, in the order of time.
    pub(crate) fn story<T>(&self, pick: impl Fn(&Seen) -> Option<T>) -> Vec<(usize, T)> {
        let mut story = Vec::new();
        for at in 0..self.hosts.len() {
            for (number, (time, seen)) in self.host(at).journal.iter().enumerate() {
                story.extend(pick(seen).map(|picked| (*time, at, number, picked)));
            }
        }
        story.sort_by_key(|(time, at, number, _)| (*time, *at, *number));
        story.into_iter().map(|(_, at, _, picked)| (at, picked)).collect()
    }
}

/// The handler's name, with the script for messages and calls and the tag for timers.
pub(crate) fn name(told: &Told) -> String {
    match told {
        Told::Deliver(message) => format!("deliver {}", String::from_utf8_lossy(&message.payload)),
        Told::Serve(request) => format!("serve {}", request.method),
        Told::Fired { tag, .. } => format!("fired {tag}"),
        other => other.name().to_owned(),
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
