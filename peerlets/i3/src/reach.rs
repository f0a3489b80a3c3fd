//! Messages to a node by its id: straight where there is a connection, else along the overlay.

use core::time::Duration;

use prost_peerlet::route::{self, RouteError};
use prost_peerlet::{NodeId, SoftState, cbor};

use crate::message::Message;

/// Nodes to which a flow may be under way.
const FLOWS: usize = 1024;
/// A flow is two packets to the same node within this time.
const FLOW: Duration = Duration::from_secs(10);
/// A connection is not asked for more often than that.
const REDIAL: Duration = Duration::from_secs(30);

/// Sends to a node. A new connection takes longer than the overlay, which knows every node by its id.
pub(crate) fn reach(to: NodeId, message: &Message) -> Result<u64, RouteError> {
    let payload = cbor::encode(message);
    if is_near(to) { route::send(to, &payload) } else { route::route(to, &payload) }
}

fn is_near(node: NodeId) -> bool {
    node == route::myself() || route::round_trip(node).is_some()
}

/// The nodes to which packets flow.
#[derive(Debug)]
pub(crate) struct Flows {
    /// Each, and whether a connection was asked for.
    nodes: SoftState<NodeId, bool>,
}

impl Default for Flows {
    fn default() -> Flows {
        Flows { nodes: SoftState::new(FLOWS) }
    }
}

impl Flows {
    /// Sends one packet of many, perhaps: from the second on it is worth a connection.
    pub(crate) fn send(&mut self, to: NodeId, message: &Message) -> Result<u64, RouteError> {
        if !is_near(to) {
            match self.nodes.get(&to) {
                Some(true) => {}
                Some(false) => {
                    route::send(to, &cbor::encode(&Message::Hello))?;
                    // Where there is no room, the next packet asks again.
                    let _ = self.nodes.insert(to, true, REDIAL);
                }
                None => {
                    let _ = self.nodes.insert(to, false, FLOW);
                }
            }
        }
        reach(to, message)
    }
}
