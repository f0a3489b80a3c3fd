//! Several nodes in virtual time, with a ring that all of them see alike.

use std::collections::{BTreeMap, BTreeSet};

use prost_dht_api::{Found, GET, Get, Id as ApiId, LIST, List, Listed, PUT, Put, REMOVE, Refusal, Remove, Stored};
use prost_peerlet::{Change, Dispatch, Failure, Id, Key, KeyRange, Message, NodeId, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use crate::dht::Dht;
use crate::host::{Host, StoreFailed};

/// What the sandbox allows one event.
const MAX_EFFECTS: usize = 256;
const MAX_PAYLOAD: usize = 128 << 10;
/// How long a message takes.
const LATENCY_MS: u64 = 5;
/// How long it takes to see that a message got lost.
const LOST_MS: u64 = 2_000;

type Records = BTreeMap<(Key, Vec<u8>), (Vec<u8>, Option<u64>)>;

#[derive(Default)]
struct Member {
    dht: Dht,
    records: Records,
    clock_ahead_ms: u64,
    quota: Option<usize>,
}

enum Happening {
    Deliver(NodeId, Message),
    Failed(NodeId, u64, Failure),
    Fired(NodeId, u64),
}

enum Effect {
    Route(u64, Key, Vec<u8>),
    Send(u64, NodeId, Vec<u8>),
    Timer(u64, u64),
    Respond(u64, Result<Vec<u8>, String>),
    Write,
}

/// The world of one test.
pub(super) struct World {
    now_ms: u64,
    members: BTreeMap<NodeId, Member>,
    /// Nodes that are gone, with what their disks hold.
    disks: BTreeMap<NodeId, Records>,
    agenda: BTreeMap<(u64, u64), Happening>,
    last_id: u64,
    /// Nodes that take messages and lose them.
    pub(super) mute: BTreeSet<NodeId>,
    /// Nodes whose policy denies the application.
    pub(super) refusing: BTreeSet<NodeId>,
    outcomes: BTreeMap<u64, Vec<Result<Vec<u8>, String>>>,
    pub(super) logged: usize,
    pub(super) sent: usize,
}

impl World {
    /// That many nodes, long after they started.
    pub(super) fn settled(nodes: u8) -> World {
        let mut world = World {
            now_ms: 1_700_000_000_000,
            members: BTreeMap::new(),
            disks: BTreeMap::new(),
            agenda: BTreeMap::new(),
            last_id: 0,
            mute: BTreeSet::new(),
            refusing: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            logged: 0,
            sent: 0,
        };
        for node in 0..nodes {
            world.start(node_id(node));
        }
        world.run(70_000);
        world
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    /// The nodes that should hold a key's records, the responsible one first.
    pub(super) fn owners(&self, key: Key) -> Vec<NodeId> {
        let ring = self.nodes();
        let first = ring.partition_point(|node| *node < key);
        (0..ring.len().min(3)).map(|at| ring[(first + at) % ring.len()]).collect()
    }

    /// A node joins, with what its disk held when it left.
    pub(super) fn start(&mut self, node: NodeId) {
        let records = self.disks.remove(&node).unwrap_or_default();
        self.members.insert(node, Member { records, ..Member::default() });
        self.event(node, |dht, host| dht.handle_init(host, &[]).expect("the default settings are good"));
        self.changed(Change::Joined(node));
        let after = self.predecessor(node);
        self.event(node, |dht, host| dht.handle_update(host, Change::Gained(KeyRange { after, upto: node })));
    }

    /// A node stops without a word, and the others see it.
    pub(super) fn kill(&mut self, node: NodeId) {
        let Some(member) = self.members.remove(&node) else { return };
        self.disks.insert(node, member.records);
        self.changed(Change::Left(node));
        let heir = self.owners(node)[0];
        let after = self.predecessor(heir);
        self.event(heir, |dht, host| dht.handle_update(host, Change::Gained(KeyRange { after, upto: heir })));
    }

    pub(super) fn set_clock_ahead(&mut self, node: NodeId, ahead_ms: u64) {
        self.members.get_mut(&node).expect("a member").clock_ahead_ms = ahead_ms;
    }

    /// The node loses what it holds and what it knows.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.kill(node);
        self.disks.remove(&node);
        self.start(node);
    }

    pub(super) fn set_quota(&mut self, node: NodeId, records: usize) {
        self.members.get_mut(&node).expect("a member").quota = Some(records);
    }

    pub(super) fn holds(&self, node: NodeId, key: Key) -> bool {
        self.members[&node].records.keys().any(|(at, name)| *at == key && name[0] == b'v')
    }

    pub(super) fn holders(&self, key: Key) -> Vec<NodeId> {
        self.nodes().into_iter().filter(|node| self.holds(*node, key)).collect()
    }

    /// A message arrives from outside.
    pub(super) fn inject(&mut self, to: NodeId, from: NodeId, key: Option<Key>, payload: Vec<u8>) {
        self.last_id += 1;
        let message = message(self.last_id, key, from, payload);
        self.event(to, |dht, host| dht.handle_deliver(host, message));
    }

    /// A request that is not waited for. Returns its number.
    pub(super) fn ask<T: Serialize>(&mut self, at: NodeId, method: &str, body: &T) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let request = Request { id, method: method.to_owned(), body: serde_cbor::to_vec(body).expect("encodes") };
        self.event(at, |dht, host| dht.handle_serve(host, request));
        id
    }

    /// How often a request was answered so far, and how at first.
    pub(super) fn outcome(&self, request: u64) -> Option<&Result<Vec<u8>, String>> {
        let outcomes = self.outcomes.get(&request)?;
        assert_eq!(outcomes.len(), 1, "a request is answered once");
        outcomes.first()
    }

    pub(super) fn put(&mut self, at: NodeId, name: &str, value: &[u8]) -> Result<Stored, Refusal> {
        self.call(at, PUT, &put(name, value, None))
    }

    pub(super) fn put_for(&mut self, at: NodeId, name: &str, value: &[u8], seconds: u64) -> Result<Stored, Refusal> {
        self.call(at, PUT, &put(name, value, Some(seconds)))
    }

    pub(super) fn get(&mut self, at: NodeId, name: &str) -> Result<Option<Found>, Refusal> {
        self.call(at, GET, &Get { key: api(key(name)), name: ByteBuf::from(name) })
    }

    pub(super) fn value(&mut self, at: NodeId, name: &str) -> Option<Vec<u8>> {
        self.get(at, name).expect("the get succeeds").map(|found| found.value.into_vec())
    }

    pub(super) fn remove(&mut self, at: NodeId, name: &str) -> Result<Stored, Refusal> {
        self.call(at, REMOVE, &Remove { key: api(key(name)), name: ByteBuf::from(name) })
    }

    pub(super) fn list(&mut self, at: NodeId, list: &List) -> Result<Listed, Refusal> {
        self.call(at, LIST, list)
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(((at, _), _)) = self.agenda.first_key_value().filter(|((at, _), _)| *at <= end) {
            self.now_ms = *at;
            self.step();
        }
        self.now_ms = end;
    }

    fn call<T: Serialize, R: DeserializeOwned>(&mut self, at: NodeId, method: &str, body: &T) -> Result<R, Refusal> {
        let request = self.ask(at, method, body);
        while self.outcome(request).is_none() {
            let ((at, _), _) = self.agenda.first_key_value().expect("a request is never forgotten");
            self.now_ms = *at;
            self.step();
        }
        match self.outcome(request).expect("just seen") {
            Ok(body) => Ok(serde_cbor::from_slice(body).expect("an answer as documented")),
            Err(text) => Err(text.parse().expect("a known refusal")),
        }
    }

    fn step(&mut self) {
        let Some((_, happening)) = self.agenda.pop_first() else { return };
        match happening {
            Happening::Deliver(node, message) => self.event(node, |dht, host| dht.handle_deliver(host, message)),
            Happening::Failed(node, id, why) => self.event(node, |dht, host| dht.handle_failed(host, id, why)),
            Happening::Fired(node, tag) => self.event(node, |dht, host| dht.handle_fired(host, tag)),
        }
    }

    fn changed(&mut self, change: Change) {
        for node in self.nodes() {
            self.event(node, |dht, host| dht.handle_update(host, change));
        }
    }

    fn predecessor(&self, node: NodeId) -> NodeId {
        let ring = self.nodes();
        let at = ring.partition_point(|other| *other < node);
        ring[(at + ring.len() - 1) % ring.len()]
    }

    fn event(&mut self, node: NodeId, handle: impl FnOnce(&mut Dht, &mut dyn Host)) {
        let ring = self.nodes();
        let Some(member) = self.members.get_mut(&node) else { return };
        let mut host = FakeHost {
            myself: node,
            now_ms: self.now_ms + member.clock_ahead_ms,
            ring: &ring,
            records: &mut member.records,
            quota: member.quota,
            last_id: &mut self.last_id,
            effects: Vec::new(),
            logged: 0,
        };
        handle(&mut member.dht, &mut host);
        let (effects, logged) = (host.effects, host.logged);
        self.logged += logged;
        assert!(effects.len() <= MAX_EFFECTS, "an event asked for {} effects", effects.len());
        for effect in effects {
            self.perform(node, effect);
        }
    }

    fn perform(&mut self, node: NodeId, effect: Effect) {
        match effect {
            Effect::Route(id, key, payload) => {
                let willing = self.owners(key).into_iter().find(|owner| !self.refusing.contains(owner));
                match willing {
                    Some(to) => self.post(node, to, message(id, Some(key), node, payload)),
                    None => self.plan(LATENCY_MS, Happening::Failed(node, id, Failure::NoWillingNode)),
                }
            }
            Effect::Send(id, to, payload) => self.post(node, to, message(id, None, node, payload)),
            Effect::Timer(after_ms, tag) => self.plan(after_ms, Happening::Fired(node, tag)),
            Effect::Respond(request, outcome) => self.outcomes.entry(request).or_default().push(outcome),
            Effect::Write => {}
        }
    }

    fn post(&mut self, from: NodeId, to: NodeId, message: Message) {
        assert!(message.payload.len() <= MAX_PAYLOAD);
        self.sent += 1;
        let id = message.id;
        if self.refusing.contains(&to) {
            self.plan(LATENCY_MS, Happening::Failed(from, id, Failure::NoWillingNode));
        } else if !self.members.contains_key(&to) {
            self.plan(LATENCY_MS, Happening::Failed(from, id, Failure::Unreachable));
        } else if !self.mute.contains(&to) {
            self.plan(LATENCY_MS, Happening::Deliver(to, message));
        } else if message.key.is_none() {
            self.plan(LOST_MS, Happening::Failed(from, id, Failure::Deadline));
        }
    }

    fn plan(&mut self, after_ms: u64, happening: Happening) {
        self.last_id += 1;
        self.agenda.insert((self.now_ms + after_ms, self.last_id), happening);
    }
}

