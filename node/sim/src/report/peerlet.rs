//! What a run says of the application that was on the ring.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Summary;

/// An application on the ring, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerletReport {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its component.
    pub component: String,
    /// What was asked of it.
    pub workload: serde_json::Value,
    /// How messages ended.
    pub messages: Messages,
    /// Time from sending a message to hearing how it ended, in milliseconds, of those that were delivered.
    pub latency_ms: Option<Summary>,
    /// Overlay hops of the messages that were delivered.
    pub hops: Option<Summary>,
    /// How calls ended.
    pub calls: Calls,
    /// Time of the calls that were answered, in milliseconds.
    pub call_ms: Option<Summary>,
    /// Nodes that have come to run it.
    pub installs: u64,
    /// Nodes that run it at the end.
    pub running: u64,
    /// Installations whose code came from another node.
    pub code_transfers: u64,
    /// Bytes of manifest and component that these took.
    pub code_bytes: u64,
    /// Events that ran.
    pub events: u64,
    /// Fuel that events burnt.
    pub fuel: Fuel,
    /// Bytes of records of each node that lives at the end.
    pub stored_bytes: Option<Summary>,
    /// Messages that each node that lives at the end has delivered to the application or shown to it on their way.
    pub messages_per_node: Option<Summary>,
    /// Refusals to run it, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Traps, by kind.
    pub traps: BTreeMap<String, u64>,
}

/// How messages ended whose origins lived until then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// All of them.
    pub asked: u64,
    /// Handled by a node, their writes durable there.
    pub delivered: u64,
    /// Ended with a failure.
    pub failed: u64,
    /// The failures, by reason.
    pub by_reason: BTreeMap<String, u64>,
}

/// How calls ended whose nodes lived until then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// All of them.
    pub asked: u64,
    /// Answered with a result.
    pub answered: u64,
    /// Ended with a failure.
    pub failed: u64,
    /// The failures, by reason; `application` where it answered with an error.
    pub by_reason: BTreeMap<String, u64>,
}

/// Fuel; a unit is about one WebAssembly instruction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Fuel {
    /// Of all events.
    pub total: u64,
    /// Mean of an event; zero without events.
    pub per_event: f64,
}
