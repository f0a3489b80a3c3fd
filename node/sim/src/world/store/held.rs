//! The keyed records of one application, as nodes compare, copy and check them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prost_contract::{Checked, Copies, Entry, Kept, Place, Point, Sum, Unavailable};
use prost_kbr::{AppId, Id, Interval, Key};
use prost_manager::RangeIndex;

use super::{Record, Snapshot};

/// One application's keyed records, as nodes compare them.
pub(super) struct Held<'a> {
    pub(super) app: AppId,
    pub(super) snapshot: Snapshot,
    pub(super) index: Arc<RangeIndex>,
    /// Where damaged records that are read are noted.
    pub(super) found: &'a Mutex<BTreeSet<(AppId, Point)>>,
}

impl Held<'_> {
    fn record(&self, point: &Point) -> Option<&Record> {
        self.snapshot.records.get(&Place::At(point.key))?.get(&point.name)
    }

    /// Whether a record is sound; where it is not, that is noted.
    fn is_sound(&self, point: &Point) -> bool {
        let sound = self.record(point).is_none_or(Record::is_sound);
        if !sound {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert((self.app.clone(), point.clone()));
        }
        sound
    }

    fn read(&self, range: Interval) -> Result<Vec<Entry>, Unavailable> {
        self.entries(range, None, usize::MAX)
    }
}

impl Copies for Held<'_> {
    fn entries(&self, range: Interval, after: Option<&Point>, max: usize) -> Result<Vec<Entry>, Unavailable> {
        let mut entries = Vec::new();
        let mut from = after.cloned();
        while entries.len() < max {
            let missing = max - entries.len();
            let page = self.snapshot.list(range, from.as_ref(), missing);
            from = page.last().map(|entry| entry.point.clone());
            let all = page.len() < missing;
            entries.extend(page.into_iter().filter(|entry| self.is_sound(&entry.point)));
            if all {
                break;
            }
        }
        Ok(entries)
    }

    fn kept(&self, point: &Point) -> Result<Option<Kept>, Unavailable> {
        let record = self.record(point).filter(|_| self.is_sound(point));
        Ok(record.and_then(|record| {
            Some(Kept { version: record.version?, value: record.value.clone(), expires: record.expires })
        }))
    }

    fn sum(&self, range: Interval) -> Result<Sum, Unavailable> {
        self.index.cover(range).sum(|range| self.read(range))
    }

    fn parts(&self, range: Interval, parts: u64) -> Result<Vec<(Key, Sum)>, Unavailable> {
        self.index.cover_in_parts(range, parts).parts(|range| self.read(range))
    }

    fn check(&self, after: Option<&Point>, max: usize, _: usize) -> Result<Checked, Unavailable> {
        let highest = Id::from_bytes([u8::MAX; Id::LEN]);
        let read = self.snapshot.list(Interval::open_closed(highest, highest), after, max);
        for entry in &read {
            self.is_sound(&entry.point);
        }
        let last = read.last().filter(|_| read.len() == max).map(|entry| entry.point.clone());
        Ok(Checked { records: read.len(), bytes: 0, last })
    }
}
