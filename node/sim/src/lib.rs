//! Thousands of nodes in one process and in virtual time.
//!
//! A [`World`] owns the machines of the real node, the network between them and their clocks. Everything that happens
//! follows from one seed: the same seed and the same code give the same [`World::trace_hash`], on any machine.

pub mod apps;
pub mod cost;
pub mod latency;
pub mod measure;
pub mod network;
pub mod plot;
pub mod random;
pub mod report;
pub mod rule;
pub mod scenario;
pub mod sessions;
pub mod swarm;
mod trace;
pub mod world;

pub use apps::Applications;
pub use latency::Latency;
pub use network::Network;
pub use report::{Report, Series};
pub use world::{Act, Index, Route, Seen, Traffic, World, WorldConfig};
