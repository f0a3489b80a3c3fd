//! A node's disk: packages, and the records of applications.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{
    Change, Copies, Entry, Kept, Place, Point, Records, Shelf, TOMBSTONE_MS, Unavailable, Version, record_bytes,
};
use prost_kbr::{AppId, Id, Interval, Key, Time};
use prost_package::Package;

use crate::apps::SharedRecords;

/// A record as the disk has it.
#[derive(Debug, Clone)]
struct Record {
    /// None for a keyed record that was deleted or has expired.
    value: Option<Bytes>,
    /// In milliseconds since 1970.
    expires: Option<u64>,
    /// Of a keyed record.
    version: Option<Version>,
}

impl Record {
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
    used: u64,
}

/// What a node has written. A write is seen at once and is durable at its time; a crash takes back what is not durable.
#[derive(Debug, Default)]
pub(super) struct Store {
    apps: BTreeMap<AppId, AppTable>,
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
        let records = self.apps.get(app).map(|table| table.records.clone()).unwrap_or_default();
        Box::new(Snapshot { records, now_ms: 0 })
    }
}

impl AppTable {
    /// What a change comes to; none where the record stays as it is.
    fn change(&self, change: Change) -> Option<(Place, Vec<u8>, Option<Record>)> {
        let version = |point: &Point| self.records.get(&Place::At(point.key))?.get(&point.name)?.version;
        match change {
            Change::Node { name, value } => {
                let record = value.map(|(value, expires)| Record { value: Some(value), expires, version: None });
                Some((Place::Node, name, record))
            }
            Change::Keep(point, kept) => {
                let newer = version(&point).is_none_or(|version| version < kept.version);
                let record = Record { value: kept.value, expires: kept.expires, version: Some(kept.version) };
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
        before
    }

    /// Removes what has expired; gives what that was. Keyed records are remembered for a while.
    fn sweep(&mut self, now_ms: u64) -> Vec<(Place, Vec<u8>, Option<Record>)> {
        let mut swept = Vec::new();
        while self.expiries.first().is_some_and(|(expires, ..)| *expires <= now_ms) {
            let Some((expires, place, name)) = self.expiries.pop_first() else { break };
            let current = self.records.get(&place).and_then(|names| names.get(&name));
            let Some(current) = current.filter(|record| record.expires == Some(expires)) else { continue };
            let tombstone = current.version.filter(|_| current.value.is_some()).map(|version| Record {
                value: None,
                expires: Some(expires.saturating_add(TOMBSTONE_MS)),
                version: Some(version),
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

impl Copies for Snapshot {
    fn entries(&self, range: Interval, after: Option<&Point>, max: usize) -> Result<Vec<Entry>, Unavailable> {
        if after.is_some_and(|after| !range.contains(after.key)) {
            return Ok(Vec::new());
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
        Ok(entries.filter(beyond).take(max).collect())
    }

    fn kept(&self, point: &Point) -> Result<Option<Kept>, Unavailable> {
        let record = self.records.get(&Place::At(point.key)).and_then(|names| names.get(&point.name));
        Ok(record.and_then(|record| {
            Some(Kept { version: record.version?, value: record.value.clone(), expires: record.expires })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> AppId {
        AppId { provider: [7; 32], name: "dht".parse().unwrap() }
    }

    fn key(first: u8) -> Key {
        let mut bytes = [0; Id::LEN];
        bytes[0] = first;
        Id::from_bytes(bytes)
    }

    fn change(place: Place, name: &str, value: Option<&str>, expires: Option<u64>) -> Change {
        let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        match place {
            Place::Node => Change::Node { name: name.as_bytes().to_vec(), value: value.map(|value| (value, expires)) },
            Place::At(key) => {
                let version = Version { at: 1, node: Id::ZERO };
                Change::Keep(Point { key, name: name.as_bytes().to_vec() }, Kept { version, value, expires })
            }
        }
    }

    fn put(store: &mut Store, at: u64, name: &str, value: Option<&str>) {
        store.submit(Time::from_micros(at), 0, &app(), vec![change(Place::Node, name, value, None)]);
    }

    fn get(store: &Store, name: &str) -> Option<Bytes> {
        store.records(&app(), 0).get(Place::Node, name.as_bytes()).unwrap()
    }

    #[test]
    fn a_crash_takes_back_what_is_not_durable_and_nothing_else() {
        let mut store = Store::default();
        put(&mut store, 10, "a", Some("one"));
        put(&mut store, 20, "a", Some("two"));
        put(&mut store, 30, "b", Some("new"));
        put(&mut store, 30, "a", None);
        assert_eq!((get(&store, "a"), get(&store, "b")), (None, Some(Bytes::from_static(b"new"))));
        store.crash(Time::from_micros(20));
        assert_eq!((get(&store, "a"), get(&store, "b")), (Some(Bytes::from_static(b"two")), None));
        assert_eq!(store.used(&app()), record_bytes(1, 3));
        store.crash(Time::from_micros(99));
        assert_eq!(get(&store, "a"), Some(Bytes::from_static(b"two")));
    }

    #[test]
    fn what_has_expired_is_not_seen_and_goes_with_the_next_write() {
        let mut store = Store::default();
        store.submit(Time::ZERO, 0, &app(), vec![change(Place::Node, "n", Some("v"), Some(1_000))]);
        let live = |now_ms| store.records(&app(), now_ms).get(Place::Node, b"n").unwrap().is_some();
        assert_eq!((live(999), live(1_000)), (true, false));
        assert_eq!(store.used(&app()), record_bytes(1, 1));
        store.submit(Time::ZERO, 1_000, &app(), vec![change(Place::Node, "m", Some("v"), None)]);
        assert_eq!(store.used(&app()), record_bytes(1, 1));
        assert_eq!(store.records(&app(), 0).names(Place::Node, b"", None, 9).unwrap(), [b"m".to_vec()]);
    }

    #[test]
    fn names_come_in_order_and_in_pages() {
        let mut store = Store::default();
        ["b", "ab", "aa", "c", "ac"].iter().for_each(|name| put(&mut store, 0, name, Some("v")));
        let records = store.records(&app(), 0);
        let names = |prefix: &str, after: Option<&str>, max| {
            let names = records.names(Place::Node, prefix.as_bytes(), after.map(str::as_bytes), max).unwrap();
            names.into_iter().map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names("a", None, 9), ["aa", "ab", "ac"]);
        assert_eq!(names("a", Some("aa"), 1), ["ab"]);
        assert_eq!(names("a", Some("b"), 9), Vec::<String>::new());
        assert_eq!(names("b", Some("a"), 9), ["b"]);
    }

    #[test]
    fn keys_come_in_the_order_of_the_ring_as_a_naive_walk_gives_them() {
        let mut store = Store::default();
        let held = [3, 5, 7, 200, 250];
        let writes = held.iter().map(|first| change(Place::At(key(*first)), "n", Some("v"), None)).collect();
        store.submit(Time::ZERO, 0, &app(), writes);
        let records = store.records(&app(), 0);
        for (start, end) in (0..=255).step_by(3).flat_map(|start| (1..=255).step_by(7).map(move |end| (start, end))) {
            let range = Interval::open_closed(key(start), key(end));
            let walk = (1..=256).map(|step| (u16::from(start) + step) as u8).filter(|first| held.contains(first));
            let naive: Vec<Key> = walk.map(key).filter(|key| range.contains(*key)).collect();
            assert_eq!(records.keys(range, None, 99).unwrap(), naive, "({start}, {end}]");
            for (at, after) in naive.iter().enumerate() {
                assert_eq!(records.keys(range, Some(*after), 99).unwrap(), naive[at + 1..], "({start}, {end}]");
            }
            assert_eq!(records.keys(range, None, 2).unwrap(), naive[..naive.len().min(2)]);
        }
    }
}
