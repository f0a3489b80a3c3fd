//! The dht: values at ring keys, for programs. What happens to a value is the DHT tier of the kit (`prost_peerlet::dht`).

mod api;
mod peerlet;

pub use peerlet::Dht;