struct FakeHost<'a> {
    myself: NodeId,
    now_ms: u64,
    ring: &'a [NodeId],
    records: &'a mut Records,
    quota: Option<usize>,
    last_id: &'a mut u64,
    effects: Vec<Effect>,
    logged: usize,
}

impl Host for FakeHost<'_> {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn myself(&self) -> NodeId {
        self.myself
    }

    fn replica_set(&self, key: Key, max: u32) -> Vec<NodeId> {
        let first = self.ring.partition_point(|node| *node < key);
        (0..self.ring.len().min(max as usize)).map(|at| self.ring[(first + at) % self.ring.len()]).collect()
    }

    fn route(&mut self, key: Key, payload: &[u8]) -> Result<u64, Refusal> {
        *self.last_id += 1;
        self.effects.push(Effect::Route(*self.last_id, key, payload.to_vec()));
        Ok(*self.last_id)
    }

    fn send(&mut self, to: NodeId, payload: &[u8]) -> Option<u64> {
        assert_ne!(to, self.myself, "a node does not send to itself");
        *self.last_id += 1;
        self.effects.push(Effect::Send(*self.last_id, to, payload.to_vec()));
        Some(*self.last_id)
    }

    fn get(&self, key: Key, name: &[u8]) -> Result<Option<Vec<u8>>, StoreFailed> {
        Ok(self.records.get(&(key, name.to_vec())).map(|(value, _)| value.clone()))
    }

    fn put(&mut self, key: Key, name: &[u8], value: &[u8], expires_in: Option<u64>) -> Result<(), StoreFailed> {
        let place = (key, name.to_vec());
        if self.quota.is_some_and(|quota| self.records.len() >= quota) && !self.records.contains_key(&place) {
            return Err(StoreFailed);
        }
        self.records.insert(place, (value.to_vec(), expires_in));
        self.effects.push(Effect::Write);
        Ok(())
    }

    fn delete(&mut self, key: Key, name: &[u8]) -> Result<(), StoreFailed> {
        self.records.remove(&(key, name.to_vec()));
        self.effects.push(Effect::Write);
        Ok(())
    }

    fn names(&self, key: Key, prefix: &[u8], after: Option<&[u8]>, max: u32) -> Result<Vec<Vec<u8>>, StoreFailed> {
        let here = self.records.keys().filter(|(at, _)| *at == key).map(|(_, name)| name);
        let asked = here.filter(|name| name.starts_with(prefix) && after.is_none_or(|after| name.as_slice() > after));
        Ok(asked.take(max as usize).cloned().collect())
    }

    fn keys(&self, after: Option<Key>, max: u32) -> Result<Vec<Key>, StoreFailed> {
        let keys: BTreeSet<Key> = self.records.keys().map(|(key, _)| *key).collect();
        Ok(keys.into_iter().filter(|key| after.is_none_or(|after| *key > after)).take(max as usize).collect())
    }

    fn respond(&mut self, request: u64, outcome: Result<&[u8], &str>) {
        self.effects.push(Effect::Respond(request, outcome.map(<[u8]>::to_vec).map_err(str::to_owned)));
    }

    fn set_timer(&mut self, after_ms: u64, tag: u64) -> bool {
        self.effects.push(Effect::Timer(after_ms, tag));
        true
    }

    fn log(&mut self, _line: &str) {
        self.logged += 1;
    }
}

pub(super) fn node_id(node: u8) -> NodeId {
    Id::hash(&[node])
}

pub(super) fn key(name: &str) -> Key {
    Id::hash(name.as_bytes())
}

pub(super) fn api(id: Id) -> ApiId {
    ApiId::new(id.to_bytes())
}

pub(super) fn put(name: &str, value: &[u8], expires_in: Option<u64>) -> Put {
    Put { key: api(key(name)), name: ByteBuf::from(name), value: ByteBuf::from(value), expires_in }
}

fn message(id: u64, key: Option<Key>, from: NodeId, payload: Vec<u8>) -> Message {
    Message { id, key, dispatch: Dispatch::EndNode, origin: from, previous: from, hops: 1, payload }
}
