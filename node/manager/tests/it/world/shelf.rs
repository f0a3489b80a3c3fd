//! Pieces of code on the nodes' disks, and the frames about them.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_contract::{Change, Checked, Copies, Entry, Kept, Point, Shelf, Unavailable, Version, record_bytes};
use prost_kbr::{AppId, Interval, Key, NodeId, Refusal};
use prost_manager::{RangeIndex, Sum};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The keyed records of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelves(BTreeMap<AppId, BTreeMap<Point, Kept>>);

impl Shelves {
    /// Makes these changes; the bytes that the application's records take then.
    pub(super) fn change(&mut self, app: &AppId, changes: Vec<Change>) -> u64 {
        let records = self.0.entry(app.clone()).or_default();
        for change in changes {
            match change {
                Change::Keep(point, kept) if records.get(&point).is_none_or(|old| old.version < kept.version) => {
                    records.insert(point, kept);
                }
                Change::Drop(point, upto) if records.get(&point).is_some_and(|old| old.version <= upto) => {
                    records.remove(&point);
                }
                Change::Keep(..) | Change::Drop(..) => {}
                Change::Node { .. } => panic!("no piece is a record of the node"),
            }
        }
        bytes(records)
    }

    /// Each application of which something is kept, with the bytes that its records take.
    pub(super) fn held(&self) -> Vec<(AppId, u64)> {
        self.0.iter().map(|(app, records)| (app.clone(), bytes(records))).collect()
    }

    pub(super) fn forget(&mut self, app: &AppId) {
        self.0.remove(app);
    }

    /// What is kept of an application.
    pub(crate) fn of(&self, shelf: &AppId) -> BTreeMap<Key, Kept> {
        let records = self.0.get(shelf).into_iter().flatten();
        records.map(|(point, kept)| (point.key, kept.clone())).collect()
    }

    /// How many records there are in all.
    pub(crate) fn count(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}

fn bytes(records: &BTreeMap<Point, Kept>) -> u64 {
    let size =
        |(point, kept): (&Point, &Kept)| record_bytes(point.name.len(), kept.value.as_ref().map_or(0, Bytes::len));
    records.iter().map(size).sum()
}

impl Shelf for Shelves {
    fn apps(&self) -> Vec<AppId> {
        self.0.keys().cloned().collect()
    }

    fn copies(&self, app: &AppId) -> Box<dyn Copies + '_> {
        Box::new(Table(self.0.get(app).cloned().unwrap_or_default()))
    }

    fn damaged(&self) -> Vec<(AppId, Point)> {
        Vec::new()
    }
}

struct Table(BTreeMap<Point, Kept>);

impl Copies for Table {
    fn entries(&self, range: Interval, after: Option<&Point>, max: usize) -> Result<Vec<Entry>, Unavailable> {
        // The range's own start comes last, where it is in the range at all.
        let place =
            |point: &Point| (point.key == range.after(), range.after().distance_to(point.key), point.name.clone());
        let mut all: Vec<Entry> = self
            .0
            .iter()
            .filter(|(point, _)| range.contains(point.key) && after.is_none_or(|after| place(point) > place(after)))
            .map(|(point, kept)| Entry { point: point.clone(), version: kept.version })
            .collect();
        all.sort_by_key(|entry| place(&entry.point));
        all.truncate(max);
        Ok(all)
    }

    fn kept(&self, point: &Point) -> Result<Option<Kept>, Unavailable> {
        Ok(self.0.get(point).cloned())
    }

    fn sum(&self, range: Interval) -> Result<Sum, Unavailable> {
        self.index().cover(range).sum(|range| self.entries(range, None, usize::MAX))
    }

    fn parts(&self, range: Interval, parts: u64) -> Result<Vec<(Key, Sum)>, Unavailable> {
        self.index().cover_in_parts(range, parts).parts(|range| self.entries(range, None, usize::MAX))
    }

    fn check(&self, _: Option<&Point>, _: usize, _: usize) -> Result<Checked, Unavailable> {
        Ok(Checked::default())
    }
}

impl Table {
    fn index(&self) -> RangeIndex {
        let entry = |(point, kept): (&Point, &Kept)| Entry { point: point.clone(), version: kept.version };
        let entries: Vec<Entry> = self.0.iter().map(entry).collect();
        let mut index = RangeIndex::default();
        index.refill(index.leaf(Key::ZERO), &entries);
        index
    }
}

/// The frames about keyed records as they stand on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RecordFrame {
    Ask { request: u64, ask: Ask },
    Tell { request: u64, tell: Tell },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Range {
    after: Key,
    upto: Key,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) point: Point,
    pub(crate) version: Version,
    pub(crate) value: Option<ByteBuf>,
    pub(crate) expires: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ask {
    Summary { range: Range },
    Split { app: AppId, range: Range },
    Entries { app: AppId, range: Range, after: Option<Point> },
    Records { app: AppId, points: Vec<Point> },
    Store { app: AppId, records: Vec<Record> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Tell {
    Summary(Vec<(AppId, Sum)>),
    Parts(Vec<(Key, Sum)>),
    Entries { entries: Vec<Entry>, more: bool },
    Records(Vec<Record>),
    Stored(Result<(), NotStored>),
    Busy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotStored {
    Refused(Refusal),
    NotHere,
    Full,
    NotDurable,
    NotYet,
    Malformed,
}

/// What becomes of such a frame.
pub(crate) enum RecordFate {
    Arrives,
    Lost,
    Says(RecordFrame),
}

pub(crate) type RecordMeddler = Box<dyn FnMut(NodeId, NodeId, &RecordFrame) -> RecordFate>;

pub(crate) fn read(payload: &[u8]) -> RecordFrame {
    serde_cbor::from_slice(&payload[1..]).expect("a frame about keyed records")
}

pub(crate) fn write(frame: &RecordFrame) -> Bytes {
    let mut bytes = vec![0xff];
    serde_cbor::to_writer(&mut bytes, frame).expect("plain data");
    bytes.into()
}
