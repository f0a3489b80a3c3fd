//! A node's disk: packages, and the records of applications.

mod held;

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost_contract::{
    Change, Copies, Entry, Place, Point, Records, Shelf, TOMBSTONE_MS, Unavailable, Version, record_bytes,
};
use prost_kbr::{AppId, Id, Interval, Key, Time};
use prost_manager::RangeIndex;
use prost_package::Package;

use crate::apps::SharedRecords;
use held::Held;

/// A record as the disk has it.
#[derive(Debug, Clone)]
struct Record {
    /// None for a keyed record that was deleted or has expired.
    value: Option<Bytes>,
    /// In milliseconds since 1970.
    expires: Option<u64>,
    /// Of a keyed record.
    version: Option<Version>,
    health: Health,
}

/// Whether a record is what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Health {
    #[default]
    Sound,
    /// It is not, and nobody has read it yet.
    Damaged,
    /// It is not, and that is known.
    Known,
}

impl Record {
    fn is_sound(&self) -> bool {
        self.health == Health::Sound
    }

    /// The version that the sums count.
    fn counted(&self) -> Option<Version> {
        self.version.filter(|_| self.health != Health::Known)
    }

    fn is_live(&self, now_ms: u64) -> bool {
        self.value.is_some() && self.expires.is_none_or(|expires| expires > now_ms)
    }
}

type Table = BTreeMap<Place, BTreeMap<Vec<u8>, Record>>;

/// The records of one application.
#[derive(Debug, Default)]
struct AppTable {
    records: Arc<Table>,
    /// What expires, by time.
    expiries: BTreeSet<(u64, Place, Vec<u8>)>,
    index: Arc<RangeIndex>,
    /// Records that were once known to be damaged.
    damaged: BTreeSet<Point>,
    used: u64,
}

/// What a node has written. A write is seen at once and is durable at its time; a crash takes back what is not durable.
#[derive(Debug, Default)]
pub(super) struct Store {
    apps: BTreeMap<AppId, AppTable>,
    /// Damaged records that were read.
    found: Mutex<BTreeSet<(AppId, Point)>>,
    packages: BTreeMap<AppId, Package>,
    pending: VecDeque<Pending>,
}

/// How to take back what is not durable yet.
#[derive(Debug)]
struct Pending {
    durable_at: Time,
    app: AppId,
    undo: Undo,
}

#[derive(Debug)]
enum Undo {
    /// What was there before each write, in the order of the writes.
    Records(Vec<(Place, Vec<u8>, Option<Record>)>),
    Package(Option<Box<Package>>),
}

impl Store {
    /// Makes writes that are durable at this time. Times may not go back from call to call.
    pub(super) fn submit(&mut self, durable_at: Time, now_ms: u64, app: &AppId, changes: Vec<Change>) {
        let table = self.apps.entry(app.clone()).or_default();
        let mut undo = table.sweep(now_ms);
        for change in changes {
            if let Some((place, name, record)) = table.change(change) {
                let before = table.put(place, &name, record);
                undo.push((place, name, before));
            }
        }
        self.pending.push_back(Pending { durable_at, app: app.clone(), undo: Undo::Records(undo) });
    }

    /// Keeps a package from this time on.
    pub(super) fn save(&mut self, durable_at: Time, package: Package) {
        let app = package.manifest.manifest().app();
        let before = self.packages.insert(app.clone(), package).map(Box::new);
        self.pending.push_back(Pending { durable_at, app, undo: Undo::Package(before) });
    }

    /// Forgets an application and its records, at once and for good.
    pub(super) fn forget(&mut self, app: &AppId) {
        self.apps.remove(app);
        self.packages.remove(app);
        self.pending.retain(|pending| pending.app != *app);
    }

    /// What has become durable by now can no longer be lost.
    pub(super) fn settle(&mut self, now: Time) {
        while self.pending.front().is_some_and(|pending| pending.durable_at <= now) {
            self.pending.pop_front();
        }
    }

    /// The process is gone: what is not durable by now is lost.
    pub(super) fn crash(&mut self, now: Time) {
        self.settle(now);
        while let Some(Pending { app, undo, .. }) = self.pending.pop_back() {
            match undo {
                Undo::Records(undo) => {
                    let Some(table) = self.apps.get_mut(&app) else { continue };
                    for (place, name, before) in undo.into_iter().rev() {
                        table.put(place, &name, before);
                    }
                }
                Undo::Package(Some(before)) => {
                    self.packages.insert(app, *before);
                }
                Undo::Package(None) => {
                    self.packages.remove(&app);
                }
            }
        }
    }

    /// The disk spoils a keyed record, which nobody notices before it is read. Says whether it was there and sound.
    pub(super) fn spoil(&mut self, app: &AppId, point: &Point) -> bool {
        let table = self.apps.get_mut(app).filter(|table| table.health(point) == Some(Health::Sound));
        table.is_some_and(|table| table.set_health(point, Health::Damaged).is_some())
    }

