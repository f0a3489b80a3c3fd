//! What a rule says when it is broken.

use prost_kbr::Time;
use serde::{Deserialize, Serialize};

use crate::Index;

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The rule's name.
    pub rule: String,
    /// Virtual time, in microseconds.
    pub at_us: u64,
    /// The node that it was found at, if it is about one.
    pub node: Option<Index>,
    /// What was found.
    pub text: String,
    /// The node's last inputs, oldest first.
    pub recent: Vec<String>,
}

impl Broken {
    /// Found at a node. The judge fills in the rule's name and the node's last inputs.
    pub fn at(now: Time, node: Index, text: impl Into<String>) -> Broken {
        Broken { node: Some(node), ..Broken::somewhere(now, text) }
    }

    /// Found in the world as a whole.
    pub fn somewhere(now: Time, text: impl Into<String>) -> Broken {
        Broken { rule: String::new(), at_us: now.as_micros(), node: None, text: text.into(), recent: Vec::new() }
    }
}
