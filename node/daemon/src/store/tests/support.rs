//! A store on a disk in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost_contract::{Change, Checked, Entry, Kept, Place, Point, Shelf, Sum, Unavailable, Version, Write};
use prost_kbr::{AppId, Id, Interval, Key, NodeId};
use prost_manager::Space;
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::super::open::Means;
use super::super::space::Room;
use super::super::{Batch, Store, StoreError, layout};
use super::disk::{Disk, Op};

/// Bytes of pages that a store keeps in memory.
const CACHE_BYTES: usize = 16 << 20;
/// How long a test waits for the writer before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn app(name: &str) -> AppId {
    AppId { provider: [7; 32], name: name.parse().expect("a legal name") }
}

pub(super) fn node(number: u8) -> NodeId {
    key(number)
}

/// A key whose order is that of its number.
pub(super) fn key(number: u8) -> Key {
    let mut bytes = [0; 20];
    bytes[0] = number;
    Id::from_bytes(bytes)
}

pub(super) fn at(number: u8) -> Place {
    Place::At(key(number))
}

pub(super) fn put(place: Place, name: &[u8], value: &[u8]) -> Write {
    Write { place, name: name.to_vec(), value: Some((Bytes::copy_from_slice(value), None)) }
}

pub(super) fn put_until(place: Place, name: &[u8], value: &[u8], expires: u64) -> Write {
    Write { place, name: name.to_vec(), value: Some((Bytes::copy_from_slice(value), Some(expires))) }
}

pub(super) fn delete(place: Place, name: &[u8]) -> Write {
    Write { place, name: name.to_vec(), value: None }
}

type Gauged = Arc<Mutex<Option<Room>>>;
type Steps = Arc<Mutex<BTreeMap<u64, usize>>>;

/// A store of node 1 on a disk in memory, with a clock that stands still.
pub(super) struct Harness {
    store: Option<Store>,
    disk: Disk,
    batches: Receiver<Batch>,
    submitted: AtomicU64,
    versions: AtomicU64,
    acknowledged: AtomicU64,
    /// The step of a script that a commit is.
    steps: Steps,
    /// What the disk says about its room.
    pub(super) room: Gauged,
    pub(super) clock: Arc<AtomicU64>,
}

impl Harness {
    pub(super) fn new() -> Harness {
        Harness::on(Disk::new())
    }

    pub(super) fn on(disk: Disk) -> Harness {
        Harness::try_on(disk).expect("a sound disk")
    }

    pub(super) fn try_on(disk: Disk) -> Result<Harness, StoreError> {
        Harness::try_with(disk, CACHE_BYTES)
    }

    pub(super) fn try_with(disk: Disk, cache_bytes: usize) -> Result<Harness, StoreError> {
        let clock = Arc::new(AtomicU64::new(super::T0));
        let steps = Steps::default();
        let room = Gauged::default();
        let (store, batches) = open(&disk, &clock, &steps, &room, cache_bytes)?;
        let zero = || AtomicU64::new(0);
        Ok(Harness {
            store: Some(store),
            disk,
            batches,
            submitted: zero(),
            versions: AtomicU64::new(1),
            acknowledged: zero(),
            steps,
            room,
            clock,
        })
    }

