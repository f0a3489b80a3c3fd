//! One event of a native peerlet: the kit's calls become what the contract says of them.

use core::time::Duration;

use prost_contract::{Excess, Turn};
use prost_kbr::NodeId as RingId;
use prost_peerlet::client::ClientError;
use prost_peerlet::identity::Signature;
use prost_peerlet::log::Level;
use prost_peerlet::native::Host;
use prost_peerlet::route::{Replicas, RouteError};
use prost_peerlet::storage::{Allowance, Place, StorageError};
use prost_peerlet::timer::TimerError;
use prost_peerlet::{Dispatch, Key, KeyRange, NodeId};
use prost_sim::random::Random;

use crate::convert::{client_error, id, interval, place, range, ring_dispatch, ring_id, route_error, storage_error};

/// What answers a peerlet while one event lasts.
pub(crate) struct Event {
    pub(crate) turn: Turn,
    /// The event asked for too much: it is over, whatever the handler goes on to do.
    pub(crate) excess: Option<Excess>,
    pub(crate) lines: Vec<String>,
    random: Random,
}

impl Event {
    pub(crate) fn new(turn: Turn) -> Event {
        let random = Random::new(turn.context().seed);
        Event { turn, excess: None, lines: Vec::new(), random }
    }

    /// The result of a call; after an excess whatever `otherwise` says, as nothing counts any more.
    fn bounded<T>(&mut self, done: Result<T, Excess>, otherwise: T) -> T {
        done.unwrap_or_else(|excess| {
            self.excess = Some(excess);
            otherwise
        })
    }

    fn me(&self) -> RingId {
        self.turn.context().view.me.id
    }
}

/// Stands for a signature, as simulated nodes have no keys. Whoever is in the world could forge it; nobody there does.
fn seal(signer: RingId, statement: &[u8]) -> Vec<u8> {
    prost_kbr::Key::hash(&[b"signed by ", signer.as_bytes().as_slice(), statement].concat()).as_bytes().to_vec()
}

impl Host for Event {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.turn.context().monotonic_ns) + Duration::from_secs(3600)
    }

    fn wall(&self) -> Duration {
        Duration::from_millis(self.turn.context().now_ms)
    }

    fn random(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.random.number().to_be_bytes()[..chunk.len()]);
        }
    }

    fn route(&mut self, key: Key, payload: &[u8], dispatch: Dispatch, hint: Option<NodeId>) -> Result<u64, RouteError> {
        let sent = self.turn.route(ring_id(key), payload.to_vec(), ring_dispatch(dispatch), hint.map(ring_id));
        self.bounded(sent, Ok(0)).map_err(route_error)
    }

    fn send(&mut self, to: NodeId, payload: &[u8]) -> Result<u64, RouteError> {
        let sent = self.turn.send(ring_id(to), payload.to_vec());
        self.bounded(sent, Ok(0)).map_err(route_error)
    }

    fn myself(&self) -> NodeId {
        id(self.me())
    }

    fn local_lookup(&self, key: Key, max: u32, safe: bool) -> Vec<NodeId> {
        self.turn.local_lookup(ring_id(key), max, safe).into_iter().map(id).collect()
    }

    fn neighbour_set(&self, max: u32) -> Vec<NodeId> {
        self.turn.neighbour_set(max).into_iter().map(id).collect()
    }

    fn replica_set(&self, key: Key, max: u32) -> Replicas {
        let replicas = self.turn.replica_set(ring_id(key), max);
        Replicas { nodes: replicas.nodes.into_iter().map(id).collect(), complete: replicas.complete }
    }

    fn range(&self, node: NodeId, rank: u32) -> Option<KeyRange> {
        self.turn.context().view.range(ring_id(node), rank as usize).map(range)
    }

    fn round_trip(&self, node: NodeId) -> Option<u32> {
        let time = self.turn.context().view.round_trip(ring_id(node))?;
        Some(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
    }

    fn watch(&mut self, node: NodeId) -> Result<(), RouteError> {
        let watched = self.turn.watch(ring_id(node));
        self.bounded(watched, Ok(())).map_err(route_error)
    }

    fn unwatch(&mut self, node: NodeId) {
        let done = self.turn.unwatch(ring_id(node));
        self.bounded(done, ());
    }

    fn get(&mut self, at: Place, name: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let value = self.turn.get(place(at), name).map_err(storage_error)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn put(&mut self, at: Place, name: &[u8], value: &[u8], expires_in: Option<u64>) -> Result<(), StorageError> {
        let written = self.turn.put(place(at), name.to_vec(), value.to_vec(), expires_in);
        self.bounded(written, Ok(())).map_err(storage_error)
    }

    fn delete(&mut self, at: Place, name: &[u8]) -> Result<(), StorageError> {
        let deleted = self.turn.delete(place(at), name.to_vec());
        self.bounded(deleted, Ok(())).map_err(storage_error)
    }

    fn names(
        &mut self,
        at: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: u32,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        self.turn.names(place(at), prefix, after, max).map_err(storage_error)
    }

    fn keys(&mut self, range: KeyRange, after: Option<Key>, max: u32) -> Result<Vec<Key>, StorageError> {
        let keys = self.turn.keys(interval(range), after.map(ring_id), max).map_err(storage_error)?;
        Ok(keys.into_iter().map(id).collect())
    }

    fn usage(&self) -> Allowance {
        Allowance { used_bytes: self.turn.used(), limit_bytes: self.turn.limits().storage_bytes }
    }

    fn set_timer(&mut self, after_ms: u64, tag: u64) -> Result<u64, TimerError> {
        let set = self.turn.set_timer(after_ms, tag);
        Ok(self.bounded(set, 0))
    }

    fn cancel_timer(&mut self, timer: u64) {
        let done = self.turn.cancel_timer(timer);
        self.bounded(done, ());
    }

    fn respond(&mut self, request: u64, outcome: Result<&[u8], &str>) -> Result<(), ClientError> {
        let answered = self.turn.respond(request, outcome.map(<[u8]>::to_vec).map_err(str::to_owned));
        self.bounded(answered, Ok(())).map_err(client_error)
    }

    fn push(&mut self, request: u64, item: &[u8]) -> Result<(), ClientError> {
        let pushed = self.turn.push(request, item.to_vec());
        self.bounded(pushed, Ok(())).map_err(client_error)
    }

    fn sign(&mut self, statement: &[u8]) -> Signature {
        Signature { public_key: self.me().as_bytes().to_vec(), bytes: seal(self.me(), statement) }
    }

    fn verify(&self, signer: NodeId, statement: &[u8], signature: &Signature) -> bool {
        signature.public_key == signer.to_bytes() && signature.bytes == seal(ring_id(signer), statement)
    }

    fn log(&mut self, _: Level, line: &str) {
        self.lines.push(line.to_owned());
    }
}
