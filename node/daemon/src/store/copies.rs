//! The keyed records of one application, as nodes compare, copy and check them.

use prost_contract::{Checked, Copies, Entry, Kept, Place, Point, Sum, Unavailable};
use prost_kbr::{Id, Interval, Key};
use prost_manager::{Cover, RangeIndex};

use super::error::StoreError;
use super::layout::{self, Stored};
use super::reader::{AppRecords, stretches};
use super::sums::{Found, Pieces, collect, seen_between};

impl AppRecords {
    fn read_kept(&self, point: &Point) -> Result<Option<Kept>, StoreError> {
        let (key, durable) = {
            let state = self.shared.state();
            let Some(app) = state.apps.get(&self.app) else { return Ok(None) };
            let key = layout::record_key(*app, Place::At(point.key), &point.name);
            if let Some(pending) = state.values.get(&key) {
                return Ok(pending.value.as_ref().and_then(Stored::kept));
            }
            (key, self.shared.durable(&state))
        };
        let Some(stored) = durable.get(key.as_slice())? else { return Ok(None) };
        match layout::decode(&key, stored.value()) {
            Ok(stored) => Ok(stored.kept()),
            Err(_) => {
                self.shared.notice(&[key]);
                Ok(None)
            }
        }
    }

    /// What a range is made of, at one moment.
    fn pieces(&self, cover: impl FnOnce(&RangeIndex) -> Cover) -> Result<Option<Pieces>, StoreError> {
        let (app, cover, pending, durable) = {
            let state = self.shared.state();
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            let Some(app) = state.apps.get(&self.app) else { return Ok(None) };
            let Some(index) = state.indexes.get(app) else { return Ok(None) };
            let cover = cover(index);
            let pending = cover.to_read().flat_map(|range| seen_between(&state, *app, range)).collect();
            (*app, cover, pending, self.shared.durable(&state))
        };
        Ok(Some(Pieces { app, cover, pending, durable }))
    }

    /// Reads what is on the disk. What is pending is not there yet.
    fn check_some(&self, after: Option<&Point>, max: usize, bytes: usize) -> Result<Checked, StoreError> {
        let (prefix, durable) = {
            let state = self.shared.state();
            let Some(app) = state.apps.get(&self.app) else { return Ok(Checked::default()) };
            (layout::keyed_prefix(*app), self.shared.durable(&state))
        };
        let from = match after {
            Some(after) => [prefix.as_slice(), after.key.as_bytes(), &after.name, &[0]].concat(),
            None => prefix.clone(),
        };
        let (mut checked, mut damaged) = (Checked::default(), Vec::new());
        for entry in durable.range::<&[u8]>(from.as_slice()..)? {
            let (key, stored) = entry?;
            let (key, stored) = (key.value(), stored.value());
            if !key.starts_with(&prefix) {
                break;
            }
            checked.records += 1;
            checked.bytes += stored.len();
            if layout::parse(key, stored).is_err() {
                damaged.push(key.to_vec());
            }
            if checked.records >= max || checked.bytes >= bytes {
                checked.last = layout::point_of(key);
                break;
            }
        }
        self.shared.notice(&damaged);
        Ok(checked)
    }

    fn list_entries(&self, range: Interval, after: Option<&Point>, max: usize) -> Result<Vec<Entry>, StoreError> {
        let Some((prefix, snapshot)) = self.snapshot(layout::keyed_prefix)? else { return Ok(Vec::new()) };
        let mut found = Found { max, ..Found::default() };
        for (from, upto) in arcs(range, after) {
            let end = [prefix.as_slice(), upto.as_bytes()].concat();
            let from = [prefix.as_slice(), &from].concat();
            collect(&snapshot.durable, &snapshot.pending, (&from, &end), &mut found)?;
        }
        self.shared.notice(&found.damaged);
        Ok(found.entries)
    }
}

impl Copies for AppRecords {
    fn entries(&self, range: Interval, after: Option<&Point>, max: usize) -> Result<Vec<Entry>, Unavailable> {
        self.list_entries(range, after, max).map_err(|error| self.unavailable(error))
    }

    fn kept(&self, point: &Point) -> Result<Option<Kept>, Unavailable> {
        self.read_kept(point).map_err(|error| self.unavailable(error))
    }

    fn sum(&self, range: Interval) -> Result<Sum, Unavailable> {
        let mut damaged = Vec::new();
        let sum = self.pieces(|index| index.cover(range)).and_then(|found| match found {
            Some(pieces) => pieces.cover.sum(|range| pieces.read(range, &mut damaged)),
            None => Ok(Sum::default()),
        });
        self.shared.notice(&damaged);
        sum.map_err(|error| self.unavailable(error))
    }

    fn parts(&self, range: Interval, parts: u64) -> Result<Vec<(Key, Sum)>, Unavailable> {
        let mut damaged = Vec::new();
        let parts = self.pieces(|index| index.cover_in_parts(range, parts)).and_then(|found| match found {
            Some(pieces) => pieces.cover.parts(|range| pieces.read(range, &mut damaged)),
            None => Ok(vec![(range.upto(), Sum::default())]),
        });
        self.shared.notice(&damaged);
        parts.map_err(|error| self.unavailable(error))
    }

    fn check(&self, after: Option<&Point>, max: usize, bytes: usize) -> Result<Checked, Unavailable> {
        self.check_some(after, max, bytes).map_err(|error| self.unavailable(error))
    }
}

/// The part of a range from just after `after` on, as stretches that do not wrap around: what the database keys of their
/// first records begin with, after the application, and their last ring key.
fn arcs(range: Interval, after: Option<&Point>) -> Vec<(Vec<u8>, Key)> {
    let Some(after) = after else {
        return stretches(range, None).into_iter().map(|(from, upto)| (from.as_bytes().to_vec(), upto)).collect();
    };
    let mut arcs = Vec::new();
    if range.contains(after.key) {
        let first = [after.key.as_bytes().as_slice(), &after.name, &[0]].concat();
        let wraps = after.key > range.upto();
        arcs.push((first, if wraps { Id::from_bytes([u8::MAX; Id::LEN]) } else { range.upto() }));
        if wraps {
            arcs.push((Id::ZERO.as_bytes().to_vec(), range.upto()));
        }
    }
    arcs
}
