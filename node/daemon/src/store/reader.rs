//! The records of one application, as its handlers read them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{Place, Records, Unavailable, Version};
use prost_kbr::{AppId, Id, Interval, Key};

use super::error::StoreError;
use super::layout::{self, Stored};
use super::shared::{RecordTable, Shared};

/// One application's records at one time.
pub(super) struct AppRecords {
    pub(super) shared: Arc<Shared>,
    pub(super) app: AppId,
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
            (key, self.shared.durable(&state))
        };
        let Some(stored) = durable.get(key.as_slice())? else { return Ok(None) };
        let stored = layout::decode(&key, stored.value())?;
        Ok(if stored.is_live(self.now_ms) { stored.value } else { None })
    }

    /// The records whose keys begin with what `prefix` makes of the application's number; none without one.
    pub(super) fn snapshot(
        &self,
        prefix: impl FnOnce(u32) -> Vec<u8>,
    ) -> Result<Option<(Vec<u8>, Snapshot)>, StoreError> {
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
            (prefix, pending, self.shared.durable(&state))
        };
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
        self.read(place, name).map_err(|error| self.unavailable(error))
    }

    fn names(
        &self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Vec<u8>>, Unavailable> {
        self.list_names(place, prefix, after, max).map_err(|error| self.unavailable(error))
    }

    fn keys(&self, range: Interval, after: Option<Key>, max: usize) -> Result<Vec<Key>, Unavailable> {
        self.list_keys(range, after, max).map_err(|error| self.unavailable(error))
    }
}

impl AppRecords {
    pub(super) fn unavailable(&self, error: StoreError) -> Unavailable {
        match error {
            StoreError::Damaged { key } => self.shared.notice(&[key]),
            error => tracing::error!(%error, "a record cannot be read"),
        }
        Unavailable
    }
}

/// Durable and pending records of one moment.
pub(super) struct Snapshot {
    pub(super) durable: Arc<RecordTable>,
    /// What is pending; it hides what is durable.
    pub(super) pending: BTreeMap<Vec<u8>, Seen>,
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
            if !self.pending.contains_key(key) && layout::parse(key, stored.value())?.is_live(self.now_ms) {
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
pub(super) struct Seen {
    /// Zero for a deletion.
    live_until: u64,
    /// None where nothing is left, and for records of the node.
    pub(super) version: Option<Version>,
}

impl Seen {
    pub(super) fn of(stored: Option<&Stored>) -> Seen {
        let live = stored.filter(|stored| stored.value.is_some());
        Seen { live_until: live.map_or(0, |stored| stored.expires), version: stored.and_then(|stored| stored.version) }
    }
}

/// The part of `range` after `after`, as stretches from one key to another, both included, that do not wrap around.
/// They may hold the ends of the range, which the caller checks.
pub(super) fn stretches(range: Interval, after: Option<Key>) -> Vec<(Key, Key)> {
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
