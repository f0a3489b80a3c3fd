//! Where blocks come from and go to.

use core::error::Error;

use prost_cfs_api::{BlockId, Kind};

/// A store of blocks, which is not trusted with them. Each call tries for as long as that makes sense.
pub trait Blocks: Sync {
    /// Why it did not do what it was asked for.
    type Error: Error + Send;

    /// Keeps a block for so many seconds at least. Says whether it was there before.
    ///
    /// # Errors
    ///
    /// It is not known to be kept.
    fn put(&self, kind: Kind, bytes: &[u8], ttl: u64) -> Result<bool, Self::Error>;

    /// A block, from none of these nodes; none where there is none.
    ///
    /// # Errors
    ///
    /// It is not known whether there is one.
    fn get(&self, kind: Kind, id: &BlockId, avoid: &[[u8; 20]]) -> Result<Option<Fetched>, Self::Error>;

    /// Keeps a block that is there for so many seconds from now at least. Says whether it is there.
    ///
    /// # Errors
    ///
    /// It is not known to be kept.
    fn extend(&self, kind: Kind, id: &BlockId, ttl: u64) -> Result<bool, Self::Error>;
}

/// What is said to be a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The node that is said to have had it.
    pub from: [u8; 20],
}
