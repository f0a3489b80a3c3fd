//! The dht: values at ring keys.
//!
//! A request of a local program is routed to the node responsible for its key, which reads or writes there and answers.
//! That every value keeps its copies, and moves when the ring changes, is the node's work. The logic sees the node
//! through one trait and is tested without it.

mod api;
mod client;
mod dht;
mod host;
mod message;
mod peerlet;
mod records;
#[cfg(test)]
mod tests;
