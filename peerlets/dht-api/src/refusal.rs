//! Why a request came to nothing.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a request came to nothing, as the text `name` or `name: detail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The request is not one that the peerlet takes; trying again will not help.
    BadRequest(String),
    /// The value has another version than the request says: this one, 0 where there is no value.
    Conflict(u64),
    /// No answer in time. A put or remove may or may not have taken effect.
    Deadline,
    /// As many requests as this node or the responsible one takes at a time are open.
    Busy,
    /// The responsible node has the new value, but could not make another node hold it.
    TooFewReplicas,
    /// The responsible node could not store or read the record: its quota is used up, or its disk failed.
    Storage,
    /// The request did not reach the responsible node.
    Unreachable,
    /// No node of the replica set runs the application.
    NoWillingNode,
    /// This node is not part of a ring yet.
    NotJoined,
}

impl Refusal {
    /// The kebab-case name.
    pub const fn name(&self) -> &'static str {
        match self {
            Refusal::BadRequest(_) => "bad-request",
            Refusal::Conflict(_) => "conflict",
            Refusal::Deadline => "deadline",
            Refusal::Busy => "busy",
            Refusal::TooFewReplicas => "too-few-replicas",
            Refusal::Storage => "storage",
            Refusal::Unreachable => "unreachable",
            Refusal::NoWillingNode => "no-willing-node",
            Refusal::NotJoined => "not-joined",
        }
    }

    /// Whether the same request may well succeed a little later.
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Refusal::BadRequest(_) | Refusal::Conflict(_) | Refusal::NoWillingNode)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::BadRequest(detail) => write!(f, "{}: {detail}", self.name()),
            Refusal::Conflict(version) => write!(f, "{}: {version}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

impl core::error::Error for Refusal {}

/// The text is no refusal of the dht peerlet; the node itself, for one, words its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRefusal;

impl fmt::Display for UnknownRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a refusal of the dht peerlet")
    }
}

impl core::error::Error for UnknownRefusal {}

impl FromStr for Refusal {
    type Err = UnknownRefusal;

    fn from_str(text: &str) -> Result<Refusal, UnknownRefusal> {
        if let Some(detail) = text.strip_prefix("bad-request: ") {
            return Ok(Refusal::BadRequest(detail.to_owned()));
        }
        if let Some(version) = text.strip_prefix("conflict: ") {
            return version.parse().map(Refusal::Conflict).map_err(|_| UnknownRefusal);
        }
        PLAIN.iter().find(|known| known.name() == text).cloned().ok_or(UnknownRefusal)
    }
}

/// Every refusal without a detail.
const PLAIN: [Refusal; 7] = [
    Refusal::Deadline,
    Refusal::Busy,
    Refusal::TooFewReplicas,
    Refusal::Storage,
    Refusal::Unreachable,
    Refusal::NoWillingNode,
    Refusal::NotJoined,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_reads_back_from_its_text() {
        let detailed = Refusal::BadRequest("the name is too long".to_owned());

        for refusal in PLAIN.iter().chain([&detailed, &Refusal::Conflict(7)]) {
            assert_eq!(refusal.to_string().parse(), Ok(refusal.clone()));
        }
        assert_eq!("no such thing".parse::<Refusal>(), Err(UnknownRefusal));
    }
}
