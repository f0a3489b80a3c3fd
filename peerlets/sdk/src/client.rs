//! Capability `client`: answers to local programs.

pub use crate::host::client::{ClientError, push, respond};
