//! Capability `identity`: statements signed with the node's key, never usable outside this peerlet.

pub use crate::bindings::prost::peerlet::identity::{Signature, sign, verify};
