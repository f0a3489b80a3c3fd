//! What is measured of a world while a scenario is played.
//!
//! Nothing here decides what happens: a world that is measured and one that is not go the same way.

mod history;
mod ideal;
mod lookups;
mod peerlet;
mod tally;
mod traffic;

pub use history::History;
pub use ideal::{first_flaw, is_ideal};
pub use lookups::{Asked, Lookups};
pub(crate) use peerlet::add;
pub use peerlet::{Asks, PeerletMeter};
pub use tally::Tally;
pub use traffic::{Rates, TrafficMeter};
