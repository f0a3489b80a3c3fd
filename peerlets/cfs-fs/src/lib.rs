//! The files of CFS (Dabek et al., SOSP 2001, section 3): trees of blocks, published by one key and read by all.
//!
//! ```text
//! root (signed) ── directory inode ── its blocks: names and inodes ── file inode ─┬─ data blocks of 8 KiB
//!                                                                                 └─ indirect blocks ── data blocks
//! ```
//!
//! Every arrow is the hash of what it points to: who has checked the root has checked the tree. Whatever changes makes new
//! blocks up to the root, which one signed block then replaces at once: a reader sees the tree before or the tree after
//! ([`publish()`]). The tree before can be read on, by the hash of its directory, until its blocks expire.
//!
//! Blocks come from anything that is a [`Blocks`]; nothing that it gives is believed unchecked ([`Reader`]).

mod address;
mod blocks;
mod error;
mod extend;
mod format;
mod lanes;
mod publish;
mod read;
#[cfg(test)]
mod tests;
mod tree;

pub use address::{Address, BadAddress, Top};
pub use blocks::{Blocks, Fetched};
pub use error::FsError;
pub use extend::{Extended, extend};
pub use format::{BLOCK, Entry, FANOUT, Inode, MAX_FILE, MAX_NAME, NodeKind, Snapshot};
pub use publish::{Options, Published, Sign, publish};
pub use read::{Reader, WINDOW};
