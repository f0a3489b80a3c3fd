//! What the store, its readers and its writer have in common.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost_contract::{TOMBSTONE_MS, Version};
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::error::StoreError;
use super::layout::{self, Stored};
use super::pending::{Change, Job, State, Work};
use super::space::Gauge;

/// The records that one pass of the sweep removes at most.
const SWEEP_RECORDS: usize = 256;

pub(super) type RecordTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The database and what is not in it yet.
pub(super) struct Shared {
    /// The records as they are in the database, which a reader need not open anew. Replaced under the lock of the state,
    /// together with what is pending. It goes before the database.
    durable: Mutex<Arc<RecordTable>>,
    pub(super) db: Database,
    state: Mutex<State>,
    work: Condvar,
}

impl Shared {
    pub(super) fn new(db: Database, state: State) -> Result<Shared, StoreError> {
        let durable = Arc::new(db.begin_read()?.open_table(layout::RECORDS)?);
        Ok(Shared { durable: Mutex::new(durable), db, state: Mutex::new(state), work: Condvar::new() })
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

    /// Looks how much room the disk has.
    pub(super) fn measure(&self, gauge: &Gauge) {
        if let Some(room) = gauge() {
            self.state().set_room(room);
        }
    }

    /// The records as they are in the database, of the same moment as this state, whose lock is held.
    pub(super) fn durable(&self, _: &State) -> Arc<RecordTable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These jobs are in the database: what they changed is not pending any more.
    pub(super) fn settle(&self, batch: &[Job]) -> Result<MutexGuard<'_, State>, StoreError> {
        let durable = Arc::new(self.db.begin_read()?.open_table(layout::RECORDS)?);
        let mut state = self.state();
        state.settle(batch);
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner) = durable;
        Ok(state)
    }

    /// What a record is charged now, expired or not, and its version. `state` is locked, so that the two views are of one
    /// moment.
    pub(super) fn charged(&self, state: &mut State, durable: &RecordTable, key: &[u8]) -> Result<Charged, StoreError> {
        match state.values.get(key) {
            Some(pending) => Ok(Charged::of(key, pending.value.as_ref())),
            None => match durable.get(key)? {
                Some(stored) => Ok(Charged {
                    bytes: layout::charge(key, stored.value().len()).unwrap_or(0),
                    version: match layout::version(key, stored.value()) {
                        Ok(version) => version,
                        // Whatever is written now is newer than what is left of it.
                        Err(_) => {
                            self.heed(state, durable, key);
                            None
                        }
                    },
                }),
                None => Ok(Charged::default()),
            },
        }
    }

    /// Queues the removal of records that have expired; keyed ones are remembered for a while, so that no old copy brings
    /// them back. Says whether there may be more.
    pub(super) fn queue_expired(&self, now_ms: u64) -> Result<bool, StoreError> {
        let mut state = self.state();
        let (expiries, durable) = (self.db.begin_read()?.open_table(layout::EXPIRIES)?, self.durable(&state));
        let end = layout::expiry_key(now_ms.saturating_add(1), &[]);
        let (mut seen, mut queued, mut stale) = (0, false, Vec::new());
        for entry in expiries.range::<&[u8]>(..end.as_slice())?.take(SWEEP_RECORDS) {
            let (entry, _) = entry?;
            seen += 1;
            let Some((expires, key)) = layout::split_expiry_key(entry.value()) else { continue };
            match self.queue_if_expired(&mut state, &durable, key, expires)? {
                Swept::Queued => queued = true,
                Swept::Stale => stale.push(entry.value().to_vec()),
                Swept::Waits => {}
            }
        }
        if !stale.is_empty() {
            queued = true;
            state.push(None, Work::Unlist(stale));
        }
        Ok(queued && seen == SWEEP_RECORDS)
    }

    fn queue_if_expired(
        &self,
        state: &mut State,
        durable: &RecordTable,
        key: &[u8],
        expires: u64,
    ) -> Result<Swept, StoreError> {
        let (Some(app), false) = (layout::app_of(key), state.values.contains_key(key)) else {
            return Ok(Swept::Waits);
        };
        if !state.used.contains_key(&app) {
            return Ok(Swept::Waits);
        }
        let Some(stored) = durable.get(key)? else { return Ok(Swept::Stale) };
        let Ok(parsed) = layout::parse(key, stored.value()) else {
            self.heed(state, durable, key);
            return Ok(Swept::Stale);
        };
        if parsed.expires != expires {
            return Ok(Swept::Stale);
        }
        let was = parsed.version;
        let before = Charged { bytes: layout::charge(key, stored.value().len()).unwrap_or(0), version: was };
        let value = was.filter(|_| parsed.value.is_some()).map(|version| Stored {
            expires: expires.saturating_add(TOMBSTONE_MS),
            version: Some(version),
            value: None,
        });
        let change = Change { key: key.to_vec(), value, was };
        let delta = signed(Charged::of(key, change.value.as_ref()).bytes) - signed(before.bytes);
        let grown = state.push_records(None, app, None, delta, vec![change]);
        self.divide(state, durable, app, grown);
        Ok(Swept::Queued)
    }

    /// These records were read and were damaged.
    pub(super) fn notice(&self, keys: &[Vec<u8>]) {
        let mut state = self.state();
        for key in keys.iter().filter(|key| !state.values.contains_key(*key)).cloned().collect::<Vec<_>>() {
            let durable = self.durable(&state);
            self.heed(&mut state, &durable, &key);
        }
    }

    /// The record of this key is damaged, unless it has been written again; the sums go on without it.
    fn heed(&self, state: &mut State, durable: &RecordTable, key: &[u8]) {
        let still =
            durable.get(key).is_ok_and(|stored| stored.is_some_and(|it| layout::parse(key, it.value()).is_err()));
        if !still || !state.note_damaged(key) {
            return;
        }
        let (Some(app), Some(ring_key)) = (layout::app_of(key), layout::ring_key_of(key)) else { return };
        if let Some(leaf) = state.indexes.get(&app).map(|index| index.leaf(ring_key)) {
            self.divide(state, durable, app, vec![leaf]);
        }
    }
}

/// What becomes of an entry in the table of expiries.
enum Swept {
    Queued,
    /// It is not true any more.
    Stale,
    /// The record is being changed, or its application removed.
    Waits,
}

/// What a record is charged, and its version where it is keyed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Charged {
    pub(super) bytes: u64,
    pub(super) version: Option<Version>,
}

impl Charged {
    pub(super) fn of(key: &[u8], stored: Option<&Stored>) -> Charged {
        let bytes = stored.and_then(|stored| layout::charge(key, stored.len())).unwrap_or(0);
        Charged { bytes, version: stored.and_then(|stored| stored.version) }
    }
}

/// Bytes, to be added and taken away.
pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
