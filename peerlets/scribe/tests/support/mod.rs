//! A group on a ring: members that read all the time, as programs do.

#![allow(dead_code, reason = "each test binary uses another part of it")]

use core::time::Duration;
use std::collections::BTreeMap;

use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::inbox::Batch;
use prost_peerlet::{Key, NodeId};
use prost_peerlet_ring::{Index, Ring, Setup, Ticket};
use prost_scribe_api::{self as api, Access, Group, Item};
use scribe::{Scribe, key};

/// Settings of the peerlet.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);
/// Children of a node at most.
pub(crate) const CHILDREN: usize = 16;
const SLICE: Duration = Duration::from_millis(100);
const NAME: &str = "news";

pub(crate) struct World {
    pub ring: Ring<Scribe>,
    pub group: Key,
    creator: NodeId,
    readers: BTreeMap<Index, Reader>,
}

/// A program that reads on a node.
struct Reader {
    subscription: u64,
    from: u64,
    waiting: Option<Ticket>,
    heard: Vec<(Duration, Vec<u8>)>,
}

impl World {
    /// A ring on which a node drawn from the seed has created the group, for everyone.
    pub(crate) fn new(setup: Setup) -> World {
        World::with_rules(setup, Access::Anyone, Access::Anyone)
    }

    pub(crate) fn with_rules(setup: Setup, join: Access, publish: Access) -> World {
        let mut ring = Ring::<Scribe>::grow(setup);
        let creator = ring.any();
        let create = api::Create { name: NAME.to_owned(), join, publish };
        ring.ask(creator, api::CREATE, &cbor::encode(&create)).expect("created");
        let creator = ring.id(creator);
        World { ring, group: key(NAME, creator), creator, readers: BTreeMap::new() }
    }

    pub(crate) fn name(&self) -> Group {
        Group { name: NAME.to_owned(), creator: Some(self.creator) }
    }

    pub(crate) fn root(&self) -> Index {
        self.ring.owner(self.group)
    }

    pub(crate) fn readers(&self) -> Vec<Index> {
        self.readers.keys().copied().filter(|node| self.ring.is_alive(*node)).collect()
    }

    /// Programs on these nodes join at the same time.
    pub(crate) fn join(&mut self, nodes: &[Index]) {
        let join = cbor::encode(&api::Join { group: self.name(), takes_anycast: false });
        let mut waiting: Vec<(Index, Ticket)> =
            nodes.iter().map(|node| (*node, self.ring.call(*node, api::JOIN, &join))).collect();
        let end = self.ring.now() + Duration::from_secs(35);
        while !waiting.is_empty() && self.ring.now() < end {
            self.run(SLICE);
            let mut left = Vec::new();
            for (node, ticket) in waiting {
                let Some(answer) = self.ring.answer(ticket) else {
                    left.push((node, ticket));
                    continue;
                };
                let joined = answer.outcome.unwrap_or_else(|error| {
                    let way: Vec<String> = self.way(node);
                    panic!("node {node} cannot join: {error}; {way:?}; {:?}", self.ring.problems())
                });
                let joined: api::Joined = cbor::decode(&joined).expect("well formed");
                let reader = Reader { subscription: joined.subscription, from: 0, waiting: None, heard: Vec::new() };
                self.readers.insert(node, reader);
            }
            waiting = left;
        }
        assert!(waiting.is_empty(), "{} joins are not answered", waiting.len());
    }

    pub(crate) fn leave(&mut self, node: Index) {
        let leave = api::Leave { group: self.name(), subscription: None };
        self.ring.ask(node, api::LEAVE, &cbor::encode(&leave)).expect("left");
        self.readers.remove(&node);
    }

    /// A program publishes. The answer is for [`Ring::answer`].
    pub(crate) fn publish(&mut self, node: Index, data: &[u8]) -> Ticket {
        let publish = api::Publish { group: self.name(), data: Bytes::from(data) };
        self.ring.call(node, api::PUBLISH, &cbor::encode(&publish))
    }

