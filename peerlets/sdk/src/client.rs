//! Capability `client`: answers to local programs.

pub use crate::bindings::prost::peerlet::client::{ClientError, push, respond};
