//! A few nodes and a network between them, in virtual time: messages take a fixed time, routing takes Chord's hops.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_p2ptv_api::{self as api, Segment};
use prost_peerlet::inbox::Batch;
use prost_peerlet::testing::{Effect, Node, node_id};
use prost_peerlet::{Dispatch, Failure, Key, Message, NodeId, Verdict, cbor};

use crate::P2ptv;

const LATENCY: Duration = Duration::from_millis(20);
const STEP: Duration = Duration::from_millis(10);

type Loses = Box<dyn FnMut(NodeId, NodeId, &[u8]) -> bool>;

pub(super) struct Net {
    pub(super) nodes: BTreeMap<NodeId, Node<P2ptv>>,
    queue: BTreeMap<(Duration, u64), (NodeId, Message)>,
    failures: BTreeMap<(Duration, u64), (NodeId, u64)>,
    answers: BTreeMap<(NodeId, u64), Result<Vec<u8>, String>>,
    now: Duration,
    count: u64,
    /// Whether a message is lost, from whom, to whom, and its payload.
    pub(super) loses: Loses,
}

impl Net {
    pub(super) fn of(count: usize) -> Net {
        let mut net = Net {
            nodes: BTreeMap::new(),
            queue: BTreeMap::new(),
            failures: BTreeMap::new(),
            answers: BTreeMap::new(),
            now: Duration::ZERO,
            count: 0,
            loses: Box::new(|_, _, _| false),
        };
        for number in 0..count {
            net.nodes.insert(node_id(&format!("n{number}")), Node::new(&format!("n{number}")));
        }
        net.introduce();
        net
    }

    fn introduce(&mut self) {
        let ids = self.ids();
        for (id, node) in &mut self.nodes {
            node.state.others = ids.iter().copied().filter(|other| other != id).collect();
            node.state.round_trips = node.state.others.iter().map(|other| (*other, 40_000)).collect();
        }
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn owner(&self, key: Key) -> NodeId {
        *self.nodes.keys().min_by_key(|id| key.distance_to(**id)).expect("there are nodes")
    }

    /// A node is gone, and all others know.
    pub(super) fn kill(&mut self, id: NodeId) {
        self.nodes.remove(&id);
        self.introduce();
    }

    fn next_hop(&self, from: NodeId, key: Key) -> NodeId {
        let (ids, owner) = (self.ids(), self.owner(key));
        let at = |id| ids.iter().position(|other| *other == id).expect("it is there");
        let way = (at(owner) + ids.len() - at(from)) % ids.len();
        ids[(at(from) + if way == 0 { 0 } else { 1 << way.ilog2() }) % ids.len()]
    }

    /// Time passes.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            for node in self.nodes.values_mut() {
                node.run(STEP);
            }
            self.collect();
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, message) = entry.remove();
                self.arrive(to, message);
                self.collect();
            }
            while let Some(entry) = self.failures.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (node, message) = entry.remove();
                if let Some(node) = self.nodes.get_mut(&node) {
                    node.failed(message, Failure::Unreachable);
                }
                self.collect();
            }
        }
    }

    fn arrive(&mut self, to: NodeId, message: Message) {
        let passes = message.key.is_some_and(|key| self.owner(key) != to);
        let Some(node) = self.nodes.get_mut(&to) else {
            self.count += 1;
            self.failures.insert((self.now + 4 * LATENCY, self.count), (message.origin, message.id));
            return;
        };
        if passes {
            self.pass(to, message);
        } else {
            node.deliver_message(message).expect("a handler takes what comes");
        }
    }

    /// A message that is routed is at this node, which is not its last.
    fn pass(&mut self, at: NodeId, message: Message) {
        let next = self.next_hop(at, message.key.expect("it is routed"));
        if message.dispatch == Dispatch::PerHop {
            let node = self.nodes.get_mut(&at).expect("it is at a node");
            if node.forward(message.clone(), next) != Verdict::Pass {
                return;
            }
        }
        self.post(at, next, Message { previous: at, hops: message.hops + 1, ..message });
    }

    fn post(&mut self, from: NodeId, to: NodeId, message: Message) {
        if (self.loses)(from, to, &message.payload) {
            return;
        }
        self.count += 1;
        let latency = if from == to { Duration::ZERO } else { LATENCY };
        self.queue.insert((self.now + latency, self.count), (to, message));
    }

    fn collect(&mut self) {
        for from in self.ids() {
            for effect in self.nodes.get_mut(&from).expect("it is there").effects() {
                let message = |id, key, dispatch, payload| Message {
                    id,
                    key,
                    dispatch,
                    origin: from,
                    previous: from,
                    hops: 0,
                    payload,
                };
                match effect {
                    Effect::Send { id, to, payload } => {
                        self.post(from, to, message(id, None, Dispatch::EndNode, payload));
                    }
                    Effect::Route { id, key, payload, dispatch, .. } => {
                        let message = message(id, Some(key), dispatch, payload);
                        if self.owner(key) == from { self.post(from, from, message) } else { self.pass(from, message) }
                    }
                    Effect::Respond { request, outcome } => _ = self.answers.insert((from, request), outcome),
                    _ => {}
                }
            }
        }
    }

    pub(super) fn ask(&mut self, at: NodeId, method: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        let request = self.nodes.get_mut(&at).expect("it is there").serve(method, body).map_err(String::from)?;
        for _ in 0..3000 {
            self.collect();
            if let Some(answer) = self.answers.remove(&(at, request)) {
                return answer;
            }
            self.run(STEP);
        }
        Err("no answer".to_owned())
    }
}

