//! How a handler reads records, and how nodes keep them.

use bytes::Bytes;
use prost_kbr::{AppId, Interval, Key, NodeId};
use serde::{Deserialize, Serialize};

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

/// How long a keyed record that was deleted, or has expired, is remembered, in milliseconds: two days. A copy that was
/// away for longer brings it back.
pub const TOMBSTONE_MS: u64 = 48 * 3600 * 1000;

/// The most copies of a keyed record. A node further from a key than this has no business with it.
pub const MAX_COPIES: usize = 16;

/// Orders the writes of one keyed record, on whatever nodes they were made: by a hybrid logical clock (Kulkarni et al.,
/// OPODIS 2014), and where two are alike by the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Milliseconds since 1970, times 65,536, and a counter.
    pub at: u64,
    /// The node that wrote.
    pub node: NodeId,
}

/// A keyed record as nodes keep and copy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The newest one counts.
    pub version: Version,
    /// The value; none where the record was deleted or has expired.
    pub value: Option<Bytes>,
    /// When the value expires, and when a deletion is forgotten: milliseconds since 1970. None for a value that stays.
    pub expires: Option<u64>,
}

/// Which keyed record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point {
    /// Where on the ring.
    pub key: Key,
    /// Under which name.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
}

/// A keyed record without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which.
    pub point: Point,
    /// Of the copy that is here.
    pub version: Version,
}

/// A change of one record, as the disk is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A record of the node.
    Node {
        /// Which.
        name: Vec<u8>,
        /// The value and when it expires (milliseconds since 1970); none deletes.
        value: Option<(Bytes, Option<u64>)>,
    },
    /// A keyed record, unless the one that is there is as new or newer.
    Keep(Point, Kept),
    /// The copy of a keyed record goes, unless the one that is there is newer than this.
    Drop(Point, Version),
}

impl Change {
    /// Bytes of the name and the value.
    pub fn bytes(&self) -> usize {
        match self {
            Change::Node { name, value } => name.len() + value.as_ref().map_or(0, |(value, _)| value.len()),
            Change::Keep(point, kept) => point.name.len() + kept.value.as_ref().map_or(0, Bytes::len),
            Change::Drop(point, _) => point.name.len(),
        }
    }
}

/// The keyed records of one application on one node, as nodes compare and copy them: deleted and expired ones included,
/// durable or not. A copy that is damaged is not there, so that whoever has a good one gives it; the store keeps it in
/// mind ([`Shelf::damaged`]).
pub trait Copies {
    /// Those in `range`, in ring order from the range's start and then by name, after `after`, at most `max`.
    fn entries(&self, range: Interval, after: Option<&Point>, max: usize) -> Result<Vec<Entry>, Unavailable>;

    /// One of them.
    fn kept(&self, point: &Point) -> Result<Option<Kept>, Unavailable>;

    /// How many there are in a range, and which. Costs the same for a few records as for many.
    fn sum(&self, range: Interval) -> Result<Sum, Unavailable>;

    /// A range in at most `parts` + 1 parts of about the same number of records, in ring order: the last key of each, and
    /// what is in it. The last one ends where the range does. `parts` is at least one.
    fn parts(&self, range: Interval, parts: u64) -> Result<Vec<(Key, Sum)>, Unavailable>;

    /// Reads records from the disk in the order of keys and names, from after `after` on, to find out which are damaged:
    /// at most `max`, and no more after so many bytes.
    fn check(&self, after: Option<&Point>, max: usize, bytes: usize) -> Result<Checked, Unavailable>;
}

/// How far a check came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Records that were read.
    pub records: usize,
    /// Bytes of their values.
    pub bytes: usize,
    /// The last record that was read, where there may be more after it.
    pub last: Option<Point>,
}

/// How many records, and a digest of which they are in which versions: alike on every node that has the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// The sum, modulo 2^128 and big endian, of a digest of each one's key, name and version; zeros where there are none.
    pub digest: [u8; 16],
}

/// All records of a node.
pub trait Shelf {
    /// The applications that may have keyed records here, in order.
    fn apps(&self) -> Vec<AppId>;

    /// One application's keyed records.
    fn copies(&self, app: &AppId) -> Box<dyn Copies + '_>;

    /// The keyed records that are known to be damaged here and have not been written again since, a bounded number.
    fn damaged(&self) -> Vec<(AppId, Point)>;
}
