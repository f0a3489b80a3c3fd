//! Several nodes of a test's own, between which messages take no time.

use core::time::Duration;
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use prost_i3_api::ask::{Insert, NEXT, Next, OPEN, Open, Opened, Received, SEND, Send, Sent};
use prost_i3_api::{Hop, I3Id, Name};
use prost_peerlet::inbox::Batch;
use prost_peerlet::testing::{Effect, Node, node_id};
use prost_peerlet::{Change, Dispatch, Failure, Key, KeyRange, Message, NodeId, cbor};

use crate::I3;
use crate::message::Message as Said;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A message that has arrived, and whether it was routed.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) key: Option<Key>,
    pub(super) said: Option<Said>,
}

/// Nodes by their ids.
pub(super) struct World {
    nodes: BTreeMap<NodeId, Node<I3>>,
    answers: BTreeMap<(NodeId, u64), Result<Vec<u8>, String>>,
    pub(super) seen: Vec<Seen>,
    sent: u64,
}

impl World {
    /// Nodes of these names, each connected to all.
    pub(super) fn of(names: &[&str]) -> World {
        let nodes = names.iter().map(|name| (node_id(name), Node::new(name))).collect();
        let mut world = World { nodes, answers: BTreeMap::new(), seen: Vec::new(), sent: 0 };
        world.introduce();
        world
    }

    fn introduce(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for (id, node) in &mut self.nodes {
            node.state.others = ids.iter().copied().filter(|other| other != id).collect();
            node.state.round_trips = ids.iter().map(|other| (*other, 20_000)).collect();
        }
    }

    pub(super) fn node(&mut self, id: NodeId) -> &mut Node<I3> {
        self.nodes.get_mut(&id).expect("a node of this world")
    }

    /// The node responsible for an id.
    pub(super) fn owner(&self, id: &I3Id) -> NodeId {
        let key = id.ring_key();
        *self.nodes.range(key..).next().or(self.nodes.first_key_value()).expect("there are nodes").0
    }

    /// A node dies.
    pub(super) fn crash(&mut self, id: NodeId) {
        self.nodes.remove(&id);
        self.introduce();
    }

    /// A node joins, and takes its range from the next.
    pub(super) fn join(&mut self, name: &str) -> NodeId {
        let id = node_id(name);
        let (next, before) = {
            let next = *self.nodes.range(id..).next().or(self.nodes.first_key_value()).expect("there are nodes").0;
            (next, *self.nodes.range(..id).next_back().or(self.nodes.last_key_value()).expect("there are nodes").0)
        };
        let now = self.nodes[&next].state.now;
        let mut node = Node::new(name);
        node.state.now = now;
        self.nodes.insert(id, node);
        self.introduce();
        self.node(next).update(Change::Lost(KeyRange { after: before, upto: id }));
        self.settle();
        id
    }

    /// Time passes.
    pub(super) fn run(&mut self, time: Duration) {
        let step = Duration::from_millis(500);
        for _ in 0..time.as_millis() / step.as_millis() {
            self.nodes.values_mut().for_each(|node| node.run(step));
            self.settle();
        }
    }

    /// Asks a node, and gives its answer.
    pub(super) fn ask<Q: Encode<()>, A: for<'a> Decode<'a, ()>>(
        &mut self,
        node: NodeId,
        method: &str,
        question: &Q,
    ) -> Result<A, String> {
        let request = self.start(node, method, question);
        self.settle();
        if !self.answers.contains_key(&(node, request)) {
            self.run(SECOND * 30);
        }
        let body = self.answers.remove(&(node, request)).expect("each request is answered")?;
        Ok(cbor::decode(&body).expect("the answer is what it should be"))
    }

    pub(super) fn start<Q: Encode<()>>(&mut self, node: NodeId, method: &str, question: &Q) -> u64 {
        self.node(node).serve(method, &cbor::encode(question)).expect("it serves")
    }

    /// Delivers what has been said until nobody says anything more.
    pub(super) fn settle(&mut self) {
        for _ in 0..1000 {
            let mut said = Vec::new();
            for (id, node) in &mut self.nodes {
                for (request, outcome) in node.answers() {
                    self.answers.insert((*id, request), outcome);
                }
                said.extend(node.effects().into_iter().map(|effect| (*id, effect)));
            }
            if said.is_empty() {
                return;
            }
            said.into_iter().for_each(|(from, effect)| self.pass(from, effect));
        }
        panic!("the nodes do not stop talking");
    }

    fn pass(&mut self, from: NodeId, effect: Effect) {
        let (id, to, key, payload) = match effect {
            Effect::Send { id, to, payload } => (id, to, None, payload),
            Effect::Route { id, key, payload, .. } => {
                let to = *self.nodes.range(key..).next().or(self.nodes.first_key_value()).expect("nodes").0;
                (id, to, Some(key), payload)
            }
            _ => return,
        };
        if !self.nodes.contains_key(&to) {
            return self.node(from).failed(id, Failure::Unreachable);
        }
        self.seen.push(Seen { from, to, key, said: cbor::decode(&payload).ok() });
        self.deliver(from, to, key, payload);
    }

    /// A message, from whoever says so.
    pub(super) fn deliver(&mut self, from: NodeId, to: NodeId, key: Option<Key>, payload: Vec<u8>) {
        self.sent += 1;
        let (id, dispatch) = (self.sent, Dispatch::EndNode);
        let message = Message { id, key, dispatch, origin: from, previous: from, hops: 1, payload };
        // What makes no sense is refused, as a node would tell the sender.
        let _ = self.node(to).deliver_message(message);
    }

    /// A message of a node that need not be one.
    pub(super) fn say(&mut self, from: NodeId, to: NodeId, key: Option<Key>, said: &Said) {
        self.deliver(from, to, key, cbor::encode(said));
        self.settle();
    }
}

/// What programs do.
impl World {
    pub(super) fn open(&mut self, node: NodeId) -> u64 {
        self.ask::<_, Opened>(node, OPEN, &Open { lease: Some(3600) }).expect("there is room").endpoint
    }

    /// A program that listens to a name.
    pub(super) fn listen(&mut self, node: NodeId, name: &Name) -> u64 {
        let endpoint = self.open(node);
        let asked = host(endpoint, name);
        self.ask::<_, prost_i3_api::ask::Inserted>(node, "insert", &asked).expect("the trigger is taken");
        endpoint
    }

    /// Sends a packet to a stack of ids. Tells how many triggers its first id has.
    pub(super) fn send(&mut self, node: NodeId, stack: &[I3Id], data: &str) -> Option<u32> {
        let stack = stack.iter().copied().map(Hop::Id).collect();
        let asked = Send { stack, payload: data.into(), confirm: true };
        self.ask::<_, Sent>(node, SEND, &asked).expect("it is sent").matched
    }

    /// What a program has received, from its first packet on.
    pub(super) fn received(&mut self, node: NodeId, endpoint: u64) -> Vec<Received> {
        let batch: Batch = self.ask(node, NEXT, &Next { endpoint, from: 0 }).expect("the endpoint is there");
        batch.items.iter().map(|item| cbor::decode(item).expect("a packet")).collect()
    }

    pub(super) fn texts(&mut self, node: NodeId, endpoint: u64) -> Vec<String> {
        let received = self.received(node, endpoint);
        received.into_iter().map(|packet| String::from_utf8(packet.payload.0).expect("text")).collect()
    }
}

pub(super) fn host(endpoint: u64, name: &Name) -> Insert {
    Insert { endpoint, id: name.id, prefix_len: 0, secret: name.secret, stack: Vec::new(), rate: None }
}
