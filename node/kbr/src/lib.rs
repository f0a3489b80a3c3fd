//! The Key-Based Routing layer of a Prost node, without socket, clock or task.
//!
//! [`Machine`] is one member of the ring. Whoever owns it (the daemon's driver, the simulator, a test) follows the
//! drain rule: give one [`Input`], take [`Output`]s until none are left, then ask [`Machine::poll_timeout`] when it
//! wants to be woken. Time is an argument, randomness comes from the seed given at the start, and nothing iterates in
//! an order that differs from run to run, so equal inputs give equal outputs.
//!
//! The ring follows Zave, "Reasoning about Identifier Spaces: How to Make Chord Correct" (IEEE TSE 43(12), 2017); the
//! calls offered upwards are those of Dabek et al., "Towards a Common API for Structured Peer-to-Peer Overlays"
//! (IPTPS 2003).

mod acks;
mod answers;
mod backpointers;
mod book;
mod bounded;
pub mod config;
mod digest;
pub mod failure;
mod fingers;
pub mod header;
pub mod id;
pub mod io;
pub mod machine;
pub mod message;
mod order;
mod pending;
#[doc(hidden)]
pub mod planted;
mod probes;
mod questions;
mod random;
mod ring;
pub mod stats;
pub mod time;
mod transit;
pub mod view;
mod wanderers;
mod window;
pub mod wire;

pub use config::Config;
pub use failure::{Failure, Refusal};
pub use header::{AppId, AppName, Dispatch, Header};
pub use id::{Id, Interval, Key, NodeId};
pub use io::{Change, Handling, Input, MAX_PATHS, Output, RouteRequest, TimerKind, Verdict};
pub use machine::{Machine, RingState};
pub use message::{Envelope, Hop, Listed, Message, MessageId, Outcome, Part, Peer, Purpose, Routed};
pub use stats::Stats;
pub use time::Time;
pub use view::{Replicas, RingView};
