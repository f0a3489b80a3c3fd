//! The node's disk: records of applications, and packages, in one database.
//!
//! One thread writes. Whoever calls [`Store::submit`] sees the change at once, through what is pending, and learns
//! through the callback given at the start that it is durable: one `fsync` makes many commits so.

mod copies;
mod datadir;
mod error;
mod layout;
mod open;
mod pending;
mod reader;
mod shared;
mod space;
mod sums;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use prost_contract::{Change as Asked, Copies, Place, Point, Records, Shelf, Version};
use prost_kbr::AppId;
use prost_manager::Space;
use redb::{ReadableDatabase, ReadableTable};

pub use datadir::DataDir;
pub use error::StoreError;
pub use pending::{MAX_APPS, MAX_QUEUED_BYTES, MAX_QUEUED_COMMITS, MAX_QUEUED_WRITES};

use layout::Stored;
use pending::{Change, Work};
use reader::AppRecords;
use shared::{Charged, Shared, signed};

/// What one transaction came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The commits in it, in the order of their submission.
    pub commits: Vec<u64>,
    /// Whether they are durable. An error is final: the store takes no more writes.
    pub result: Result<(), StoreError>,
    /// How long it took.
    pub took: Duration,
    /// Record changes in it.
    pub writes: usize,
    /// Bytes of values in it.
    pub bytes: usize,
}

/// Is told of each transaction, on the writer's thread. Must not call the store.
pub type OnCommit = Box<dyn FnMut(Batch) + Send>;

/// A node's store. Dropping it writes what waits, then closes it.
pub struct Store {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Changes records of an application. Readers see it when this returns; the callback says when it is durable.
    /// Never waits for a write; reads from disk only what is not cached. An error: nothing was taken.
    pub fn submit(&self, app: &AppId, commit: u64, asked: Vec<Asked>) -> Result<(), StoreError> {
        let mut state = self.shared.state();
        let (number, new) = state.number(app)?;
        state.admit(Some(number), asked.len(), asked.iter().map(Asked::bytes).sum())?;
        let durable = self.shared.durable(&state);
        let (mut delta, mut forgotten) = (0_i64, 0_i64);
        let mut changes = Vec::with_capacity(asked.len());
        // What the records are charged after the changes so far.
        let mut charged: BTreeMap<Vec<u8>, Charged> = BTreeMap::new();
        for asked in asked {
            let key = record_key(number, &asked);
            let before = match charged.get(&key) {
                Some(charged) => *charged,
                None => self.shared.charged(&mut state, &durable, &key)?,
            };
            let Some(change) = change(key, asked, before.version) else { continue };
            let after = Charged::of(&change.key, change.value.as_ref());
            let growth = signed(after.bytes) - signed(before.bytes);
            delta += growth;
            if change.value.as_ref().is_none_or(|stored| stored.value.is_none()) {
                forgotten += growth.max(0);
            }
            charged.insert(change.key.clone(), after);
            changes.push(change);
        }
        // That something was deleted is written however little room there is.
        state.take_room(delta - forgotten)?;
        let grown = state.push_records(Some(commit), number, new.then(|| app.clone()), delta, changes);
        self.shared.divide(&mut state, &durable, number, grown);
        drop(state);
        self.shared.wake();
        Ok(())
    }

    /// Removes all records of an application. They are out of sight when this returns, and go from the disk by and by.
    pub fn remove_app(&self, app: &AppId) -> Result<(), StoreError> {
        let mut state = self.shared.state();
        state.admit(None, 1, 0)?;
        let number = state.apps.remove(app);
        if let Some(number) = number {
            state.used.remove(&number);
            state.indexes.remove(&number);
            state.damaged.retain(|key| layout::app_of(key) != Some(number));
        }
        state.push(None, Work::Retire(number));
        drop(state);
        self.shared.wake();
        Ok(())
    }

    /// The records of an application, as its handlers read them at this wall-clock time.
    pub fn records(&self, app: &AppId, now_ms: u64) -> Arc<dyn Records + Send + Sync> {
        Arc::new(AppRecords::new(self.shared.clone(), app.clone(), now_ms))
    }

    /// All keyed records of the node, to be looked at from another thread.
    pub fn shelf(&self) -> impl Shelf + Send + use<> {
        StoreShelf(self.shared.clone())
    }

    /// The newest version among the keyed records, [`Version::at`](prost_contract::Version::at).
    pub fn newest_version(&self) -> u64 {
        self.shared.state().newest_version
    }

