//! How nodes compare and copy keyed records. Travels as the routing layer's `Upper` frames, beside the code protocol.

use bytes::Bytes;
use prost_contract::{Entry, Kept, Point, Sum, TOMBSTONE_MS, Version};
use prost_kbr::{AppId, Interval, Key, Refusal};
use prost_package::Piece;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::clock;
use super::look::PARTS;

/// First byte of every frame. No CBOR item begins with it (RFC 8949, 3.2.1), so none of the code protocol's does.
const MARK: u8 = 0xff;
/// Entries in a page.
pub(crate) const MAX_ENTRIES: usize = 512;
/// Records in one frame.
pub(crate) const MAX_RECORDS: usize = 64;
/// Bytes of values in one frame, but for the first.
pub(crate) const MAX_BYTES: usize = 256 << 10;
/// Applications in a summary: as many as a node knows, and as many shelves of code.
const MAX_APPS: usize = 512;
/// Longest name of a record: as [`Limits::default`](prost_contract::Limits::default) has it.
const MAX_NAME: usize = 512;
/// Longest value, likewise.
const MAX_VALUE: usize = 64 << 10;
/// How much later than a deletion can be forgotten at the earliest it may ask to be, in milliseconds: expired records
/// are remembered from their expiry on, which clocks tell differently.
const SLACK_MS: u64 = 3600 * 1000;

/// A frame between the records of two nodes. The number of a question comes back in its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecordFrame {
    Ask { request: u64, ask: Ask },
    Tell { request: u64, tell: Tell },
}

/// A range of keys, `(after, upto]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    after: Key,
    upto: Key,
}

impl From<Interval> for Range {
    fn from(range: Interval) -> Range {
        Range { after: range.after(), upto: range.upto() }
    }
}

impl From<Range> for Interval {
    fn from(range: Range) -> Interval {
        Interval::open_closed(range.after, range.upto)
    }
}

/// A keyed record on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) point: Point,
    version: Version,
    value: Option<ByteBuf>,
    expires: Option<u64>,
}

impl Record {
    pub(crate) fn new(point: Point, kept: &Kept) -> Record {
        let value = kept.value.as_ref().map(|value| ByteBuf::from(value.to_vec()));
        Record { point, version: kept.version, value, expires: kept.expires }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The value; none of a deletion.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.value.as_ref().map(|value| value.as_slice())
    }

    /// The record of an application as it is kept; none where it is out of bounds.
    pub(crate) fn into_kept(self, app: &AppId, now_ms: u64) -> Option<(Point, Kept)> {
        let most = if app.name.is_reserved() { Piece::MAX } else { MAX_VALUE };
        let value = self.value.map(|value| Bytes::from(value.into_vec()));
        let short = self.point.name.len() <= MAX_NAME && value.as_ref().is_none_or(|value| value.len() <= most);
        let expires = match (&value, self.expires) {
            (Some(_), expires) => expires,
            (None, Some(expires)) => Some(expires.min(now_ms + TOMBSTONE_MS + SLACK_MS)),
            (None, None) => Some(clock::millis(self.version).saturating_add(TOMBSTONE_MS)),
        };
        short.then_some((self.point, Kept { version: self.version, value, expires }))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Which applications have what in this range?
    Summary { range: Range },
    /// In parts?
    Split { app: AppId, range: Range },
    /// Record by record?
    Entries { app: AppId, range: Range, after: Option<Point> },
    /// Give these. Only a neighbour is given any, but for pieces of code, which anyone may need.
    Records { app: AppId, points: Vec<Point> },
    /// Keep these.
    Store { app: AppId, records: Vec<Record> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tell {
    /// Each application's share.
    Summary(Vec<(AppId, Sum)>),
    Parts(Vec<(Key, Sum)>),
    Entries {
        entries: Vec<Entry>,
        more: bool,
    },
    /// The first of those that were asked for.
    Records(Vec<Record>),
    /// They are durable here, in this version or a newer one; or not, and why.
    Stored(Result<(), NotStored>),
    /// The question cannot be answered now.
    Busy,
}

/// Why a node does not keep records that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotStored {
    /// It will not run the application.
    Refused(Refusal),
    /// It is none of the first nodes that are responsible for the key.
    NotHere,
    /// The application has used up its storage there.
    Full,
    /// The disk did not take them.
    NotDurable,
    /// The application is being installed there.
    NotYet,
    /// A record is out of bounds, or its version is from the future.
    Malformed,
}

impl RecordFrame {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = vec![MARK];
        serde_cbor::to_writer(&mut bytes, self).expect("a vector takes every byte of plain data");
        bytes.into()
    }

    /// Whether these bytes are meant to be such a frame.
    pub(crate) fn is_meant(bytes: &[u8]) -> bool {
        bytes.first() == Some(&MARK)
    }

    /// None where the bytes are no such frame, or its lists are too long.
    pub(crate) fn decode(bytes: &[u8]) -> Option<RecordFrame> {
        let (MARK, body) = bytes.split_first().map(|(mark, body)| (*mark, body))? else { return None };
        serde_cbor::from_slice(body).ok().filter(RecordFrame::is_bounded)
    }

    fn is_bounded(&self) -> bool {
        let short = |point: &Point| point.name.len() <= MAX_NAME;
        match self {
            RecordFrame::Ask { ask, .. } => match ask {
                Ask::Summary { .. } | Ask::Split { .. } => true,
                Ask::Entries { after, .. } => after.as_ref().is_none_or(short),
                Ask::Records { points, .. } => points.len() <= MAX_RECORDS && points.iter().all(short),
                Ask::Store { records, .. } => records.len() <= MAX_RECORDS,
            },
            RecordFrame::Tell { tell, .. } => match tell {
                Tell::Summary(apps) => apps.len() <= MAX_APPS,
                Tell::Parts(parts) => parts.len() as u64 <= PARTS + 1,
                Tell::Entries { entries, .. } => {
                    entries.len() <= MAX_ENTRIES && entries.iter().all(|entry| short(&entry.point))
                }
                Tell::Records(records) => records.len() <= MAX_RECORDS,
                Tell::Stored(_) | Tell::Busy => true,
            },
        }
    }
}
