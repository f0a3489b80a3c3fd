//! The dht: values at ring keys, each held by several nodes.
//!
//! A request of a local program is routed to the node responsible for its key, which stores the value, copies it to the
//! next nodes of the key's replica set and answers. When the ring changes, nodes offer each other what they hold, so that
//! every value keeps its number of copies. The logic sees the node through one trait and is tested without it.

mod api;
mod client;
mod dht;
mod host;
mod message;
mod peerlet;
mod reads;
mod record;
mod repair;
mod settling;
mod store;
#[cfg(test)]
mod tests;
mod writes;