    /// What was found to be damaged is counted no more.
    pub(super) fn heed_damage(&mut self) {
        let found = std::mem::take(self.found.get_mut().unwrap_or_else(PoisonError::into_inner));
        for (app, point) in found {
            let Some(table) = self.apps.get_mut(&app) else { continue };
            if table.health(&point).is_some_and(|health| health != Health::Sound) {
                table.set_health(&point, Health::Known);
                table.damaged.insert(point);
            }
        }
        for table in self.apps.values_mut() {
            let records = &table.records;
            let health = |point: &Point| Some(records.get(&Place::At(point.key))?.get(&point.name)?.health);
            table.damaged.retain(|point| health(point) == Some(Health::Known));
        }
    }

    /// The packages that it keeps.
    pub(super) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// Bytes that an application's records take; what has expired counts until the next write sweeps it.
    pub(super) fn used(&self, app: &AppId) -> u64 {
        self.apps.get(app).map_or(0, |table| table.used)
    }

    /// The same of all applications.
    pub(super) fn used_by_all(&self) -> u64 {
        self.apps.values().map(|table| table.used).sum()
    }

    /// An application's records as they are now.
    pub(super) fn records(&self, app: &AppId, now_ms: u64) -> SharedRecords {
        let records = self.apps.get(app).map(|table| table.records.clone()).unwrap_or_default();
        Arc::new(Snapshot { records, now_ms })
    }
}

impl Store {
    /// The newest version among the keyed records.
    pub(super) fn newest_version(&self) -> u64 {
        let tables = self.apps.values().flat_map(|table| table.records.values());
        let versions = tables.flat_map(BTreeMap::values).filter_map(|record| record.version);
        versions.map(|version| version.at).max().unwrap_or(0)
    }
}

impl Shelf for Store {
    fn apps(&self) -> Vec<AppId> {
        self.apps.keys().cloned().collect()
    }

