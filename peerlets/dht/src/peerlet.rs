//! The dht as a peerlet: events go to the logic, and what it wants goes to the node.

use core::time::Duration;
use std::time::SystemTime;

use prost_dht_api::Refusal;
use prost_peerlet::route::RouteError;
use prost_peerlet::storage::{self, Place, StorageError};
use prost_peerlet::{Failure, Key, Message, NodeId, Peerlet, Request, Result, client, log, route, timer};

use crate::dht::Dht;
use crate::host::Host;

impl Peerlet for Dht {
    fn deliver(&mut self, message: Message) -> Result {
        self.handle_deliver(&mut Node, &message);
        Ok(())
    }

    fn fired(&mut self, _timer: u64, _tag: u64) {
        self.handle_fired(&mut Node);
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

    fn replicas(&self, key: Key, max: u32) -> u32 {
        u32::try_from(route::replica_set(key, max).nodes.len()).unwrap_or(max)
    }

    fn route(&mut self, key: Key, payload: &[u8]) -> core::result::Result<u64, Refusal> {
        route::route(key, payload).map_err(|error| match error {
            RouteError::OverBudget | RouteError::TooLarge => Refusal::Busy,
            RouteError::NotJoined => Refusal::NotJoined,
        })
    }

    fn send(&mut self, to: NodeId, payload: &[u8]) {
        if route::send(to, payload).is_err() {
            log::warn("an answer could not be sent");
        }
    }

    fn get(&self, key: Key, name: &[u8]) -> core::result::Result<Option<Vec<u8>>, Refusal> {
        storage::get(Place::At(key), name).map_err(refusal)
    }

    fn put(
        &mut self,
        key: Key,
        name: &[u8],
        value: &[u8],
        expires_in: Option<u64>,
    ) -> core::result::Result<(), Refusal> {
        storage::put(Place::At(key), name, value, expires_in.map(Duration::from_secs)).map_err(refusal)
    }

    fn delete(&mut self, key: Key, name: &[u8]) -> core::result::Result<(), Refusal> {
        storage::delete(Place::At(key), name).map_err(refusal)
    }

    fn names(
        &self,
        key: Key,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: u32,
    ) -> core::result::Result<Vec<Vec<u8>>, Refusal> {
        storage::names(Place::At(key), prefix, after, max).map_err(refusal)
    }

    fn respond(&mut self, request: u64, outcome: core::result::Result<&[u8], &str>) {
        // A client that has gone needs no answer.
        if client::respond(request, outcome).is_err() {
            log::debug("the client has gone");
        }
    }

    fn set_timer(&mut self, after_ms: u64) -> bool {
        timer::set(Duration::from_millis(after_ms), 0).is_ok()
    }

    fn log(&mut self, line: &str) {
        log::warn(line);
    }
}

/// A key that is not here, or not yet, is one that the message should have gone elsewhere for.
fn refusal(error: StorageError) -> Refusal {
    match error {
        StorageError::NotHere => Refusal::Unreachable,
        StorageError::OverQuota | StorageError::TooLarge | StorageError::Unavailable => Refusal::Storage,
    }
}
