//! The records of one application, as its handlers read them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{Copies, Entry, Kept, Place, Point, Records, Unavailable, Version};
use prost_kbr::{AppId, Id, Interval, Key};
use redb::ReadableDatabase;

use super::error::StoreError;
use super::layout::{self, Stored};
use super::shared::{RecordTable, Shared};

/// One application's records at one time.
pub(super) struct AppRecords {
    shared: Arc<Shared>,
    app: AppId,
    now_ms: u64,
}

impl AppRecords {
    pub(super) fn new(shared: Arc<Shared>, app: AppId, now_ms: u64) -> AppRecords {
        AppRecords { shared, app, now_ms }
    }

    fn read(&self, place: Place, name: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let (key, durable) = {
            let state = self.shared.state();
            let Some(app) = state.apps.get(&self.app) else { return Ok(None) };
            let key = layout::record_key(*app, place, name);
            if let Some(pending) = state.values.get(&key) {
                let live = pending.value.as_ref().filter(|stored| stored.is_live(self.now_ms));
                return Ok(live.and_then(|stored| stored.value.clone()));
            }
            (key, self.shared.db.begin_read()?)
        };
        let records = durable.open_table(layout::RECORDS)?;
        let Some(stored) = records.get(key.as_slice())? else { return Ok(None) };
        let stored = layout::decode(&key, stored.value())?;
        Ok(if stored.is_live(self.now_ms) { stored.value } else { None })
    }

    /// The records whose keys begin with what `prefix` makes of the application's number; none without one.
    fn snapshot(&self, prefix: impl FnOnce(u32) -> Vec<u8>) -> Result<Option<(Vec<u8>, Snapshot)>, StoreError> {
        let (prefix, pending, durable) = {
            let state = self.shared.state();
            let Some(app) = state.apps.get(&self.app) else { return Ok(None) };
            let prefix = prefix(*app);
            let pending = state
                .values
                .range(prefix.clone()..)
                .take_while(|(key, _)| key.starts_with(&prefix))
                .map(|(key, pending)| (key.clone(), Seen::of(pending.value.as_ref())))
                .collect();
            (prefix, pending, self.shared.db.begin_read()?)
        };
        let durable = durable.open_table(layout::RECORDS)?;
        Ok(Some((prefix, Snapshot { durable, pending, now_ms: self.now_ms })))
    }

    fn list_names(
        &self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let Some((full, snapshot)) = self.snapshot(|app| layout::record_key(app, place, prefix))? else {
            return Ok(Vec::new());
        };
        let skip = full.len() - prefix.len();
        let start = after.map(|after| [&full[..skip], after, &[0]].concat());
        let mut from = start.filter(|start| *start > full).unwrap_or_else(|| full.clone());
        let mut names = Vec::new();
        while names.len() < max {
            let Some(key) = snapshot.first_live(&from, &full)? else { break };
            names.push(key[skip..].to_vec());
            from = key;
            from.push(0);
        }
        Ok(names)
    }

    fn list_keys(&self, range: Interval, after: Option<Key>, max: usize) -> Result<Vec<Key>, StoreError> {
        let Some((prefix, snapshot)) = self.snapshot(layout::keyed_prefix)? else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        for (from, upto) in stretches(range, after) {
            let mut from = Some(from);
            while let Some(start) = from.filter(|_| keys.len() < max) {
                let start = [prefix.as_slice(), start.as_bytes()].concat();
                let Some(found) = snapshot.first_live(&start, &prefix)? else { break };
                let Some(key) = layout::ring_key_of(&found).filter(|key| *key <= upto) else { break };
                if range.contains(key) {
                    keys.push(key);
                }
                from = next(key);
            }
        }
        Ok(keys)
    }
}

impl Records for AppRecords {
    fn get(&self, place: Place, name: &[u8]) -> Result<Option<Bytes>, Unavailable> {
        self.read(place, name).map_err(unavailable)
    }

    fn names(
        &self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Vec<u8>>, Unavailable> {
        self.list_names(place, prefix, after, max).map_err(unavailable)
    }

    fn keys(&self, range: Interval, after: Option<Key>, max: usize) -> Result<Vec<Key>, Unavailable> {
        self.list_keys(range, after, max).map_err(unavailable)
    }
}

fn unavailable(error: StoreError) -> Unavailable {
    tracing::error!(%error, "a record cannot be read");
    Unavailable
}

/// Durable and pending records of one moment.
struct Snapshot {
    durable: RecordTable,
    /// What is pending; it hides what is durable.
    pending: BTreeMap<Vec<u8>, Seen>,
    now_ms: u64,
}

impl Snapshot {
    /// The first key from `from` on that begins with `prefix` and whose record exists and has not expired.
    fn first_live(&self, from: &[u8], prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let pending = self.first_pending(from);
        for entry in self.durable.range::<&[u8]>(from..)? {
            let (key, stored) = entry?;
            let key = key.value();
            if !key.starts_with(prefix) || pending.is_some_and(|pending| pending.as_slice() < key) {
                break;
            }
            if !self.pending.contains_key(key) && layout::is_live(key, stored.value(), self.now_ms)? {
                return Ok(Some(key.to_vec()));
            }
        }
        Ok(pending.cloned())
    }

