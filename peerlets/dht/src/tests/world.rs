//! Several nodes in virtual time, with a ring that all of them see alike.

use std::collections::BTreeMap;

use prost_dht_api::{Found, GET, Get, Id as ApiId, PUT, Put, REMOVE, Refusal, Remove, Stored};
use prost_peerlet::{Dispatch, Failure, Id, Key, Message, NodeId, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteArray, ByteBuf};

use crate::dht::Dht;
use crate::host::Host;

/// How long a message takes.
const LATENCY_MS: u64 = 5;
/// How long it takes to see that a message got lost.
const LOST_MS: u64 = 400;

/// Values and their expiry, by key and name.
type Records = BTreeMap<(Key, Vec<u8>), (Vec<u8>, Option<u64>)>;

enum Happening {
    Deliver(NodeId, Message),
    Failed(NodeId, u64),
    Fired(NodeId),
}

/// The world of one test.
pub(super) struct World {
    now_ms: u64,
    nodes: BTreeMap<NodeId, Dht>,
    records: Records,
    agenda: BTreeMap<(u64, u64), Happening>,
    last_id: u64,
    outcomes: BTreeMap<u64, Result<Vec<u8>, String>>,
    /// So many of the next routed messages get lost.
    pub(super) losing: usize,
    /// So many of the next operations find records that are still on their way.
    pub(super) settling: usize,
    pub(super) logged: usize,
    pub(super) sent: usize,
    pub(super) written: usize,
}

pub(super) fn node_id(number: u8) -> NodeId {
    Id::hash(&[number])
}

pub(super) fn key(name: &str) -> Key {
    Id::hash(name.as_bytes())
}

pub(super) fn api(id: Id) -> ApiId {
    ByteArray::new(id.to_bytes())
}

pub(super) fn bytes(text: &str) -> ByteBuf {
    ByteBuf::from(text.as_bytes())
}

impl World {
    pub(super) fn new(nodes: u8) -> World {
        World {
            now_ms: 1_700_000_000_000,
            nodes: (0..nodes).map(|node| (node_id(node), Dht::default())).collect(),
            records: Records::new(),
            agenda: BTreeMap::new(),
            last_id: 0,
            outcomes: BTreeMap::new(),
            losing: 0,
            settling: 0,
            logged: 0,
            sent: 0,
            written: 0,
        }
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    fn owner(&self, key: Key) -> NodeId {
        let after = self.nodes.range(key..).next().or_else(|| self.nodes.first_key_value());
        *after.expect("a node").0
    }

    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(((time, number), _)) = self.agenda.first_key_value().filter(|((time, _), _)| *time <= end) {
            let at = (*time, *number);
            self.now_ms = at.0;
            match self.agenda.remove(&at).expect("it is there") {
                Happening::Deliver(node, message) => {
                    self.event(node, |dht, host| dht.handle_deliver(host, &message));
                    self.settling = self.settling.saturating_sub(usize::from(message.key.is_some()));
                }
                Happening::Failed(node, message) => {
                    self.event(node, |dht, host| dht.handle_failed(host, message, Failure::Unreachable));
                }
                Happening::Fired(node) => self.event(node, |dht, host| dht.handle_fired(host)),
            }
        }
        self.now_ms = end;
    }

    fn event(&mut self, node: NodeId, act: impl FnOnce(&mut Dht, &mut Turn<'_>)) {
        let mut dht = self.nodes.remove(&node).expect("a node");
        act(&mut dht, &mut Turn { world: self, node });
        self.nodes.insert(node, dht);
    }

    fn later(&mut self, after_ms: u64, happening: Happening) {
        self.last_id += 1;
        self.agenda.insert((self.now_ms + after_ms, self.last_id), happening);
    }

    /// A message arrives from a stranger.
    pub(super) fn inject(&mut self, to: NodeId, origin: NodeId, place: Option<Key>, payload: Vec<u8>) {
        let message = message(0, place, origin, &payload);
        self.event(to, |dht, host| dht.handle_deliver(host, &message));
    }

    /// A local program asks and waits for the answer.
    pub(super) fn ask<Q: Serialize, A: DeserializeOwned>(
        &mut self,
        node: NodeId,
        method: &str,
        question: &Q,
    ) -> Result<A, Refusal> {
        self.last_id += 1;
        let id = self.last_id;
        let body = serde_cbor::to_vec(question).expect("encodes");
        let request = Request { id, method: method.to_owned(), body };
        self.event(node, |dht, host| dht.handle_serve(host, request));
        self.run(15_000);
        match self.outcomes.remove(&id).expect("every request is answered") {
            Ok(body) => Ok(serde_cbor::from_slice(&body).expect("decodes")),
            Err(text) => Err(text.parse().expect("a refusal")),
        }
    }

    pub(super) fn put(
        &mut self,
        node: NodeId,
        name: &str,
        value: &[u8],
        expires_in: Option<u64>,
    ) -> Result<Stored, Refusal> {
        let (key, name, value) = (api(key(name)), bytes(name), ByteBuf::from(value));
        let before = self.now_ms;
        let stored = self.ask(node, PUT, &Put { key, name, value, expires_in });
        // The answer is all that took time.
        self.now_ms = before + 100;
        stored
    }

    pub(super) fn get(&mut self, node: NodeId, name: &str) -> Result<Option<Found>, Refusal> {
        let (key, name) = (api(key(name)), bytes(name));
        let before = self.now_ms;
        let found = self.ask(node, GET, &Get { key, name });
        self.now_ms = before;
        found
    }

    pub(super) fn remove(&mut self, node: NodeId, name: &str) -> Result<Stored, Refusal> {
        self.ask(node, REMOVE, &Remove { key: api(key(name)), name: bytes(name) })
    }
}

fn message(id: u64, key: Option<Key>, origin: NodeId, payload: &[u8]) -> Message {
    let payload = payload.to_vec();
    Message { id, key, dispatch: Dispatch::EndNode, origin, previous: origin, hops: 1, payload }
}

/// One event on one node.
struct Turn<'a> {
    world: &'a mut World,
    node: NodeId,
}

