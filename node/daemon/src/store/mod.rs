//! The node's disk: records of applications, and packages, in one database.
//!
//! One thread writes. Whoever calls [`Store::submit`] sees the change at once, through what is pending, and learns
//! through the callback given at the start that it is durable: one `fsync` makes many commits so.

mod datadir;
mod error;
mod layout;
mod open;
mod pending;
mod reader;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use prost_contract::{Records, Write};
use prost_kbr::AppId;
use redb::{ReadableDatabase, ReadableTable};

pub use datadir::DataDir;
pub use error::StoreError;
pub use pending::{MAX_APPS, MAX_QUEUED_BYTES, MAX_QUEUED_COMMITS, MAX_QUEUED_WRITES};

use pending::{Change, Work};
use reader::AppRecords;
use shared::Shared;

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
    pub fn submit(&self, app: &AppId, commit: u64, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut state = self.shared.state();
        let bytes = writes.iter().map(|write| write.name.len() + write.value.as_ref().map_or(0, |(v, _)| v.len()));
        state.admit(writes.len(), bytes.sum())?;
        let durable = self.shared.durable()?;
        let (number, new) = state.number(app)?;
        let mut delta = 0_i64;
        let mut changes = Vec::with_capacity(writes.len());
        // What the records are charged after the changes so far.
        let mut charged: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for write in writes {
            let key = layout::record_key(number, write.place, &write.name);
            let freed = match charged.get(&key) {
                Some(charged) => *charged,
                None => self.shared.charged(&state, &durable, &key)?,
            };
            let value = write.value.map(|(value, expires)| (value, expires.unwrap_or(layout::NEVER)));
            let change = Change { key, value };
            delta += signed(charge(&change)) - signed(freed);
            charged.insert(change.key.clone(), charge(&change));
            changes.push(change);
        }
        state.push_records(Some(commit), number, new.then(|| app.clone()), delta, changes);
        drop(state);
        self.shared.wake();
        Ok(())
    }

    /// Removes all records of an application. They are out of sight when this returns, and go from the disk by and by.
    pub fn remove_app(&self, app: &AppId) -> Result<(), StoreError> {
        let mut state = self.shared.state();
        state.admit(1, 0)?;
        let number = state.apps.remove(app);
        if let Some(number) = number {
            state.used.remove(&number);
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

    /// Bytes that an application's records use, as [`record_bytes`](prost_contract::record_bytes) counts them, pending
    /// changes included. Expired records count until they have been swept.
    pub fn used(&self, app: &AppId) -> u64 {
        let state = self.shared.state();
        state.apps.get(app).and_then(|number| state.used.get(number)).copied().unwrap_or(0)
    }

    /// Keeps a package file for the application, in place of an older one.
    pub fn save_package(&self, app: &AppId, package: Bytes) -> Result<(), StoreError> {
        self.push(package.len(), Work::SavePackage(app.clone(), package))
    }

    /// Forgets the application's package file.
    pub fn remove_package(&self, app: &AppId) -> Result<(), StoreError> {
        self.push(0, Work::RemovePackage(app.clone()))
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

    fn push(&self, bytes: usize, work: Work) -> Result<(), StoreError> {
        let mut state = self.shared.state();
        state.admit(1, bytes)?;
        state.push(None, work);
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

fn charge(change: &Change) -> u64 {
    let stored = change.value.as_ref().map(|(value, _)| layout::stored_len(value.len()));
    stored.and_then(|stored| layout::charge(&change.key, stored)).unwrap_or(0)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
