//! A disk in memory that can fail, and a store on it.

use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost_contract::{Change, Entry, Kept, Place, Point, Shelf, Unavailable, Version, Write};
use prost_kbr::{AppId, Id, Interval, Key, NodeId};
use redb::{Builder, ReadableDatabase, ReadableTableMetadata, StorageBackend};

use super::super::{Batch, Store, StoreError, layout};

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

#[derive(Debug, Default)]
struct Platter {
    /// As the process sees it.
    bytes: Vec<u8>,
    /// As it is after a crash.
    durable: Vec<u8>,
    failing: bool,
    not_syncing: bool,
    stalled: bool,
}

/// A disk that forgets what was not synced.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<(Mutex<Platter>, Condvar)>);

/// Lets a stalled disk go on when it is dropped.
pub(super) struct Stall(Disk);

impl Drop for Stall {
    fn drop(&mut self) {
        self.0.with(|platter| platter.stalled = false);
        self.0.0.1.notify_all();
    }
}

impl Disk {
    pub(super) fn new() -> Disk {
        Disk::default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Platter) -> T) -> T {
        act(&mut self.0.0.lock().expect("no test panics here"))
    }

    /// A disk with what was durable on this one.
    pub(super) fn as_after_a_crash(&self) -> Disk {
        let durable = self.with(|platter| platter.durable.clone());
        let disk = Disk::new();
        disk.overwrite(&durable);
        disk
    }

    pub(super) fn overwrite(&self, bytes: &[u8]) {
        self.with(|platter| {
            platter.bytes = bytes.to_vec();
            platter.durable = bytes.to_vec();
        });
    }

    pub(super) fn fail_syncs(&self) {
        self.with(|platter| platter.failing = true);
    }

    pub(super) fn heal(&self) {
        self.with(|platter| platter.failing = false);
    }

    pub(super) fn stop_syncing(&self) {
        self.with(|platter| platter.not_syncing = true);
    }

    pub(super) fn stall(&self) -> Stall {
        self.with(|platter| platter.stalled = true);
        Stall(self.clone())
    }

    /// Flips a bit wherever these bytes stand, and says in how many places.
    pub(super) fn flip_a_bit_in(&self, bytes: &[u8]) -> usize {
        self.with(|platter| {
            let places: Vec<usize> =
                platter.bytes.windows(bytes.len()).enumerate().filter(|(_, w)| *w == bytes).map(|(at, _)| at).collect();
            places.iter().for_each(|at| platter.bytes[at + bytes.len() / 2] ^= 1);
            places.len()
        })
    }

    pub(super) fn set_format(&self, format: u32) {
        let db = Builder::new().create_with_backend(self.clone()).expect("a store");
        let transaction = db.begin_write().expect("a transaction");
        let mut meta = transaction.open_table(layout::META).expect("its table");
        meta.insert(layout::META_FORMAT, format.to_be_bytes().as_slice()).expect("an insertion");
        drop(meta);
        transaction.commit().expect("a commit");
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.with(|platter| platter.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let start = offset as usize;
        self.with(|platter| match platter.bytes.get(start..start + out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(ErrorKind::UnexpectedEof.into()),
        })
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.with(|platter| platter.bytes.resize(len as usize, 0));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let platter = self.0.0.lock().expect("no test panics here");
        let mut platter = self.0.1.wait_while(platter, |platter| platter.stalled).expect("no test panics here");
        if platter.failing {
            return Err(Error::other("the disk is broken"));
        }
        if !platter.not_syncing {
            platter.durable = platter.bytes.clone();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let start = offset as usize;
        self.with(|platter| platter.bytes[start..start + data.len()].copy_from_slice(data));
        Ok(())
    }
}

/// A store of node 1 on a disk in memory, with a clock that stands still.
pub(super) struct Harness {
    store: Option<Store>,
    disk: Disk,
    batches: Receiver<Batch>,
    submitted: AtomicU64,
    versions: AtomicU64,
    acknowledged: AtomicU64,
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
        let clock = Arc::new(AtomicU64::new(super::T0));
        let (store, batches) = open(&disk, &clock)?;
        let zero = || AtomicU64::new(0);
        Ok(Harness {
            store: Some(store),
            disk,
            batches,
            submitted: zero(),
            versions: AtomicU64::new(1),
            acknowledged: zero(),
            clock,
        })
    }

    /// Closes the store and opens it again.
    pub(super) fn reopen(&mut self) {
        drop(self.store.take());
        let (store, batches) = open(&self.disk, &self.clock).expect("a sound disk");
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

    pub(super) fn remove_app(&self, app: &AppId) {
        self.store().remove_app(app).expect("an open store");
    }

    pub(super) fn save_package(&self, app: &AppId, bytes: &'static [u8]) {
        self.store().save_package(app, Bytes::from_static(bytes)).expect("an open store");
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

fn open(disk: &Disk, clock: &Arc<AtomicU64>) -> Result<(Store, Receiver<Batch>), StoreError> {
    let (sender, batches) = channel();
    // A test that has ended does not listen any more.
    let on_commit = Box::new(move |batch| drop(sender.send(batch)));
    let clock = clock.clone();
    let now_ms = Box::new(move || clock.load(Ordering::SeqCst));
    let store = Store::open_backend(disk.clone(), "/data", node(1), on_commit, now_ms)?;
    Ok((store, batches))
}
