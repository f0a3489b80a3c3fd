//! What a peerlet can be granted.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// One imported interface of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// The common API: route, send, and what this node knows of the ring.
    Route,
    /// Durable records.
    Storage,
    /// Timers.
    Timer,
    /// Answers to local programs.
    Client,
    /// Statements signed with the node's key.
    Identity,
    /// Lines in the node's log.
    Log,
}

impl Capability {
    /// Every capability, in a fixed order.
    pub const ALL: [Capability; 6] = [
        Capability::Route,
        Capability::Storage,
        Capability::Timer,
        Capability::Client,
        Capability::Identity,
        Capability::Log,
    ];

    /// The interface's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Capability::Route => "route",
            Capability::Storage => "storage",
            Capability::Timer => "timer",
            Capability::Client => "client",
            Capability::Identity => "identity",
            Capability::Log => "log",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No capability has this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCapability(pub String);

impl fmt::Display for UnknownCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no capability is called '{}'", self.0)
    }
}

impl std::error::Error for UnknownCapability {}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Capability, UnknownCapability> {
        Capability::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| UnknownCapability(name.to_owned()))
    }
}