impl Turn<'_> {
    fn live(&self, at: &(Key, Vec<u8>)) -> Option<&Vec<u8>> {
        let (value, expires) = self.world.records.get(at)?;
        expires.is_none_or(|expires| expires > self.world.now_ms).then_some(value)
    }
}

impl Host for Turn<'_> {
    fn now_ms(&self) -> u64 {
        self.world.now_ms
    }

    fn myself(&self) -> NodeId {
        self.node
    }

    fn replicas(&self, _: Key, max: u32) -> u32 {
        // This node is not in the map during its event.
        max.min(self.world.nodes.len() as u32 + 1)
    }

    fn route(&mut self, key: Key, payload: &[u8]) -> Result<u64, Refusal> {
        self.world.sent += 1;
        self.world.last_id += 1;
        let id = self.world.last_id;
        let here = key.distance_to(self.node) <= key.distance_to(self.world.owner(key));
        let owner = if here { self.node } else { self.world.owner(key) };
        if self.world.losing > 0 {
            self.world.losing -= 1;
            self.world.later(LOST_MS, Happening::Failed(self.node, id));
        } else {
            let message = message(id, Some(key), self.node, payload);
            self.world.later(LATENCY_MS, Happening::Deliver(owner, message));
        }
        Ok(id)
    }

    fn send(&mut self, to: NodeId, payload: &[u8]) {
        let message = message(0, None, self.node, payload);
        if self.world.nodes.contains_key(&to) {
            self.world.later(LATENCY_MS, Happening::Deliver(to, message));
        }
    }

    fn get(&self, key: Key, name: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        if self.world.settling > 0 {
            return Err(Refusal::Unreachable);
        }
        Ok(self.live(&(key, name.to_vec())).cloned())
    }

    fn put(&mut self, key: Key, name: &[u8], value: &[u8], expires_in: Option<u64>) -> Result<(), Refusal> {
        let expires = expires_in.map(|seconds| self.world.now_ms + seconds * 1000);
        self.world.written += 1;
        self.world.records.insert((key, name.to_vec()), (value.to_vec(), expires));
        Ok(())
    }

    fn delete(&mut self, key: Key, name: &[u8]) -> Result<(), Refusal> {
        self.world.written += 1;
        self.world.records.remove(&(key, name.to_vec()));
        Ok(())
    }

    fn names(&self, key: Key, prefix: &[u8], after: Option<&[u8]>, max: u32) -> Result<Vec<Vec<u8>>, Refusal> {
        let names = self.world.records.keys().filter(|(at, name)| *at == key && name.starts_with(prefix));
        let page = names.map(|(_, name)| name.clone()).filter(|name| after.is_none_or(|after| name.as_slice() > after));
        Ok(page.take(max as usize).collect())
    }

    fn respond(&mut self, request: u64, outcome: Result<&[u8], &str>) {
        let outcome = outcome.map(<[u8]>::to_vec).map_err(str::to_owned);
        let earlier = self.world.outcomes.insert(request, outcome);
        assert!(earlier.is_none(), "a request is answered once");
    }

    fn set_timer(&mut self, after_ms: u64) -> bool {
        self.world.later(after_ms, Happening::Fired(self.node));
        true
    }

    fn log(&mut self, _: &str) {
        self.world.logged += 1;
    }
}
