//! What a handler may do while one event lasts: the contract's calls, as far as they do not depend on who runs the peerlet.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost_kbr::{Dispatch, Interval, Key, NodeId, Replicas};

use crate::overlay::Overlay;
use crate::records::{MAX_COPIES, Place, Records, Unavailable, record_bytes};
use crate::{Context, Effect, Limits, Write};

/// Bytes of effects and writes that one event may hand over, all together. A guess: it lets a handler send 128 payloads
/// of the largest default size.
const EVENT_BYTES: usize = 16 << 20;
/// Nodes in one answer about the ring.
pub const MAX_NODES: usize = 64;
/// Names or keys in one page of a list.
pub const MAX_PAGE: usize = 1_024;
/// Bytes of an id, as they count among what an event hands over.
const ID: usize = 24;

/// The event asked for more than one event may: it ends, and nothing of it takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Too many effects and writes.
    Effects,
    /// Too many bytes of them.
    Data,
}

impl Excess {
    /// In words.
    pub const fn message(self) -> &'static str {
        match self {
            Excess::Effects => "the event asked for too many effects",
            Excess::Data => "the event handed over too much data",
        }
    }
}

/// Why a message is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The payload is longer than [`Limits::payload_bytes`].
    TooLarge,
    /// The node is not a member of a ring.
    NotJoined,
}

/// Why a record is not read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageError {
    /// The application, or the node's disk, has no room for it.
    OverQuota,
    /// The name or the value is too long.
    TooLarge,
    /// The node is no replica of the key, or does not have its records yet.
    NotHere,
    /// The store failed; the event is rolled back, whatever the handler makes of it.
    Unavailable,
}

/// Why a program is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientError {
    /// This event has answered it before.
    Gone,
    /// The answer is longer than [`Limits::payload_bytes`].
    TooLarge,
}

/// One event on one application: what surrounds it, the records, and what its handler has asked for so far.
pub struct Turn {
    limits: Limits,
    context: Context,
    records: Overlay,
    effects: Vec<Effect>,
    writes: Vec<Write>,
    /// Bytes of effects and writes.
    bytes: usize,
    ids: u64,
    answered: BTreeSet<u64>,
    store_failed: bool,
}

impl Turn {
    /// No event yet. `context` is what a handler would learn that runs before the first.
    pub fn new(limits: Limits, context: Context) -> Turn {
        Turn {
            limits,
            context,
            records: Overlay::default(),
            effects: Vec::new(),
            writes: Vec::new(),
            bytes: 0,
            ids: 0,
            answered: BTreeSet::new(),
            store_failed: false,
        }
    }

    /// An event starts, over these records.
    pub fn begin(&mut self, context: Context, mut records: Overlay) {
        records.begin(context.now_ms);
        self.context = context;
        self.records = records;
        self.effects.clear();
        self.writes.clear();
        (self.bytes, self.ids, self.store_failed) = (0, 0, false);
        self.answered.clear();
    }

    /// The event is over: the records, with its writes where it ended `well`, and what it asked for then.
    pub fn end(&mut self, well: bool) -> (Overlay, Vec<Effect>, Vec<Write>) {
        let mut records = core::mem::take(&mut self.records);
        let (effects, writes) = (core::mem::take(&mut self.effects), core::mem::take(&mut self.writes));
        if well {
            records.keep();
            (records, effects, writes)
        } else {
            records.roll_back();
            (records, Vec::new(), Vec::new())
        }
    }

    /// The limits of an event.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What surrounds the event.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether the store failed: nothing of the event takes effect then.
    pub fn store_failed(&self) -> bool {
        self.store_failed
    }

