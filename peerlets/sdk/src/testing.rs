//! A peerlet on one node of a test's own: events go in, what it asked for comes out. No ring, no sandbox.
//!
//! Several nodes on a real ring, in virtual time, are the business of the crate `prost-peerlet-ring`.
//!
//! ```
//! use prost_peerlet::testing::{Effect, Node, node_id};
//! use prost_peerlet::{Message, Peerlet, Result, route};
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl Peerlet for Echo {
//!     fn deliver(&mut self, message: Message) -> Result {
//!         route::send(message.origin, &message.payload)?;
//!         Ok(())
//!     }
//! }
//!
//! let mut node = Node::<Echo>::new("alice");
//! node.deliver(node_id("bob"), b"hello").unwrap();
//! assert!(matches!(&node.effects()[..], [Effect::Send { to, payload, .. }]
//!     if *to == node_id("bob") && payload == b"hello"));
//! ```

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::client::ClientError;
use crate::host::native::{Host, with};
use crate::identity::Signature;
use crate::log::Level;
use crate::route::{Replicas, RouteError};
use crate::storage::{Allowance, Place, StorageError};
use crate::timer::TimerError;
use crate::{Change, Dispatch, Failure, Id, Key, KeyRange, Message, NodeId, Peerlet, Request, Result, Start, Verdict};

/// When a test begins: 14 November 2023, some time before noon.
const ORIGIN: Duration = Duration::from_millis(1_700_000_000_000);
/// The largest payload, value and name, as on a node.
const PAYLOAD: usize = 128 << 10;
const VALUE: usize = 64 << 10;
const NAME: usize = 512;
/// Timers at once, writes and effects of an event: what a package gets that does not ask for more.
const TIMERS: usize = 256;
const EFFECTS: usize = 256;

/// Values, and when they expire.
type Records = BTreeMap<(Place, Vec<u8>), (Vec<u8>, Option<Duration>)>;

/// The id of a node with this name.
pub fn node_id(name: &str) -> NodeId {
    Id::hash(name.as_bytes())
}

/// What a peerlet asked for, besides records and timers, which the node keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in the contract")]
pub enum Effect {
    Route { id: u64, key: Key, payload: Vec<u8>, dispatch: Dispatch, hint: Option<NodeId> },
    Send { id: u64, to: NodeId, payload: Vec<u8> },
    Watch(NodeId),
    Unwatch(NodeId),
    Respond { request: u64, outcome: core::result::Result<Vec<u8>, String> },
    Push { request: u64, item: Vec<u8> },
    Log { level: Level, line: String },
}

/// A peerlet, and the node that it runs on.
pub struct Node<P> {
    /// The peerlet.
    pub peerlet: P,
    /// What the node is like; a test may change it between events.
    pub state: State,
    requests: u64,
}

/// What a node is like.
#[derive(Debug, Clone)]
pub struct State {
    /// Its id.
    pub id: NodeId,
    /// The other members of the ring, all of which it knows.
    pub others: BTreeSet<NodeId>,
    /// Round-trip times to the nodes that it is connected to, in microseconds.
    pub round_trips: BTreeMap<NodeId, u32>,
    /// Whether it is a member of a ring.
    pub joined: bool,
    /// Keys whose records are not here.
    pub elsewhere: BTreeSet<Key>,
    /// Bytes of records that it takes.
    pub storage_bytes: u64,
    /// Writes and deletions so far.
    pub writes: u64,
    /// Time since the test began.
    pub now: Duration,
    /// Its clock is ahead by this.
    pub ahead: Duration,
    records: Records,
    timers: BTreeMap<(Duration, u64), u64>,
    last_id: u64,
    drawn: u64,
    effects: Vec<Effect>,
    /// Effects and writes of the event under way.
    asked: usize,
    answered: BTreeSet<u64>,
}

impl<P: Peerlet + Default> Node<P> {
    /// A node of this name, alone in its ring, whose peerlet has started.
    pub fn new(name: &str) -> Node<P> {
        Node::with_settings(name, &[])
    }

    /// The same, with the operator's settings.
    ///
    /// # Panics
    ///
    /// Where the peerlet will not start.
    pub fn with_settings(name: &str, settings: &[u8]) -> Node<P> {
        let mut node = Node { peerlet: P::default(), state: State::new(node_id(name)), requests: 0 };
        node.init(settings).expect("the peerlet starts");
        node
    }

    /// The instance starts anew from its records, as after a trap. Timers stay set.
    pub fn restart(&mut self) -> Result {
        self.peerlet = P::default();
        self.init(&[])
    }

    fn init(&mut self, settings: &[u8]) -> Result {
        let start = Start { version: "0.1.0".to_owned(), upgraded_from: None, settings: settings.to_vec() };
        self.event(|peerlet| peerlet.init(start))
    }
}

impl<P: Peerlet> Node<P> {
    /// Something happens to the peerlet that is no event of the contract. Whatever it asks for counts.
    pub fn act<T>(&mut self, act: impl FnOnce(&mut P) -> T) -> T {
        let peerlet = &mut self.peerlet;
        let mut state = self.state.clone();
        state.asked = 0;
        let (state, result) = with(state, || act(peerlet));
        self.state = state;
        result
    }

    /// A message straight from a node.
    ///
    /// # Errors
    ///
    /// The handler's, of which nothing takes effect then.
    pub fn deliver(&mut self, from: NodeId, payload: &[u8]) -> Result {
        let message = self.message(from, None, payload);
        self.event(|peerlet| peerlet.deliver(message))
    }

    /// A message that was routed to a key for which this node is responsible.
    ///
    /// # Errors
    ///
    /// As [`deliver`](Node::deliver).
    pub fn deliver_routed(&mut self, key: Key, from: NodeId, payload: &[u8]) -> Result {
        let message = self.message(from, Some(key), payload);
        self.event(|peerlet| peerlet.deliver(message))
    }

    /// A message of any kind.
    ///
    /// # Errors
    ///
    /// As [`deliver`](Node::deliver).
    pub fn deliver_message(&mut self, message: Message) -> Result {
        self.event(|peerlet| peerlet.deliver(message))
    }

    /// A message of type 0 is about to go on to `next`.
    pub fn forward(&mut self, message: Message, next: NodeId) -> Verdict {
        self.act(|peerlet| peerlet.forward(message, next))
    }

    /// A local program asks. Its answer is among the [`answers`](Node::answers), under the number that this returns.
    ///
    /// # Errors
    ///
    /// As [`deliver`](Node::deliver).
    pub fn serve(&mut self, method: &str, body: &[u8]) -> Result<u64> {
        self.requests += 1;
        let request = Request { id: self.requests, method: method.to_owned(), body: body.to_vec() };
        self.event(|peerlet| peerlet.serve(request)).map(|()| self.requests)
    }

    /// The neighbourhood has changed.
    pub fn update(&mut self, change: Change) {
        self.act(|peerlet| peerlet.update(change));
    }

    /// A message came to nothing.
    pub fn failed(&mut self, message: u64, reason: Failure) {
        self.act(|peerlet| peerlet.failed(message, reason));
    }

    /// Time passes, and timers run out in their order.
    pub fn run(&mut self, time: Duration) {
        let end = self.state.now + time;
        while let Some(entry) = self.state.timers.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, timer), tag) = entry.remove_entry();
            self.state.now = self.state.now.max(at);
            self.act(|peerlet| peerlet.fired(timer, tag));
        }
        self.state.now = end;
    }

    /// Takes what the peerlet has asked for since the last call.
    pub fn effects(&mut self) -> Vec<Effect> {
        core::mem::take(&mut self.state.effects)
    }

    /// Takes the answers to local programs among it, and leaves the rest.
    pub fn answers(&mut self) -> Vec<(u64, core::result::Result<Vec<u8>, String>)> {
        let effects = self.effects();
        let (answers, rest) = effects.into_iter().partition(|effect| matches!(effect, Effect::Respond { .. }));
        self.state.effects = rest;
        let answers: Vec<Effect> = answers;
        let answer =
            |effect| if let Effect::Respond { request, outcome } = effect { Some((request, outcome)) } else { None };
        answers.into_iter().filter_map(answer).collect()
    }

    /// Timers of the node that are set.
    pub fn timers(&self) -> usize {
        self.state.timers.len()
    }

    /// Records that have not expired.
    pub fn records(&self) -> usize {
        self.state.records.keys().filter(|(place, name)| self.state.live(*place, name).is_some()).count()
    }

    /// A message as a node shows it.
    pub fn message(&mut self, from: NodeId, key: Option<Key>, payload: &[u8]) -> Message {
        let id = self.state.next_id();
        let payload = payload.to_vec();
        Message { id, key, dispatch: Dispatch::EndNode, origin: from, previous: from, hops: 1, payload }
    }

    /// A transaction: where the handler returns an error, nothing of it has happened.
    fn event<T>(&mut self, act: impl FnOnce(&mut P) -> Result<T>) -> Result<T> {
        let before = self.state.clone();
        let result = self.act(act);
        if result.is_err() {
            self.state = before;
        }
        result
    }
}

