//! How a place in a tree is written.

use core::fmt;
use core::str::FromStr;

use prost_cfs_api::BlockId;

/// `ROOT/path`, or `@SNAPSHOT/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Which tree.
    pub top: Top,
    /// The path in it, without a slash at either end; empty for the tree's directory.
    pub path: String,
}

/// A tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Top {
    /// The newest one of a root.
    Root(BlockId),
    /// One as it was published, by the hash of its directory's inode.
    Snapshot(BlockId),
}

/// The text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadAddress;

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tree is a root's id of 64 hexadecimal digits, or @ and a snapshot's; a path may follow after /")
    }
}

impl core::error::Error for BadAddress {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.top {
            Top::Root(id) => write!(f, "{id}")?,
            Top::Snapshot(id) => write!(f, "@{id}")?,
        }
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Address, BadAddress> {
        let (top, path) = text.split_once('/').unwrap_or((text, ""));
        let top = match top.strip_prefix('@') {
            Some(id) => Top::Snapshot(id.parse().map_err(|_| BadAddress)?),
            None => Top::Root(top.parse().map_err(|_| BadAddress)?),
        };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        Ok(Address { top, path: parts.join("/") })
    }
}
