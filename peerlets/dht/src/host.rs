//! What the logic needs of the node, so that tests can stand in for it.

use prost_dht_api::Refusal;
use prost_peerlet::{Key, NodeId};

/// The node, as the logic sees it. Effects take place after the event, once its writes are on as many replicas as the
/// package asks for.
pub(crate) trait Host {
    /// Wall clock, milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// This node.
    fn myself(&self) -> NodeId;

    /// How many of the first `max` nodes responsible for `key` this node knows.
    fn replicas(&self, key: Key, max: u32) -> u32;

    /// Routes to the node responsible for `key`. Returns the message's id.
    fn route(&mut self, key: Key, payload: &[u8]) -> Result<u64, Refusal>;

    /// Sends straight to another node, which asks again where it does not arrive.
    fn send(&mut self, to: NodeId, payload: &[u8]);

    /// A record at a ring key.
    fn get(&self, key: Key, name: &[u8]) -> Result<Option<Vec<u8>>, Refusal>;

    /// Writes a record; `expires_in` is in seconds.
    fn put(&mut self, key: Key, name: &[u8], value: &[u8], expires_in: Option<u64>) -> Result<(), Refusal>;

    /// Deletes a record.
    fn delete(&mut self, key: Key, name: &[u8]) -> Result<(), Refusal>;

    /// Names that begin with `prefix`, in order, after `after`.
    fn names(&self, key: Key, prefix: &[u8], after: Option<&[u8]>, max: u32) -> Result<Vec<Vec<u8>>, Refusal>;

    /// Ends a local program's request.
    fn respond(&mut self, request: u64, outcome: Result<&[u8], &str>);

    /// Has `fired` called, once. False where the node gives no more timers.
    fn set_timer(&mut self, after_ms: u64) -> bool;

    /// Writes a line to the node's log.
    fn log(&mut self, line: &str);
}
