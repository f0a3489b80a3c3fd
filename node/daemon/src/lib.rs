//! A Prost node and its command line.
//!
//! The only crate of the workspace with sockets, a disk, threads and a clock. What decides is in `prost-kbr` and
//! `prost-manager`; this crate gives them inputs and does what they ask.

pub mod actor;
pub mod admin;
pub mod admin_client;
pub mod cfs;
pub mod cli;
pub mod compiler;
pub mod config;
pub mod demo;
pub mod dht_client;
pub mod download;
pub mod driver;
pub mod exit;
pub mod i3_client;
pub mod looker;
pub mod metrics;
pub mod node;
pub mod scribe_client;
pub mod simulated;
pub mod standard;
mod status;
pub mod store;
pub mod transport;
pub mod workers;