    fn copies(&self, app: &AppId) -> Box<dyn Copies + '_> {
        let table = self.apps.get(app);
        let records = table.map(|table| table.records.clone()).unwrap_or_default();
        let index = table.map(|table| table.index.clone()).unwrap_or_default();
        Box::new(Held { app: app.clone(), snapshot: Snapshot { records, now_ms: 0 }, index, found: &self.found })
    }

    fn damaged(&self) -> Vec<(AppId, Point)> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.apps.iter().flat_map(|(app, table)| {
            let known = table.damaged.iter().filter(|point| table.health(point) == Some(Health::Known));
            known.map(move |point| (app.clone(), point.clone()))
        });
        known.chain(found.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl AppTable {
    /// What a change comes to; none where the record stays as it is.
    fn change(&self, change: Change) -> Option<(Place, Vec<u8>, Option<Record>)> {
        let there = |point: &Point| self.records.get(&Place::At(point.key))?.get(&point.name);
        let version = |point: &Point| there(point).filter(|record| record.is_sound())?.version;
        match change {
            Change::Node { name, value } => {
                let record = value.map(|(value, expires)| Record {
                    value: Some(value),
                    expires,
                    version: None,
                    health: Health::Sound,
                });
                Some((Place::Node, name, record))
            }
            Change::Keep(point, kept) => {
                let newer = version(&point).is_none_or(|version| version < kept.version);
                let record = Record {
                    value: kept.value,
                    expires: kept.expires,
                    version: Some(kept.version),
                    health: Health::Sound,
                };
                newer.then_some((Place::At(point.key), point.name, Some(record)))
            }
            Change::Drop(point, upto) => {
                let goes = version(&point).is_some_and(|version| version <= upto);
                goes.then_some((Place::At(point.key), point.name, None))
            }
        }
    }

    /// Puts a record there, or removes it; gives what was there before.
    fn put(&mut self, place: Place, name: &[u8], value: Option<Record>) -> Option<Record> {
        let new = value.as_ref().and_then(Record::counted);
        let records = Arc::make_mut(&mut self.records);
        let at_place = records.entry(place).or_default();
        let charge = |record: &Record| record_bytes(name.len(), record.value.as_ref().map_or(0, Bytes::len));
        self.used += value.as_ref().map_or(0, charge);
        if let Some(expires) = value.as_ref().and_then(|record| record.expires) {
            self.expiries.insert((expires, place, name.to_vec()));
        }
        let before = match value {
            Some(value) => at_place.insert(name.to_vec(), value),
            None => at_place.remove(name),
        };
        if at_place.is_empty() {
            records.remove(&place);
        }
        self.used -= before.as_ref().map_or(0, charge);
        if let Place::At(key) = place {
            let old = before.as_ref().and_then(Record::counted);
            self.count(&Point { key, name: name.to_vec() }, old, new);
        }
        before
    }

    fn health(&self, point: &Point) -> Option<Health> {
        Some(self.records.get(&Place::At(point.key))?.get(&point.name)?.health)
    }

    /// Changes what is known of a record; gives the record as it was.
    fn set_health(&mut self, point: &Point, health: Health) -> Option<Record> {
        let names = Arc::make_mut(&mut self.records).get_mut(&Place::At(point.key))?;
        let record = names.get_mut(&point.name)?;
        let before = record.clone();
        record.health = health;
        let (old, new) = (before.counted(), record.counted());
        self.count(point, old, new);
        Some(before)
    }

    /// A keyed record has changed its version.
    fn count(&mut self, point: &Point, old: Option<Version>, new: Option<Version>) {
        let index = Arc::make_mut(&mut self.index);
        if let Some(leaf) = index.change(point, old, new) {
            let snapshot = Snapshot { records: self.records.clone(), now_ms: 0 };
            let entries = snapshot.list(leaf.range(), None, usize::MAX);
            index.refill(leaf, &entries);
        }
    }

    /// Removes what has expired; gives what that was. Keyed records are remembered for a while.
    fn sweep(&mut self, now_ms: u64) -> Vec<(Place, Vec<u8>, Option<Record>)> {
        let mut swept = Vec::new();
        while self.expiries.first().is_some_and(|(expires, ..)| *expires <= now_ms) {
            let Some((expires, place, name)) = self.expiries.pop_first() else { break };
            let current = self.records.get(&place).and_then(|names| names.get(&name));
            let Some(current) = current.filter(|record| record.expires == Some(expires)) else { continue };
            if !current.is_sound() {
                continue;
            }
            let tombstone = current.version.filter(|_| current.value.is_some()).map(|version| Record {
                value: None,
                expires: Some(expires.saturating_add(TOMBSTONE_MS)),
                version: Some(version),
                health: Health::Sound,
            });
            let before = self.put(place, &name, tombstone);
            swept.push((place, name, before));
        }
        swept
    }
}

/// One application's records at one time.
struct Snapshot {
    records: Arc<Table>,
    now_ms: u64,
}

impl Snapshot {
    fn has_any(&self, names: &BTreeMap<Vec<u8>, Record>) -> bool {
        names.values().any(|record| record.is_live(self.now_ms))
    }

    /// The places of a range, from a key of it on.
    fn circle(&self, range: Interval, from: Bound<Id>) -> impl Iterator<Item = (Key, &BTreeMap<Vec<u8>, Record>)> {
        let start = range.after();
        let (Bound::Included(first) | Bound::Excluded(first)) = from else { unreachable!("a range has a start") };
        let at = |place: &Place| if let Place::At(key) = place { Some(*key) } else { None };
        // From there to the top of the circle, and where the range goes over the top, on from its bottom.
        let end = if first < start { Bound::Included(Place::At(start)) } else { Bound::Unbounded };
        let beyond = (from.map(Place::At), end);
        let wrapped = (first >= start).then(|| self.records.range(Place::At(Id::ZERO)..=Place::At(start)));
        let circle = self.records.range(beyond).chain(wrapped.into_iter().flatten());
        circle
            .filter_map(move |(place, names)| Some((at(place)?, names)))
            .take_while(move |(key, _)| range.contains(*key))
    }
}

impl Records for Snapshot {
    fn get(&self, place: Place, name: &[u8]) -> Result<Option<Bytes>, Unavailable> {
        let record = self.records.get(&place).and_then(|names| names.get(name));
        if record.is_some_and(|record| !record.is_sound()) {
            return Err(Unavailable);
        }
        Ok(record.filter(|record| record.is_live(self.now_ms)).and_then(|record| record.value.clone()))
    }

    fn names(
        &self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Vec<u8>>, Unavailable> {
        let Some(names) = self.records.get(&place) else { return Ok(Vec::new()) };
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let page = names
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(_, record)| record.is_live(self.now_ms));
        Ok(page.map(|(name, _)| name.clone()).take(max).collect())
    }

    fn keys(&self, range: Interval, after: Option<Key>, max: usize) -> Result<Vec<Key>, Unavailable> {
        let start = range.after();
        if after == Some(range.upto()) || after.is_some_and(|after| !range.contains(after)) {
            return Ok(Vec::new());
        }
        let keys = self.circle(range, Bound::Excluded(after.unwrap_or(start))).filter(|(_, names)| self.has_any(names));
        Ok(keys.map(|(key, _)| key).take(max).collect())
    }
}

impl Snapshot {
    fn list(&self, range: Interval, after: Option<&Point>, max: usize) -> Vec<Entry> {
        if after.is_some_and(|after| !range.contains(after.key)) {
            return Vec::new();
        }
        let last = after.filter(|after| after.key == range.upto());
        let at_last = last.and_then(|after| Some((after.key, self.records.get(&Place::At(after.key))?)));
        let from = after.map_or(Bound::Excluded(range.after()), |after| Bound::Included(after.key));
        let onward = last.is_none().then(|| self.circle(range, from));
        let entries = at_last.into_iter().chain(onward.into_iter().flatten()).flat_map(|(key, names)| {
            names.iter().filter_map(move |(name, record)| {
                Some(Entry { point: Point { key, name: name.clone() }, version: record.version? })
            })
        });
        let beyond =
            |entry: &Entry| after.is_none_or(|after| entry.point.key != after.key || entry.point.name > after.name);
        entries.filter(beyond).take(max).collect()
    }
}

#[cfg(test)]
mod tests;