    /// `route.route`: the message's id.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn route(
        &mut self,
        key: Key,
        payload: Vec<u8>,
        dispatch: Dispatch,
        hint: Option<NodeId>,
    ) -> Result<Result<u64, SendError>, Excess> {
        let length = payload.len();
        if let Err(error) = self.may_send(length) {
            return Ok(Err(error));
        }
        let id = self.next_id();
        self.effect(Effect::Route { id, key, payload: payload.into(), dispatch, hint }, length)?;
        Ok(Ok(id))
    }

    /// `route.send`: the message's id.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn send(&mut self, to: NodeId, payload: Vec<u8>) -> Result<Result<u64, SendError>, Excess> {
        let length = payload.len();
        if let Err(error) = self.may_send(length) {
            return Ok(Err(error));
        }
        let id = self.next_id();
        self.effect(Effect::Send { id, to, payload: payload.into() }, length)?;
        Ok(Ok(id))
    }

    /// `route.local-lookup`.
    pub fn local_lookup(&self, key: Key, max: u32, safe: bool) -> Vec<NodeId> {
        self.context.view.local_lookup(key, at_most(max, MAX_NODES), safe)
    }

    /// `route.neighbour-set`.
    pub fn neighbour_set(&self, max: u32) -> Vec<NodeId> {
        self.context.view.neighbour_set(at_most(max, MAX_NODES))
    }

    /// `route.replica-set`.
    pub fn replica_set(&self, key: Key, max: u32) -> Replicas {
        let bound = at_most(max, MAX_NODES);
        let replicas = self.context.view.replica_set(key, bound);
        Replicas { complete: replicas.complete && bound == max as usize, ..replicas }
    }

    /// `route.watch`.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn watch(&mut self, node: NodeId) -> Result<Result<(), SendError>, Excess> {
        if !self.context.view.joined {
            return Ok(Err(SendError::NotJoined));
        }
        self.effect(Effect::Watch(node), ID).map(Ok)
    }

    /// `route.unwatch`.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn unwatch(&mut self, node: NodeId) -> Result<(), Excess> {
        self.effect(Effect::Unwatch(node), ID)
    }

    /// `timer.set`: the timer's id.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn set_timer(&mut self, after_ms: u64, tag: u64) -> Result<u64, Excess> {
        let timer = self.next_id();
        self.effect(Effect::SetTimer { timer, after_ms, tag }, 0)?;
        Ok(timer)
    }

    /// `timer.cancel`.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn cancel_timer(&mut self, timer: u64) -> Result<(), Excess> {
        self.effect(Effect::CancelTimer(timer), 0)
    }

    /// `client.respond`.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn respond(
        &mut self,
        request: u64,
        outcome: Result<Vec<u8>, String>,
    ) -> Result<Result<(), ClientError>, Excess> {
        let length = outcome.as_ref().map_or_else(String::len, Vec::len);
        if length > self.limits.payload_bytes as usize {
            return Ok(Err(ClientError::TooLarge));
        }
        if !self.answered.insert(request) {
            return Ok(Err(ClientError::Gone));
        }
        self.effect(Effect::Respond { request, outcome: outcome.map(Bytes::from) }, length).map(Ok)
    }

    /// `client.push`.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn push(&mut self, request: u64, item: Vec<u8>) -> Result<Result<(), ClientError>, Excess> {
        let length = item.len();
        if length > self.limits.payload_bytes as usize {
            return Ok(Err(ClientError::TooLarge));
        }
        if self.answered.contains(&request) {
            return Ok(Err(ClientError::Gone));
        }
        self.effect(Effect::Push { request, item: item.into() }, length).map(Ok)
    }

    /// `storage.get`.
    ///
    /// # Errors
    ///
    /// [`StorageError`].
    pub fn get(&mut self, place: Place, name: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.named(name)?;
        self.here(place)?;
        let value = self.records.get(place, name);
        self.stored(value)
    }

    /// `storage.put`; `expires_in` is in seconds.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn put(
        &mut self,
        place: Place,
        name: Vec<u8>,
        value: Vec<u8>,
        expires_in: Option<u64>,
    ) -> Result<Result<(), StorageError>, Excess> {
        let growth = match self.may_put(place, &name, &value) {
            Ok(growth) => growth,
            Err(error) => return Ok(Err(error)),
        };
        let expires = expires_in.map(|time| self.context.now_ms.saturating_add(time.saturating_mul(1_000)));
        self.write(Write { place, name, value: Some((value.into(), expires)) }, growth).map(Ok)
    }

    /// `storage.delete`.
    ///
    /// # Errors
    ///
    /// [`Excess`] ends the event.
    pub fn delete(&mut self, place: Place, name: Vec<u8>) -> Result<Result<(), StorageError>, Excess> {
        let growth = match self.may_delete(place, &name) {
            Ok(growth) => growth,
            Err(error) => return Ok(Err(error)),
        };
        self.write(Write { place, name, value: None }, growth).map(Ok)
    }

    /// `storage.names`.
    ///
    /// # Errors
    ///
    /// [`StorageError`].
    pub fn names(
        &mut self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: u32,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        self.named(prefix)?;
        self.named(after.unwrap_or_default())?;
        self.here(place)?;
        let names = self.records.names(place, prefix, after, at_most(max, MAX_PAGE));
        self.stored(names)
    }

    /// `storage.keys`.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unavailable`].
    pub fn keys(&mut self, range: Interval, after: Option<Key>, max: u32) -> Result<Vec<Key>, StorageError> {
        let keys = self.records.keys(range, after, at_most(max, MAX_PAGE));
        self.stored(keys)
    }

    /// Bytes that the application has now, the writes included that are not in the store yet.
    pub fn used(&self) -> u64 {
        self.context.storage_used.saturating_add_signed(self.records.growth())
    }

    fn may_send(&self, payload: usize) -> Result<(), SendError> {
        if payload > self.limits.payload_bytes as usize {
            return Err(SendError::TooLarge);
        }
        if self.context.view.joined { Ok(()) } else { Err(SendError::NotJoined) }
    }

    fn may_put(&mut self, place: Place, name: &[u8], value: &[u8]) -> Result<i64, StorageError> {
        self.named(name)?;
        if value.len() > self.limits.value_bytes as usize {
            return Err(StorageError::TooLarge);
        }
        self.here(place)?;
        let freed = self.records.size(place, name);
        let freed = self.stored(freed)?;
        let taken = record_bytes(name.len(), value.len());
        let left = self.used().saturating_sub(freed);
        let too_much = self.context.storage_full || left.saturating_add(taken) > self.limits.storage_bytes;
        if taken > freed && too_much {
            return Err(StorageError::OverQuota);
        }
        Ok(taken.cast_signed().saturating_sub(freed.cast_signed()))
    }

    fn may_delete(&mut self, place: Place, name: &[u8]) -> Result<i64, StorageError> {
        self.named(name)?;
        self.here(place)?;
        let freed = self.records.size(place, name);
        Ok(-self.stored(freed)?.cast_signed())
    }

    fn named(&self, name: &[u8]) -> Result<(), StorageError> {
        if name.len() > self.limits.name_bytes as usize { Err(StorageError::TooLarge) } else { Ok(()) }
    }

    /// The answer of the store. A failure ends the event without effect, whatever the handler makes of it.
    fn stored<T>(&mut self, answer: Result<T, Unavailable>) -> Result<T, StorageError> {
        answer.map_err(|Unavailable| {
            self.store_failed = true;
            StorageError::Unavailable
        })
    }

    /// A record belongs on the nodes that are, or would become, responsible for its key, once those before have handed it
    /// over. Only a member of a ring can tell that it is none of them.
    fn here(&self, place: Place) -> Result<(), StorageError> {
        let Place::At(key) = place else { return Ok(()) };
        let view = &self.context.view;
        let settles = self.context.settling.iter().any(|range| range.contains(key));
        let is_replica = !view.joined || view.replica_set(key, MAX_COPIES).nodes.contains(&view.me.id);
        if is_replica && !settles { Ok(()) } else { Err(StorageError::NotHere) }
    }

    /// Notes an effect that hands over `bytes` bytes.
    fn effect(&mut self, effect: Effect, bytes: usize) -> Result<(), Excess> {
        self.count(bytes)?;
        self.effects.push(effect);
        Ok(())
    }

    /// Notes a write that changes the bytes stored by `growth`.
    fn write(&mut self, write: Write, growth: i64) -> Result<(), Excess> {
        self.count(write.bytes())?;
        self.records.write(&write, growth);
        self.writes.push(write);
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), Excess> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.effects.len() + self.writes.len() >= self.limits.effects as usize {
            return Err(Excess::Effects);
        }
        if self.bytes > EVENT_BYTES { Err(Excess::Data) } else { Ok(()) }
    }

    /// The next number for a message or a timer of this event.
    fn next_id(&mut self) -> u64 {
        let id = self.context.first_id.wrapping_add(self.ids);
        self.ids += 1;
        id
    }
}

/// A guest's count, no larger than `bound`.
fn at_most(max: u32, bound: usize) -> usize {
    usize::try_from(max).map_or(bound, |max| max.min(bound))
}
