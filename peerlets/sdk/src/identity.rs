//! Capability `identity`: statements signed with the node's key, never usable outside this peerlet.

pub use crate::host::identity::{Signature, sign, verify};