impl State {
    fn new(id: NodeId) -> State {
        State {
            id,
            others: BTreeSet::new(),
            round_trips: BTreeMap::new(),
            joined: true,
            elsewhere: BTreeSet::new(),
            storage_bytes: 256 << 20,
            writes: 0,
            now: Duration::ZERO,
            ahead: Duration::ZERO,
            records: BTreeMap::new(),
            timers: BTreeMap::new(),
            last_id: 0,
            drawn: 0,
            effects: Vec::new(),
            asked: 0,
            answered: BTreeSet::new(),
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// When the next timer runs out, as time since the test began.
    pub fn next_timer(&self) -> Option<Duration> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes over the keyed records of another node, as when responsibility moves.
    pub fn copy_records(&mut self, of: &State) {
        let keyed = of.records.iter().filter(|((place, _), _)| matches!(place, Place::At(_)));
        self.records.extend(keyed.map(|(name, value)| (name.clone(), value.clone())));
    }

    fn count(&mut self) {
        self.asked += 1;
        assert!(self.asked <= EFFECTS, "an event may ask for {EFFECTS} effects and writes: a node would trap it");
    }

    fn effect(&mut self, effect: Effect) {
        self.count();
        self.effects.push(effect);
    }

    fn may_send(&self, payload: &[u8]) -> core::result::Result<(), RouteError> {
        if payload.len() > PAYLOAD {
            return Err(RouteError::TooLarge);
        }
        if self.joined { Ok(()) } else { Err(RouteError::NotJoined) }
    }

    fn live(&self, place: Place, name: &[u8]) -> Option<&Vec<u8>> {
        let (value, expires) = self.records.get(&(place, name.to_vec()))?;
        expires.is_none_or(|expires| expires > self.now).then_some(value)
    }

    fn here(&self, place: Place) -> core::result::Result<(), StorageError> {
        match place {
            Place::At(key) if self.elsewhere.contains(&key) => Err(StorageError::NotHere),
            Place::At(_) | Place::Node => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        let bytes =
            |((_, name), (value, _)): (&(Place, Vec<u8>), &(Vec<u8>, _))| (name.len() + value.len() + 64) as u64;
        self.records.iter().map(bytes).sum()
    }

    /// The ring clockwise from a point, this node included.
    fn ring_from(&self, key: Key) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.others.iter().copied().chain([self.id]).collect();
        nodes.sort_by_key(|node| key.distance_to(*node));
        nodes
    }
}

impl Host for State {
    fn monotonic(&self) -> Duration {
        self.now + Duration::from_secs(3600)
    }

    fn wall(&self) -> Duration {
        ORIGIN + self.now + self.ahead
    }

    fn random(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(Id::LEN) {
            self.drawn += 1;
            let drawn = Id::hash(&[self.id.to_bytes().as_slice(), &self.drawn.to_be_bytes()].concat());
            chunk.copy_from_slice(&drawn.to_bytes()[..chunk.len()]);
        }
    }

    fn route(
        &mut self,
        key: Key,
        payload: &[u8],
        dispatch: Dispatch,
        hint: Option<NodeId>,
    ) -> core::result::Result<u64, RouteError> {
        self.may_send(payload)?;
        let id = self.next_id();
        self.effect(Effect::Route { id, key, payload: payload.to_vec(), dispatch, hint });
        Ok(id)
    }

    fn send(&mut self, to: NodeId, payload: &[u8]) -> core::result::Result<u64, RouteError> {
        self.may_send(payload)?;
        let id = self.next_id();
        self.effect(Effect::Send { id, to, payload: payload.to_vec() });
        Ok(id)
    }

    fn myself(&self) -> NodeId {
        self.id
    }

    fn local_lookup(&self, key: Key, max: u32, _: bool) -> Vec<NodeId> {
        self.ring_from(key).into_iter().filter(|node| *node != self.id).take(max as usize).collect()
    }

    fn neighbour_set(&self, max: u32) -> Vec<NodeId> {
        self.ring_from(self.id).into_iter().skip(1).take(max as usize).collect()
    }

    fn replica_set(&self, key: Key, max: u32) -> Replicas {
        let nodes = self.ring_from(key);
        let complete = true;
        Replicas { nodes: nodes.into_iter().take(max as usize).collect(), complete }
    }

    fn range(&self, node: NodeId, rank: u32) -> Option<KeyRange> {
        let ring = self.ring_from(node);
        let back = |steps: usize| ring.get((ring.len() * (steps + 1) - steps) % ring.len()).copied();
        let steps = rank as usize;
        if steps >= ring.len() {
            return None;
        }
        Some(KeyRange { after: back(steps + 1)?, upto: back(steps)? })
    }

    fn round_trip(&self, node: NodeId) -> Option<u32> {
        self.round_trips.get(&node).copied()
    }

    fn watch(&mut self, node: NodeId) -> core::result::Result<(), RouteError> {
        if !self.joined {
            return Err(RouteError::NotJoined);
        }
        self.effect(Effect::Watch(node));
        Ok(())
    }

    fn unwatch(&mut self, node: NodeId) {
        self.effect(Effect::Unwatch(node));
    }

    fn get(&mut self, place: Place, name: &[u8]) -> core::result::Result<Option<Vec<u8>>, StorageError> {
        self.here(place)?;
        Ok(self.live(place, name).cloned())
    }

    fn put(
        &mut self,
        place: Place,
        name: &[u8],
        value: &[u8],
        expires_in: Option<u64>,
    ) -> core::result::Result<(), StorageError> {
        if name.len() > NAME || value.len() > VALUE {
            return Err(StorageError::TooLarge);
        }
        self.here(place)?;
        let before = self.live(place, name).map_or(0, |value| (name.len() + value.len() + 64) as u64);
        if self.used() - before + (name.len() + value.len() + 64) as u64 > self.storage_bytes {
            return Err(StorageError::OverQuota);
        }
        self.count();
        self.writes += 1;
        let expires = expires_in.map(|seconds| self.now + Duration::from_secs(seconds));
        self.records.insert((place, name.to_vec()), (value.to_vec(), expires));
        Ok(())
    }

    fn delete(&mut self, place: Place, name: &[u8]) -> core::result::Result<(), StorageError> {
        self.here(place)?;
        self.count();
        self.writes += 1;
        self.records.remove(&(place, name.to_vec()));
        Ok(())
    }

    fn names(
        &mut self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: u32,
    ) -> core::result::Result<Vec<Vec<u8>>, StorageError> {
        self.here(place)?;
        let in_page = |name: &Vec<u8>| name.starts_with(prefix) && after.is_none_or(|after| name.as_slice() > after);
        let names = self.records.keys().filter(|(at, name)| *at == place && in_page(name));
        let names = names.filter(|(place, name)| self.live(*place, name).is_some());
        Ok(names.map(|(_, name)| name.clone()).take(max.min(1024) as usize).collect())
    }

    fn keys(&mut self, range: KeyRange, after: Option<Key>, max: u32) -> core::result::Result<Vec<Key>, StorageError> {
        let position = |key: Key| (key == range.after, range.after.distance_to(key));
        let keys: BTreeSet<_> = self
            .records
            .keys()
            .filter(|(place, name)| self.live(*place, name).is_some())
            .filter_map(|(place, _)| if let Place::At(key) = place { Some(*key) } else { None })
            .filter(|key| range.contains(*key) && after.is_none_or(|after| position(*key) > position(after)))
            .map(|key| (position(key), key))
            .collect();
        Ok(keys.into_iter().map(|(_, key)| key).take(max.min(1024) as usize).collect())
    }

    fn usage(&self) -> Allowance {
        Allowance { used_bytes: self.used(), limit_bytes: self.storage_bytes }
    }

    fn set_timer(&mut self, after_ms: u64, tag: u64) -> core::result::Result<u64, TimerError> {
        assert!(self.timers.len() < TIMERS, "a node gives {TIMERS} timers at once and drops more: see Timers");
        self.count();
        let timer = self.next_id();
        self.timers.insert((self.now + Duration::from_millis(after_ms), timer), tag);
        Ok(timer)
    }

    fn cancel_timer(&mut self, timer: u64) {
        self.count();
        self.timers.retain(|(_, set), _| *set != timer);
    }

    fn respond(
        &mut self,
        request: u64,
        outcome: core::result::Result<&[u8], &str>,
    ) -> core::result::Result<(), ClientError> {
        if outcome.is_ok_and(|body| body.len() > PAYLOAD) {
            return Err(ClientError::TooLarge);
        }
        if !self.answered.insert(request) {
            return Err(ClientError::Gone);
        }
        let outcome = outcome.map(<[u8]>::to_vec).map_err(str::to_owned);
        self.effect(Effect::Respond { request, outcome });
        Ok(())
    }

    fn push(&mut self, request: u64, item: &[u8]) -> core::result::Result<(), ClientError> {
        if self.answered.contains(&request) {
            return Err(ClientError::Gone);
        }
        self.effect(Effect::Push { request, item: item.to_vec() });
        Ok(())
    }

    /// No proof of anything: a digest that every test can make.
    fn sign(&mut self, statement: &[u8]) -> Signature {
        let bytes = Id::hash(&[self.id.to_bytes().as_slice(), statement].concat()).to_bytes().to_vec();
        Signature { public_key: self.id.to_bytes().to_vec(), bytes }
    }

    fn verify(&self, signer: NodeId, statement: &[u8], signature: &Signature) -> bool {
        let bytes = Id::hash(&[signer.to_bytes().as_slice(), statement].concat()).to_bytes();
        signature.public_key == signer.to_bytes() && signature.bytes == bytes
    }

    fn log(&mut self, level: Level, line: &str) {
        self.effects.push(Effect::Log { level, line: line.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{route, storage};

    #[derive(Default)]
    struct Nothing;

    impl Peerlet for Nothing {
        fn deliver(&mut self, message: Message) -> Result {
            storage::put(Place::Node, &message.payload, b"", None)?;
            if message.payload == b"bad" { Err(crate::Error::new("told to")) } else { Ok(()) }
        }
    }

    #[test]
    fn what_a_handler_did_that_fails_has_not_happened() {
        let mut node = Node::<Nothing>::new("a");
        node.deliver(node_id("b"), b"good").expect("taken");
        node.deliver(node_id("b"), b"bad").expect_err("refused");
        assert_eq!(node.records(), 1);
    }

    #[test]
    fn ranges_divide_the_ring_as_ranks_say() {
        let mut node = Node::<Nothing>::new("a");
        node.state.others = ["b", "c", "d", "e"].map(node_id).into();
        let me = node.state.id;
        let others: Vec<NodeId> = node.act(|_| route::neighbour_set(9));
        let last = *others.last().expect("a predecessor");
        let own = node.act(|_| route::range(me, 0)).expect("known");
        assert_eq!(own, KeyRange { after: last, upto: me });
        let second = node.act(|_| route::range(me, 1)).expect("known");
        assert_eq!(second.upto, last);
        assert_eq!(node.act(|_| route::range(me, 5)), None);
        for key in (0..50u8).map(|name| Id::hash(&[name])) {
            let replicas = node.act(|_| route::replica_set(key, 2)).nodes;
            assert_eq!(own.contains(key), replicas[0] == me);
            assert_eq!(second.contains(key), replicas[1] == me);
        }
    }
}
