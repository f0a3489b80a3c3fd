//! What the logic needs of the node, so that tests can stand in for it.

use prost_dht_api::Refusal;
use prost_peerlet::{Key, NodeId};

/// The node, as the logic sees it. Effects take place after the event.
pub(crate) trait Host {
    /// Wall clock, milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// This node.
    fn myself(&self) -> NodeId;

    /// The first `max` nodes that are or would become responsible for `key`, in order.
    fn replica_set(&self, key: Key, max: u32) -> Vec<NodeId>;

    /// Routes to the node responsible for `key`. Returns the message's id.
    fn route(&mut self, key: Key, payload: &[u8]) -> Result<u64, Refusal>;

    /// Sends straight to another node. Returns the message's id; none where the node would not take it.
    fn send(&mut self, to: NodeId, payload: &[u8]) -> Option<u64>;

    /// A record at a ring key.
    fn get(&self, key: Key, name: &[u8]) -> Result<Option<Vec<u8>>, StoreFailed>;

    /// Writes a record; `expires_in` is in seconds.
    fn put(&mut self, key: Key, name: &[u8], value: &[u8], expires_in: Option<u64>) -> Result<(), StoreFailed>;

    /// Deletes a record.
    fn delete(&mut self, key: Key, name: &[u8]) -> Result<(), StoreFailed>;

    /// Names that begin with `prefix`, in order, after `after`.
    fn names(&self, key: Key, prefix: &[u8], after: Option<&[u8]>, max: u32) -> Result<Vec<Vec<u8>>, StoreFailed>;

    /// Keys of the whole ring that have records here, in a fixed order, after `after`.
    fn keys(&self, after: Option<Key>, max: u32) -> Result<Vec<Key>, StoreFailed>;

    /// Ends a local program's request.
    fn respond(&mut self, request: u64, outcome: Result<&[u8], &str>);

    /// Has `fired` called with `tag`, once. False where the node gives no more timers.
    fn set_timer(&mut self, after_ms: u64, tag: u64) -> bool;

    /// Writes a line to the node's log.
    fn log(&mut self, line: &str);
}

/// The node would not read or write a record: no quota left, a failed disk, or a key that does not belong here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreFailed;