    fn first_pending(&self, from: &[u8]) -> Option<&Vec<u8>> {
        let live = |(key, seen): (_, &Seen)| (seen.live_until > self.now_ms).then_some(key);
        self.pending.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).find_map(live)
    }
}

/// A pending value, without the value.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Zero for a deletion.
    live_until: u64,
    /// None where nothing is left, and for records of the node.
    version: Option<Version>,
}

impl Seen {
    fn of(stored: Option<&Stored>) -> Seen {
        let live = stored.filter(|stored| stored.value.is_some());
        Seen { live_until: live.map_or(0, |stored| stored.expires), version: stored.and_then(|stored| stored.version) }
    }
}

impl AppRecords {
    fn read_kept(&self, point: &Point) -> Result<Option<Kept>, StoreError> {
        let (key, durable) = {
            let state = self.shared.state();
            let Some(app) = state.apps.get(&self.app) else { return Ok(None) };
            let key = layout::record_key(*app, Place::At(point.key), &point.name);
            if let Some(pending) = state.values.get(&key) {
                return Ok(pending.value.as_ref().and_then(Stored::kept));
            }
            (key, self.shared.db.begin_read()?)
        };
        let records = durable.open_table(layout::RECORDS)?;
        let Some(stored) = records.get(key.as_slice())? else { return Ok(None) };
        Ok(layout::decode(&key, stored.value())?.kept())
    }

    fn list_entries(&self, range: Interval, after: Option<&Point>, max: usize) -> Result<Vec<Entry>, StoreError> {
        let Some((prefix, snapshot)) = self.snapshot(layout::keyed_prefix)? else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        for (from, upto) in arcs(range, after) {
            let end = [prefix.as_slice(), upto.as_bytes()].concat();
            let from = [prefix.as_slice(), &from].concat();
            snapshot.collect(&from, &end, max, &mut entries)?;
        }
        Ok(entries)
    }
}

impl Copies for AppRecords {
    fn entries(&self, range: Interval, after: Option<&Point>, max: usize) -> Result<Vec<Entry>, Unavailable> {
        self.list_entries(range, after, max).map_err(unavailable)
    }

    fn kept(&self, point: &Point) -> Result<Option<Kept>, Unavailable> {
        self.read_kept(point).map_err(unavailable)
    }
}

impl Snapshot {
    /// Adds the keyed records from `from` on whose ring key is not beyond the one that `end` ends with, until there are
    /// `max` in all.
    fn collect(&self, from: &[u8], end: &[u8], max: usize, entries: &mut Vec<Entry>) -> Result<(), StoreError> {
        let within = |key: &[u8]| key.get(..end.len()).is_some_and(|head| head <= end);
        let mut pending = self.pending.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).peekable();
        let mut durable = self.durable.range::<&[u8]>(from..)?.peekable();
        while entries.len() < max {
            if let Some(Err(_)) = durable.peek() {
                durable.next().transpose()?;
            }
            let stored = durable.peek().and_then(|entry| Some(entry.as_ref().ok()?.0.value().to_vec()));
            let waiting = pending.peek().map(|(key, _)| key.as_slice());
            let take_pending = match (&stored, waiting) {
                (None, None) => break,
                (Some(stored), Some(waiting)) => waiting <= stored.as_slice(),
                (stored, _) => stored.is_none(),
            };
            let (key, version) = if take_pending {
                let Some((key, seen)) = pending.next() else { break };
                if stored.as_ref() == Some(key) {
                    durable.next();
                }
                (key.clone(), seen.version)
            } else {
                let Some(entry) = durable.next() else { break };
                let (key, stored) = entry?;
                (key.value().to_vec(), layout::version(key.value(), stored.value())?)
            };
            if !within(&key) {
                break;
            }
            if let (Some(point), Some(version)) = (layout::point_of(&key), version) {
                entries.push(Entry { point, version });
            }
        }
        Ok(())
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

/// The part of `range` after `after`, as stretches from one key to another, both included, that do not wrap around.
/// They may hold the ends of the range, which the caller checks.
fn stretches(range: Interval, after: Option<Key>) -> Vec<(Key, Key)> {
    let after = after.filter(|after| *after != range.after() || *after == range.upto());
    if after.is_some_and(|after| !range.contains(after) || after == range.upto()) {
        return Vec::new();
    }
    let from = after.unwrap_or(range.after());
    let first = next(from);
    if from < range.upto() {
        return first.map(|first| (first, range.upto())).into_iter().collect();
    }
    let highest = Id::from_bytes([u8::MAX; Id::LEN]);
    first.map(|first| (first, highest)).into_iter().chain([(Id::ZERO, range.upto())]).collect()
}

/// The next point; none after the highest.
fn next(key: Key) -> Option<Key> {
    Some(key.plus_power(0)).filter(|next| *next != Id::ZERO)
}
