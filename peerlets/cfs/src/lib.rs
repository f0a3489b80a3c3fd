//! The block store of CFS (Dabek, Kaashoek, Karger, Morris, Stoica, "Wide-area cooperative storage with CFS", SOSP 2001),
//! its DHash layer.
//!
//! * `store`: blocks at their ring keys. The node copies them to the next nodes, repairs and moves them; what is decided
//!   here is which block may take which one's place.
//! * `ledger`: how much each publisher has on this server, and no more than its share.
//! * `cache`: copies of blocks that others asked for, apart from the replicas.
//! * `lookup`: a question for a block on its way: it ends at the first node that has it, and the block goes back along the
//!   nodes that the question came through.
//! * `fetch` and `insert`: what local programs ask of this node, until they are answered.

mod cache;
mod cfs;
mod fetch;
mod insert;
mod ledger;
mod lookup;
mod message;
mod store;
#[cfg(test)]
mod tests;

pub use cfs::{Cfs, Settings};
pub use message::{Answer, Lookup, LookupMessage, Say};

prost_peerlet::peerlet!(Cfs);