    /// The shelves of code that there is something on, with the bytes that each uses.
    pub fn shelves(&self) -> Vec<(AppId, u64)> {
        let state = self.shared.state();
        let shelves = state.apps.iter().filter(|(app, _)| app.name.is_reserved());
        shelves.map(|(app, number)| (app.clone(), state.used.get(number).copied().unwrap_or(0))).collect()
    }

    /// Bytes that an application's records use, as [`record_bytes`](prost_contract::record_bytes) counts them, pending
    /// changes included. Expired records count until they have been swept.
    pub fn used(&self, app: &AppId) -> u64 {
        let state = self.shared.state();
        state.apps.get(app).and_then(|number| state.used.get(number)).copied().unwrap_or(0)
    }

    /// How much room the disk had when it was last looked at.
    pub fn space(&self) -> Space {
        self.shared.state().left.space
    }

    /// Damaged records: how many were found since the start, and how many of these have not been written again.
    pub fn damaged(&self) -> (u64, u64) {
        let state = self.shared.state();
        (state.found_damaged, state.damaged.len() as u64)
    }

    /// Keeps a package file for the application, in place of an older one. The callback says when it is durable.
    pub fn save_package(&self, app: &AppId, commit: u64, package: Bytes) -> Result<(), StoreError> {
        self.push(Some(commit), package.len(), Work::SavePackage(app.clone(), package))
    }

    /// Forgets the application's package file.
    pub fn remove_package(&self, app: &AppId) -> Result<(), StoreError> {
        self.push(None, 0, Work::RemovePackage(app.clone()))
    }

    /// The package files that are durable, by application. Reads from disk: for the start.
    pub fn packages(&self) -> Result<Vec<(AppId, Bytes)>, StoreError> {
        let table = self.shared.db.begin_read()?.open_table(layout::PACKAGES)?;
        let mut packages = Vec::new();
        for entry in table.iter()? {
            let (app, bytes) = entry?;
            let app = app.value().parse().map_err(|_| StoreError::Corrupt("a package without its name".to_owned()))?;
            packages.push((app, Bytes::copy_from_slice(bytes.value())));
        }
        Ok(packages)
    }

    fn push(&self, commit: Option<u64>, bytes: usize, work: Work) -> Result<(), StoreError> {
        let mut state = self.shared.state();
        state.admit(None, 1, bytes)?;
        state.take_room(signed(bytes as u64))?;
        state.push(commit, work);
        drop(state);
        self.shared.wake();
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.wake();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

fn record_key(app: u32, asked: &Asked) -> Vec<u8> {
    match asked {
        Asked::Node { name, .. } => layout::record_key(app, Place::Node, name),
        Asked::Keep(point, _) | Asked::Drop(point, _) => layout::record_key(app, Place::At(point.key), &point.name),
    }
}

/// What becomes of the record of this key that has this version; none where it stays as it is.
fn change(key: Vec<u8>, asked: Asked, version: Option<Version>) -> Option<Change> {
    let value = match asked {
        Asked::Node { value, .. } => value.map(|(value, expires)| Stored {
            expires: expires.unwrap_or(layout::NEVER),
            version: None,
            value: Some(value),
        }),
        Asked::Keep(_, kept) if version.is_some_and(|version| version >= kept.version) => return None,
        Asked::Keep(_, kept) => Some(Stored::from(kept)),
        Asked::Drop(_, upto) if version.is_none_or(|version| version > upto) => return None,
        Asked::Drop(..) => None,
    };
    Some(Change { key, value, was: version })
}

/// See [`Store::shelf`].
struct StoreShelf(Arc<Shared>);

impl Shelf for StoreShelf {
    fn apps(&self) -> Vec<AppId> {
        self.0.state().apps.keys().cloned().collect()
    }

    fn copies(&self, app: &AppId) -> Box<dyn Copies + '_> {
        Box::new(AppRecords::new(self.0.clone(), app.clone(), 0))
    }

    fn damaged(&self) -> Vec<(AppId, Point)> {
        let state = self.0.state();
        let names: BTreeMap<u32, &AppId> = state.apps.iter().map(|(app, number)| (*number, app)).collect();
        let record = |key: &Vec<u8>| {
            let app = names.get(&layout::app_of(key)?)?;
            Some(((*app).clone(), layout::point_of(key)?))
        };
        state.damaged.iter().filter_map(record).collect()
    }
}
