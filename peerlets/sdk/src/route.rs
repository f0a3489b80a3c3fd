//! Capability `route`: the common API for structured overlays.

use crate::host::route as host;
use crate::{Dispatch, Key, NodeId};

pub use host::{
    Replicas, RouteError, local_lookup, myself, neighbour_set, range, replica_set, round_trip, unwatch, watch,
};

/// Routes `payload` to the node responsible for `key`, and only that node sees it.
/// Returns the message id that `failed` will carry should the message come to nothing.
pub fn route(key: Key, payload: &[u8]) -> Result<u64, RouteError> {
    host::route(key, payload, Dispatch::EndNode, None)
}

/// Routes `payload` so that every node on the way that runs the application is asked to forward it; `hint` names the
/// first hop to take.
pub fn route_per_hop(key: Key, payload: &[u8], hint: Option<NodeId>) -> Result<u64, RouteError> {
    host::route(key, payload, Dispatch::PerHop, hint)
}

/// Sends `payload` straight to one node.
pub fn send(to: NodeId, payload: &[u8]) -> Result<u64, RouteError> {
    host::send(to, payload)
}
