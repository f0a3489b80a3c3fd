//! Why a request came to nothing.

use core::fmt;
use core::str::FromStr;

/// Why a request came to nothing, as the text `name` or `name: detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request is not one that the peerlet takes; trying again will not help.
    BadRequest(String),
    /// A root of this version, which is newer, is there.
    Stale(u64),
    /// Another root of the same version is there.
    Conflict,
    /// The node responsible keeps no more for this publisher.
    OverQuota,
    /// No answer in time. What was asked for may or may not have taken effect.
    Deadline,
    /// As many requests as a node takes at a time are open.
    Busy,
    /// The store of a node is full, or failed.
    Storage,
    /// Every answer was wrong.
    Damaged,
    /// Responsibility for the block is moving, or the node responsible was not reached.
    Unreachable,
    /// No node of the replica set runs the application.
    NoWillingNode,
    /// This node is not part of a ring yet.
    NotJoined,
}

const BAD_REQUEST: &str = "bad-request: ";
const STALE: &str = "stale: ";

/// Every refusal without a detail.
const PLAIN: [Refusal; 9] = [
    Refusal::Conflict,
    Refusal::OverQuota,
    Refusal::Deadline,
    Refusal::Busy,
    Refusal::Storage,
    Refusal::Damaged,
    Refusal::Unreachable,
    Refusal::NoWillingNode,
    Refusal::NotJoined,
];

impl Refusal {
    /// Whether the same request may well succeed a little later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Refusal::Deadline | Refusal::Busy | Refusal::Storage | Refusal::Unreachable | Refusal::NotJoined)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::BadRequest(detail) => write!(f, "{BAD_REQUEST}{detail}"),
            Refusal::Stale(version) => write!(f, "{STALE}{version}"),
            Refusal::Conflict => f.write_str("conflict"),
            Refusal::OverQuota => f.write_str("over-quota"),
            Refusal::Deadline => f.write_str("deadline"),
            Refusal::Busy => f.write_str("busy"),
            Refusal::Storage => f.write_str("storage"),
            Refusal::Damaged => f.write_str("damaged"),
            Refusal::Unreachable => f.write_str("unreachable"),
            Refusal::NoWillingNode => f.write_str("no-willing-node"),
            Refusal::NotJoined => f.write_str("not-joined"),
        }
    }
}

impl core::error::Error for Refusal {}

/// The text is no refusal of the cfs peerlet; the node itself, for one, words its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRefusal;

impl fmt::Display for UnknownRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a refusal of the cfs peerlet")
    }
}

impl core::error::Error for UnknownRefusal {}

impl FromStr for Refusal {
    type Err = UnknownRefusal;

    fn from_str(text: &str) -> Result<Refusal, UnknownRefusal> {
        if let Some(detail) = text.strip_prefix(BAD_REQUEST) {
            return Ok(Refusal::BadRequest(detail.to_owned()));
        }
        if let Some(version) = text.strip_prefix(STALE) {
            return version.parse().map(Refusal::Stale).map_err(|_| UnknownRefusal);
        }
        PLAIN.into_iter().find(|known| known.to_string() == text).ok_or(UnknownRefusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_reads_back_from_its_text() {
        let detailed = [Refusal::BadRequest("no such kind".to_owned()), Refusal::Stale(7)];
        for refusal in PLAIN.into_iter().chain(detailed) {
            assert_eq!(refusal.to_string().parse(), Ok(refusal));
        }
        assert_eq!("no such thing".parse::<Refusal>(), Err(UnknownRefusal));
    }
}
