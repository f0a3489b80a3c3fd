//! The dht as a peerlet: events go to the logic, and what it wants goes to the node.

use core::time::Duration;
use std::time::SystemTime;

use prost_dht_api::Refusal;
use prost_peerlet::route::RouteError;
use prost_peerlet::storage::{self, Place, StorageError};
use prost_peerlet::{
    Change, Error, Failure, Key, KeyRange, Message, NodeId, Peerlet, Request, Result, Start, client, log, route, timer,
};

use crate::dht::Dht;
use crate::host::{Host, StoreFailed};

impl Peerlet for Dht {
    fn init(&mut self, start: Start) -> Result {
        self.handle_init(&mut Node, &start.settings).map_err(Error::new)
    }

    fn deliver(&mut self, message: Message) -> Result {
        self.handle_deliver(&mut Node, message);
        Ok(())
    }

    fn update(&mut self, change: Change) {
        self.handle_update(&mut Node, change);
    }

    fn fired(&mut self, _timer: u64, tag: u64) {
        self.handle_fired(&mut Node, tag);
    }

    fn serve(&mut self, request: Request) -> Result {
        self.handle_serve(&mut Node, request);
        Ok(())
    }

    fn failed(&mut self, message: u64, reason: Failure) {
        self.handle_failed(&mut Node, message, reason);
    }
}

prost_peerlet::peerlet!(Dht);

/// The node under the sandbox.
struct Node;

impl Host for Node {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn myself(&self) -> NodeId {
        route::myself()
    }

    fn replica_set(&self, key: Key, max: u32) -> Vec<NodeId> {
        route::replica_set(key, max).nodes
    }

    fn route(&mut self, key: Key, payload: &[u8]) -> core::result::Result<u64, Refusal> {
        route::route(key, payload).map_err(|error| match error {
            RouteError::OverBudget | RouteError::TooLarge => Refusal::Busy,
            RouteError::NotJoined => Refusal::NotJoined,
        })
    }

    fn send(&mut self, to: NodeId, payload: &[u8]) -> Option<u64> {
        route::send(to, payload).ok()
    }

    fn get(&self, key: Key, name: &[u8]) -> core::result::Result<Option<Vec<u8>>, StoreFailed> {
        absent_elsewhere(storage::get(Place::At(key), name))
    }

    fn put(
        &mut self,
        key: Key,
        name: &[u8],
        value: &[u8],
        expires_in: Option<u64>,
    ) -> core::result::Result<(), StoreFailed> {
        storage::put(Place::At(key), name, value, expires_in.map(Duration::from_secs)).map_err(|_| StoreFailed)
    }

    fn delete(&mut self, key: Key, name: &[u8]) -> core::result::Result<(), StoreFailed> {
        storage::delete(Place::At(key), name).map_err(|_| StoreFailed)
    }

    fn names(
        &self,
        key: Key,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: u32,
    ) -> core::result::Result<Vec<Vec<u8>>, StoreFailed> {
        absent_elsewhere(storage::names(Place::At(key), prefix, after, max))
    }

    fn keys(&self, after: Option<Key>, max: u32) -> core::result::Result<Vec<Key>, StoreFailed> {
        storage::keys(KeyRange::WHOLE, after, max).map_err(|_| StoreFailed)
    }

    fn respond(&mut self, request: u64, outcome: core::result::Result<&[u8], &str>) {
        // A client that has gone needs no answer.
        if client::respond(request, outcome).is_err() {
            log::debug("the client has gone");
        }
    }

    fn set_timer(&mut self, after_ms: u64, tag: u64) -> bool {
        timer::set(Duration::from_millis(after_ms), tag).is_ok()
    }

    fn log(&mut self, line: &str) {
        log::warn(line);
    }
}

/// Nothing is to be found here at a key that belongs elsewhere.
fn absent_elsewhere<T: Default>(read: core::result::Result<T, StorageError>) -> core::result::Result<T, StoreFailed> {
    match read {
        Err(StorageError::NotHere) => Ok(T::default()),
        read => read.map_err(|_| StoreFailed),
    }
}
