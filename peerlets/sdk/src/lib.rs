//! What a peerlet is written with.
//!
//! A peerlet is a type that implements [`Peerlet`] and is handed to [`peerlet!`]. Each module named after a capability
//! ([`route`], [`storage`], [`timer`], [`client`], [`identity`], [`log`]) imports one interface of the contract; the
//! component asks for a capability only where its code calls into that module. On top of them stand what most applications
//! need: [`Questions`] to other nodes, [`SoftState`], [`Timers`] by name, [`collections`] of records, an [`Inbox`] for local
//! programs, messages as [`cbor`], [`time`] and [`random`] numbers; and the tiers of the common API, [`dht`], [`dolr`] and
//! [`cast`]. `testing` runs a peerlet without a node.
//!
//! An event handler is a transaction. What it asks for takes effect after it has returned without an error and its
//! writes are durable; where it returns an error or traps, nothing of the event takes effect.
//!
//! ```
//! use prost_peerlet::{Peerlet, Request, Result, client};
//!
//! #[derive(Default)]
//! struct Counter {
//!     asked: u64,
//! }
//!
//! impl Peerlet for Counter {
//!     fn serve(&mut self, request: Request) -> Result {
//!         self.asked += 1;
//!         client::respond(request.id, Ok(&self.asked.to_be_bytes()))?;
//!         Ok(())
//!     }
//! }
//!
//! prost_peerlet::peerlet!(Counter);
//! ```

pub mod cast;
pub mod cbor;
pub mod client;
pub mod collections;
pub mod dht;
pub mod dolr;
mod host;
mod id;
pub mod identity;
pub mod inbox;
pub mod log;
mod peerlet;
pub mod questions;
pub mod random;
pub mod route;
pub mod soft_state;
pub mod storage;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod time;
pub mod timer;
mod timers;

#[cfg(not(target_family = "wasm"))]
pub use host::native;

/// The contract as `wit-bindgen` writes it.
#[allow(missing_docs, reason = "written by a macro; the contract documents what needs it")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit/peerlet.wit",
        world: "peerlet",
        additional_derives: [PartialEq, Eq, PartialOrd, Ord, Hash],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "prost_peerlet::bindings",
    });
}

pub use bindings::exports::prost::peerlet::handler::{Change, Request, Rewritten, Start, Verdict};
pub use bindings::prost::peerlet::types::{Dispatch, Failure, Id, Key, KeyRange, Message, NodeId};
pub use inbox::Inbox;
pub use peerlet::{Error, Peerlet, Result};
pub use questions::Questions;
pub use soft_state::{Recent, SoftState};
pub use timers::Timers;

#[doc(hidden)]
pub use bindings::exports::prost::peerlet::handler::Guest;

/// Checks, where nothing is exported, that the type could be.
#[doc(hidden)]
pub fn is_component<T: Guest>() {}