/// A channel that all tests use.
pub(super) fn channel() -> Key {
    api::channel("news")
}

impl Net {
    pub(super) fn open(&mut self, at: NodeId) -> Result<api::Opened, String> {
        let answer = self.ask(at, api::OPEN, &cbor::encode(&api::Open { channel: channel() }))?;
        Ok(cbor::decode(&answer).expect("an answer"))
    }

    fn feed(&mut self, at: NodeId, stream: u64, number: u64, last: bool) {
        self.ask(at, api::FEED, &feed(stream, number, last)).expect("it is taken");
    }

    /// Whether the source is answered at once.
    pub(super) fn try_feed(&mut self, at: NodeId, stream: u64, number: u64) -> bool {
        let node = self.nodes.get_mut(&at).expect("it is there");
        let request = node.serve(api::FEED, &feed(stream, number, false)).expect("it is taken");
        self.collect();
        self.answers.contains_key(&(at, request))
    }

    /// Feeds segments at their rate.
    pub(super) fn stream(&mut self, at: NodeId, stream: u64, numbers: core::ops::Range<u64>, ends: bool) {
        let last = numbers.end - 1;
        for number in numbers {
            let start = self.now;
            self.feed(at, stream, number, ends && number == last);
            self.run((start + Duration::from_millis(500)).saturating_sub(self.now));
        }
    }

    pub(super) fn watch(&mut self, at: NodeId, rewind: u32) -> u64 {
        let watch = api::Watch { channel: channel(), source: None, rewind };
        let answer = self.ask(at, api::WATCH, &cbor::encode(&watch)).expect("it is taken");
        cbor::decode::<api::Watching>(&answer).expect("an answer").watcher
    }

    /// The numbers of all segments that a program has been given so far.
    pub(super) fn seen(&mut self, at: NodeId, watcher: u64) -> Vec<u64> {
        let mut from = 0;
        let mut seen = Vec::new();
        loop {
            let node = self.nodes.get_mut(&at).expect("it is there");
            let request = node.serve(api::NEXT, &cbor::encode(&api::Next { watcher, from })).expect("it watches");
            self.collect();
            let Some(answer) = self.answers.remove(&(at, request)) else { return seen };
            let batch: Batch = cbor::decode(&answer.expect("well")).expect("a batch");
            assert_eq!((batch.first, batch.lost), (from, 0));
            from += batch.items.len() as u64;
            for item in &batch.items {
                let segment: Segment = cbor::decode(item).expect("a segment");
                assert_eq!(*segment.data, data(segment.number));
                seen.push(segment.number);
            }
        }
    }

    pub(super) fn stats(&self, at: NodeId) -> api::Stats {
        // Asked of the peerlet itself, as nothing of it is to happen.
        let node = &self.nodes[&at];
        let (_, stats) = prost_peerlet::native::with(node.state.clone(), || node.peerlet.stats(channel()));
        stats
    }
}

fn feed(stream: u64, number: u64, last: bool) -> Vec<u8> {
    let data = data(number).into();
    cbor::encode(&api::Feed { channel: channel(), stream, number, duration_ms: 500, last, data })
}

pub(super) fn data(number: u64) -> Vec<u8> {
    number.to_be_bytes().repeat(100)
}