    /// Closes the store and opens it again.
    pub(super) fn reopen(&mut self) {
        drop(self.store.take());
        let (store, batches) =
            open(&self.disk, &self.clock, &self.steps, &self.room, CACHE_BYTES).expect("a sound disk");
        (self.store, self.batches) = (Some(store), batches);
        self.acknowledged.store(self.submitted.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open between calls")
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn try_submit(&self, app: &AppId, writes: Vec<Write>) -> Result<(), StoreError> {
        self.try_change(app, writes.into_iter().map(|write| self.change(write)).collect())
    }

    /// What a write is to the disk: each is newer than all before, and a keyed record that is deleted leaves nothing.
    fn change(&self, Write { place, name, value }: Write) -> Change {
        let at = self.versions.fetch_add(1, Ordering::SeqCst);
        let version = Version { at, node: node(1) };
        match place {
            Place::Node => Change::Node { name, value },
            Place::At(key) => match value {
                Some((value, expires)) => {
                    Change::Keep(Point { key, name }, Kept { version, value: Some(value), expires })
                }
                None => Change::Drop(Point { key, name }, version),
            },
        }
    }

    pub(super) fn try_change(&self, app: &AppId, changes: Vec<Change>) -> Result<(), StoreError> {
        let commit = self.submitted.load(Ordering::SeqCst);
        self.store().submit(app, commit, changes)?;
        self.submitted.store(commit + 1, Ordering::SeqCst);
        Ok(())
    }

    pub(super) fn submit(&self, app: &AppId, writes: Vec<Write>) {
        self.try_submit(app, writes).expect("an open store");
    }

    /// Writes as a step of a script, which the disk's trace says when it is durable.
    pub(super) fn submit_step(&self, app: &AppId, writes: Vec<Write>, step: usize) {
        self.steps.lock().expect("no test panics here").insert(self.submitted.load(Ordering::SeqCst), step);
        self.submit(app, writes);
    }

    pub(super) fn remove_app(&self, app: &AppId) {
        self.store().remove_app(app).expect("an open store");
    }

    pub(super) fn save_package(&self, app: &AppId, bytes: &'static [u8]) {
        self.try_save_package(app, Bytes::from_static(bytes)).expect("an open store");
    }

    pub(super) fn remove_package(&self, app: &AppId) {
        self.store().remove_package(app).expect("an open store");
    }

    pub(super) fn packages(&self) -> Vec<(AppId, Bytes)> {
        self.store().packages().expect("a sound disk")
    }

    /// Waits until each commit was acknowledged, in order.
    pub(super) fn wait_for_all(&self) {
        while self.acknowledged.load(Ordering::SeqCst) < self.submitted.load(Ordering::SeqCst) {
            let batch = self.batches.recv_timeout(PATIENCE).expect("the writer answers");
            assert_eq!(batch.result, Ok(()));
            for commit in batch.commits {
                assert_eq!(commit, self.acknowledged.fetch_add(1, Ordering::SeqCst), "commits keep their order");
            }
        }
    }

    /// Waits for the next transaction with a commit in it.
    pub(super) fn wait_for_next(&self) -> Result<(), StoreError> {
        loop {
            let batch = self.batches.recv_timeout(PATIENCE).expect("the writer answers");
            self.acknowledged.fetch_add(batch.commits.len() as u64, Ordering::SeqCst);
            batch.result?;
            if !batch.commits.is_empty() {
                return Ok(());
            }
        }
    }

    pub(super) fn wait_for_failure(&self) -> StoreError {
        loop {
            let batch = self.batches.recv_timeout(PATIENCE).expect("the writer answers");
            if let Err(error) = batch.result {
                return error;
            }
        }
    }

    pub(super) fn wait_until(&self, done: impl Fn(&Harness) -> bool) {
        let started = Instant::now();
        while !done(self) {
            assert!(started.elapsed() < PATIENCE, "it does not happen");
            std::thread::yield_now();
        }
    }

    pub(super) fn space(&self) -> Space {
        self.store().space()
    }

    pub(super) fn try_save_package(&self, app: &AppId, bytes: Bytes) -> Result<(), StoreError> {
        let commit = self.submitted.load(Ordering::SeqCst);
        self.store().save_package(app, commit, bytes)?;
        self.submitted.store(commit + 1, Ordering::SeqCst);
        Ok(())
    }

    pub(super) fn used(&self, app: &AppId) -> u64 {
        self.store().used(app)
    }

    /// Records in the database, of whatever application.
    pub(super) fn rows(&self) -> u64 {
        let read = self.store().shared.db.begin_read().expect("a sound disk");
        read.open_table(layout::RECORDS).and_then(|table| Ok(table.len()?)).expect("a sound disk")
    }

    pub(super) fn try_get(&self, app: &AppId, place: Place, name: &[u8]) -> Result<Option<Vec<u8>>, Unavailable> {
        self.store().records(app, super::T0).get(place, name).map(|value| value.map(|value| value.to_vec()))
    }

    pub(super) fn get(&self, app: &AppId, place: Place, name: &[u8]) -> Option<Vec<u8>> {
        self.try_get(app, place, name).expect("a sound disk")
    }

    pub(super) fn get_at(&self, now_ms: u64, app: &AppId, place: Place, name: &[u8]) -> Option<Vec<u8>> {
        let value = self.store().records(app, now_ms).get(place, name).expect("a sound disk");
        value.map(|value| value.to_vec())
    }

    /// A keyed record of `dht` as nodes copy it.
    pub(super) fn kept(&self, point: &Point) -> Option<Kept> {
        self.store().shelf().copies(&app("dht")).kept(point).expect("a sound disk")
    }

    /// The keyed records of `dht` in a range, deleted ones included.
    pub(super) fn entries(&self, range: Interval, after: Option<&Point>, max: usize) -> Vec<Entry> {
        self.store().shelf().copies(&app("dht")).entries(range, after, max).expect("a sound disk")
    }

    /// The keyed records of `dht` that are known to be damaged.
    pub(super) fn damaged(&self) -> Vec<Point> {
        self.store().shelf().damaged().into_iter().map(|(_, point)| point).collect()
    }

    pub(super) fn check(&self, after: Option<&Point>, max: usize) -> Checked {
        self.store().shelf().copies(&app("dht")).check(after, max, usize::MAX).expect("a sound disk")
    }

    /// Spoils the last byte of a durable record of `dht`, as if a bit had flipped below an open store.
    pub(super) fn corrupt(&self, point: &Point) {
        self.overwrite(point, point, |stored| *stored.last_mut().expect("a value") ^= 1);
    }

    /// Writes what one durable record of `dht` is in the place of another.
    pub(super) fn misdirect(&self, from: &Point, to: &Point) {
        self.overwrite(from, to, |_| ());
    }

    fn overwrite(&self, from: &Point, to: &Point, change: impl FnOnce(&mut Vec<u8>)) {
        self.wait_for_all();
        let shared = &self.store().shared;
        let app = shared.state().apps[&app("dht")];
        let key = |point: &Point| layout::record_key(app, Place::At(point.key), &point.name);
        let transaction = shared.db.begin_write().expect("a sound disk");
        {
            let mut records = transaction.open_table(layout::RECORDS).expect("its table");
            let stored = records.get(key(from).as_slice()).expect("a sound disk");
            let mut stored = stored.map(|stored| stored.value().to_vec()).expect("it is there");
            change(&mut stored);
            records.insert(key(to).as_slice(), stored.as_slice()).expect("a sound disk");
        }
        transaction.commit().expect("a sound disk");
        drop(shared.settle(&[]));
    }

    pub(super) fn try_names(&self, place: Place) -> Result<Vec<Vec<u8>>, Unavailable> {
        self.store().records(&app("dht"), super::T0).names(place, b"", None, 100)
    }

    pub(super) fn sum(&self, range: Interval) -> Sum {
        self.store().shelf().copies(&app("dht")).sum(range).expect("a sound disk")
    }

    pub(super) fn parts(&self, range: Interval, parts: u64) -> Vec<(Key, Sum)> {
        self.store().shelf().copies(&app("dht")).parts(range, parts).expect("a sound disk")
    }

    pub(super) fn newest_version(&self) -> u64 {
        self.store().newest_version()
    }

    /// Names that `dht` has at a place.
    pub(super) fn names(&self, place: Place, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Vec<String> {
        let names = self.store().records(&app("dht"), super::T0).names(place, prefix, after, max);
        names.expect("a sound disk").into_iter().map(|name| String::from_utf8_lossy(&name).into_owned()).collect()
    }

    /// The numbers of keys that `dht` has records at.
    pub(super) fn keys(&self, range: Interval, after: Option<Key>, max: usize) -> Vec<u8> {
        let keys = self.store().records(&app("dht"), super::T0).keys(range, after, max);
        keys.expect("a sound disk").into_iter().map(|key| key.as_bytes()[0]).collect()
    }
}

fn open(
    disk: &Disk,
    clock: &Arc<AtomicU64>,
    steps: &Steps,
    room: &Gauged,
    cache_bytes: usize,
) -> Result<(Store, Receiver<Batch>), StoreError> {
    let (sender, batches) = channel();
    // A test that has ended does not listen any more.
    let (marked, steps) = (disk.clone(), steps.clone());
    let on_commit = Box::new(move |batch: Batch| {
        let steps = steps.lock().expect("no test panics here");
        let durable = batch.commits.iter().filter_map(|commit| steps.get(commit)).max();
        durable.into_iter().for_each(|step| marked.mark(Op::Acknowledged(*step)));
        drop(sender.send(batch));
    });
    let clock = clock.clone();
    let now_ms = Box::new(move || clock.load(Ordering::SeqCst));
    let room = room.clone();
    let gauge = Box::new(move || *room.lock().expect("no test panics here"));
    let means = Means { now_ms, gauge, cache_bytes };
    let store = Store::open_backend(disk.clone(), "/data", node(1), on_commit, means)?;
    Ok((store, batches))
}