    /// Time passes, programs read, and there is never a cycle.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.ring.now() + time;
        while self.ring.now() < end {
            self.read();
            self.ring.run(SLICE.min(end - self.ring.now()));
            self.assert_acyclic();
        }
        self.read();
    }

    fn read(&mut self) {
        for (node, reader) in &mut self.readers {
            if !self.ring.is_alive(*node) {
                continue;
            }
            if let Some(answer) = reader.waiting.and_then(|ticket| self.ring.answer(ticket)) {
                reader.waiting = None;
                if let Ok(body) = answer.outcome {
                    let batch: Batch = cbor::decode(&body).expect("well formed");
                    reader.from = batch.first + batch.items.len() as u64;
                    for item in &batch.items {
                        if let Item::Message(message) = cbor::decode(item).expect("an item") {
                            reader.heard.push((answer.at, message.data.0));
                        }
                    }
                }
            }
            if reader.waiting.is_none() {
                let next = api::Next { subscription: reader.subscription, from: reader.from };
                reader.waiting = Some(self.ring.call(*node, api::NEXT, &cbor::encode(&next)));
            }
        }
    }

    /// When each live reader heard this, once for each time that it did.
    pub(crate) fn heard(&self, data: &[u8]) -> BTreeMap<Index, Vec<Duration>> {
        let live = self.readers.iter().filter(|(node, _)| self.ring.is_alive(**node));
        let times = |reader: &Reader| {
            reader.heard.iter().filter(|(_, heard)| heard == data).map(|(at, _)| *at).collect::<Vec<_>>()
        };
        live.map(|(node, reader)| (*node, times(reader))).collect()
    }

    /// Everything that a reader has heard, in order.
    pub(crate) fn heard_by(&self, node: Index) -> Vec<Vec<u8>> {
        self.readers[&node].heard.iter().map(|(_, data)| data.clone()).collect()
    }

    #[track_caller]
    pub(crate) fn assert_heard_once(&self, data: &[u8]) {
        for (node, times) in self.heard(data) {
            assert_eq!(times.len(), 1, "node {node} on {:?}", String::from_utf8_lossy(data));
        }
    }

    /// The way to the root as each node on it sees it.
    fn way(&self, node: Index) -> Vec<String> {
        let mut way = Vec::new();
        let mut at = Some(node);
        while let Some(node) = at.filter(|_| way.len() < 20) {
            let children = self.children(node).len();
            let is_root = self.ring.peek(node, |scribe| scribe.is_root(self.group));
            way.push(format!("{node}: root {is_root:?}, {children} children"));
            at = self.parent(node);
        }
        way
    }

    pub(crate) fn parent(&self, node: Index) -> Option<Index> {
        self.ring.peek(node, |scribe| scribe.parent(self.group)).flatten().and_then(|id| self.ring.index(id))
    }

    pub(crate) fn children(&self, node: Index) -> Vec<Index> {
        let children = self.ring.peek(node, |scribe| scribe.children(self.group)).unwrap_or_default();
        children.into_iter().filter_map(|id| self.ring.index(id)).collect()
    }

    pub(crate) fn is_in(&self, node: Index) -> bool {
        self.ring.peek(node, |scribe| !scribe.groups().is_empty()).unwrap_or(false)
    }

    fn assert_acyclic(&self) {
        let parents: BTreeMap<Index, Index> =
            self.ring.members().into_iter().filter_map(|node| Some((node, self.parent(node)?))).collect();
        for start in parents.keys() {
            let (mut at, mut steps) = (*start, 0);
            while let Some(parent) = parents.get(&at) {
                at = *parent;
                steps += 1;
                assert!(steps <= parents.len(), "a cycle at node {start}");
            }
        }
    }

    /// What holds once all is quiet.
    #[track_caller]
    pub(crate) fn assert_whole(&self) {
        let root = self.root();
        for node in self.ring.members().into_iter().filter(|node| self.is_in(*node)) {
            let children = self.children(node);
            assert!(children.len() <= CHILDREN, "node {node} has {} children", children.len());
            let is_member = self.ring.peek(node, |scribe| scribe.is_member(self.group)).unwrap_or(false);
            assert!(is_member || !children.is_empty(), "node {node} is there in vain");
            for child in children {
                assert_eq!(self.parent(child), Some(node), "the parent of {child}");
            }
            match self.parent(node) {
                Some(parent) => assert!(self.children(parent).contains(&node), "{node} is no child of {parent}"),
                None => assert_eq!(node, root, "{node} has no parent"),
            }
        }
        for reader in self.readers() {
            assert!(self.is_in(reader), "reader {reader} is not in the tree");
        }
    }

    /// Edges from a node to the root.
    pub(crate) fn depth(&self, node: Index) -> usize {
        let mut depth = 0;
        let mut at = node;
        while let Some(parent) = self.parent(at) {
            (at, depth) = (parent, depth + 1);
        }
        depth
    }
}
