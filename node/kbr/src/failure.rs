//! How a message comes to nothing.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::id::NodeId;

/// Why a route, a send, a request or a lookup ended without having been handled. Each ends in exactly one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// No outcome before the deadline.
    #[error("no answer within the deadline")]
    Deadline,
    /// The addressed node, or every next hop, is unreachable.
    #[error("unreachable")]
    Unreachable,
    /// Every node of the replica set that was asked refused to run the application.
    #[error("no node of the replica set will run the application ({})", list(.0))]
    NoWillingNode(#[serde(deserialize_with = "bounded::list")] Vec<(NodeId, Refusal)>),
    /// More hops than a ring of any believable size needs.
    #[error("too many hops")]
    TooManyHops,
    /// The writes of the event could not be made durable.
    #[error("the writes could not be made durable")]
    NotDurable,
    /// The handler returned an error, trapped or used up its budget; nothing of the event took effect.
    #[error("the application's handler failed: {0}")]
    HandlerFailed(#[serde(deserialize_with = "bounded::text")] String),
    /// This node is not a member of a ring.
    #[error("this node is not part of a ring yet")]
    NotJoined,
    /// A queue on the way was full.
    #[error("overloaded")]
    Overloaded,
}

/// Why one node refused to run an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The node's policy denies the provider or the application.
    Denied,
    /// The component imports a capability or an interface that was not granted.
    MissingCapability,
    /// The budget asked for is more than the node can still give.
    OverBudget,
    /// No one who was asked had the code, or it did not arrive in time.
    FetchFailed,
    /// The manifest's signature, the code's digest or its size is wrong.
    BadPackage,
    /// The provider has signed different code as one and the same version.
    Equivocation,
    /// The component does not validate or compile.
    BadComponent,
    /// `init` failed.
    InitFailed,
    /// The queue of messages that wait for the application is full.
    QueueFull,
    /// The node is leaving the ring.
    Leaving,
    /// The key's records are still on their way to the node.
    Settling,
}

impl Refusal {
    /// Every refusal, in a fixed order: for tables and metrics.
    pub const ALL: [Refusal; 11] = [
        Refusal::Denied,
        Refusal::MissingCapability,
        Refusal::OverBudget,
        Refusal::FetchFailed,
        Refusal::BadPackage,
        Refusal::Equivocation,
        Refusal::BadComponent,
        Refusal::InitFailed,
        Refusal::QueueFull,
        Refusal::Leaving,
        Refusal::Settling,
    ];

    /// The kebab-case name, as in metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::Denied => "denied",
            Refusal::MissingCapability => "missing-capability",
            Refusal::OverBudget => "over-budget",
            Refusal::FetchFailed => "fetch-failed",
            Refusal::BadPackage => "bad-package",
            Refusal::Equivocation => "equivocation",
            Refusal::BadComponent => "bad-component",
            Refusal::InitFailed => "init-failed",
            Refusal::QueueFull => "queue-full",
            Refusal::Leaving => "leaving",
            Refusal::Settling => "settling",
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

fn list(refusals: &[(NodeId, Refusal)]) -> String {
    let each: Vec<String> = refusals.iter().map(|(node, refusal)| format!("{}: {refusal}", node.short())).collect();
    each.join(", ")
}
