//! What the store, its readers and its writer have in common.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::error::StoreError;
use super::layout;
use super::pending::{Change, State};

/// The records that one pass of the sweep removes at most.
const SWEEP_RECORDS: usize = 256;

pub(super) type RecordTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The database and what is not in it yet.
pub(super) struct Shared {
    pub(super) db: Database,
    state: Mutex<State>,
    work: Condvar,
}

impl Shared {
    pub(super) fn new(db: Database, state: State) -> Shared {
        Shared { db, state: Mutex::new(state), work: Condvar::new() }
    }

    /// The lock. A thread that panicked under it leaves a state that no one may build on.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the store's lock")
    }

    /// Tells the writer that there is something to do.
    pub(super) fn wake(&self) {
        self.work.notify_one();
    }

    /// Waits for work, at most this long.
    pub(super) fn wait(&self, timeout: Duration) {
        let waiting = |state: &mut State| state.is_idle() && !state.closing && state.failed.is_none();
        let waited = self.work.wait_timeout_while(self.state(), timeout, waiting);
        drop(waited.expect("no code panics while it holds the store's lock"));
    }

    /// The records as they are in the database now.
    pub(super) fn durable(&self) -> Result<RecordTable, StoreError> {
        Ok(self.db.begin_read()?.open_table(layout::RECORDS)?)
    }

    /// What a record is charged now, expired or not. `state` is locked, so that the two views are of one moment.
    pub(super) fn charged(&self, state: &State, durable: &RecordTable, key: &[u8]) -> Result<u64, StoreError> {
        let stored = match state.values.get(key) {
            Some(pending) => pending.value.as_ref().map(|(value, _)| layout::stored_len(value.len())),
            None => durable.get(key)?.map(|stored| stored.value().len()),
        };
        Ok(stored.and_then(|stored| layout::charge(key, stored)).unwrap_or(0))
    }

    /// Queues the removal of records that have expired. Says whether there may be more.
    pub(super) fn queue_expired(&self, now_ms: u64) -> Result<bool, StoreError> {
        let mut state = self.state();
        let read = self.db.begin_read()?;
        let (expiries, durable) = (read.open_table(layout::EXPIRIES)?, read.open_table(layout::RECORDS)?);
        let end = layout::expiry_key(now_ms.saturating_add(1), &[]);
        let (mut seen, mut queued) = (0, false);
        for entry in expiries.range::<&[u8]>(..end.as_slice())?.take(SWEEP_RECORDS) {
            let (entry, _) = entry?;
            seen += 1;
            let Some((expires, key)) = layout::split_expiry_key(entry.value()) else { continue };
            queued |= self.queue_if_expired(&mut state, &durable, key, expires)?;
        }
        Ok(queued && seen == SWEEP_RECORDS)
    }

    fn queue_if_expired(
        &self,
        state: &mut State,
        durable: &RecordTable,
        key: &[u8],
        expires: u64,
    ) -> Result<bool, StoreError> {
        let (Some(app), false) = (layout::app_of(key), state.values.contains_key(key)) else { return Ok(false) };
        let current = match durable.get(key)? {
            Some(stored) => layout::expiry(stored.value())? == expires,
            None => false,
        };
        let due = current && state.used.contains_key(&app);
        if due {
            let freed = self.charged(state, durable, key)?;
            let delta = -i64::try_from(freed).unwrap_or(i64::MAX);
            state.push_records(None, app, None, delta, vec![Change { key: key.to_vec(), value: None }]);
        }
        Ok(due)
    }
}
