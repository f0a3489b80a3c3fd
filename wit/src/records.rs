//! How a handler reads records.

use bytes::Bytes;
use prost_kbr::{Interval, Key};

/// Where a record lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// On this node, whatever happens to the ring.
    Node,
    /// At a ring key.
    At(Key),
}

/// The store failed; the event is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// The records of one application on one node, as they stand before an event: all earlier events' writes included,
/// durable or not. Expired records are not seen.
pub trait Records {
    /// One record's value.
    fn get(&self, place: Place, name: &[u8]) -> Result<Option<Bytes>, Unavailable>;

    /// Names that begin with `prefix`, in order, after `after`, at most `max`.
    fn names(&self, place: Place, prefix: &[u8], after: Option<&[u8]>, max: usize)
    -> Result<Vec<Vec<u8>>, Unavailable>;

    /// Ring keys in `range` that have records, in ring order from the range's start, after `after`, at most `max`.
    fn keys(&self, range: Interval, after: Option<Key>, max: usize) -> Result<Vec<Key>, Unavailable>;

    /// Bytes of one record, as [`record_bytes`] counts them; zero where there is none. What a write frees.
    fn size(&self, place: Place, name: &[u8]) -> Result<u64, Unavailable> {
        Ok(self.get(place, name)?.map_or(0, |value| record_bytes(name.len(), value.len())))
    }
}

/// What a record is charged for besides its name and value.
const OVERHEAD: u64 = 64;

/// What a record of these lengths is charged.
pub const fn record_bytes(name: usize, value: usize) -> u64 {
    name as u64 + value as u64 + OVERHEAD
}
