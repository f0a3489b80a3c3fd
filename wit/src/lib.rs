//! The peerlet contract as Rust values.
//!
//! `peerlet.wit` beside this crate says what a peerlet may ask and what it is told. These types carry the same things
//! between the peerlet manager, which decides, and whoever runs a peerlet: an [`Event`] goes in with its [`Context`], an
//! [`Execution`] comes out. What the contract's calls do in between is a [`Turn`]. Nothing here touches wasmtime.

mod capability;
mod effect;
mod event;
mod limits;
mod overlay;
mod records;
mod turn;

pub use capability::{Capability, UnknownCapability};
pub use effect::{Effect, Execution, LogLevel, Outcome, Receipt, Trap, TrapKind, Write};
pub use event::{Context, Event, Message, Request, Start};
pub use limits::Limits;
pub use overlay::{Overlay, SharedRecords};
pub use prost_kbr::Verdict;
pub use records::{
    Change, Checked, Copies, Entry, Kept, MAX_COPIES, Place, Point, Records, Shelf, Sum, TOMBSTONE_MS, Unavailable,
    Version, record_bytes,
};
pub use turn::{ClientError, Excess, MAX_NODES, MAX_PAGE, SendError, StorageError, Turn};

/// Package and version of the contract, as component imports name it.
pub const CONTRACT: &str = "prost:peerlet@0.1.0";
/// The contract itself.
pub const WIT: &str = include_str!("../peerlet.wit");
