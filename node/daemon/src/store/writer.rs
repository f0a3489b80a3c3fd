//! The one thread that writes: it takes what waits, and makes it durable with one `fsync`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Durability, ReadableTable, Table, WriteTransaction};

use super::error::StoreError;
use super::layout;
use super::pending::{Change, Job, Work};
use super::shared::Shared;
use super::space::Gauge;
use super::{Batch, OnCommit};

/// How often expired records are looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
/// Records of a removed application that one transaction removes at most.
const PURGE_RECORDS: usize = 512;

/// The writer.
pub(super) struct Writer {
    shared: Arc<Shared>,
    on_commit: OnCommit,
    now_ms: Box<dyn Fn() -> u64 + Send>,
    gauge: Gauge,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        on_commit: OnCommit,
        now_ms: Box<dyn Fn() -> u64 + Send>,
        gauge: Gauge,
    ) -> Writer {
        Writer { shared, on_commit, now_ms, gauge }
    }

    /// Writes until the store is closed and nothing waits, or until writing fails.
    pub(super) fn run(mut self) {
        let mut next_sweep = Instant::now();
        loop {
            self.shared.wait(next_sweep.saturating_duration_since(Instant::now()));
            let (batch, closing, failed) = {
                let mut state = self.shared.state();
                (state.take_batch(), state.closing, state.failed.clone())
            };
            if let Some(error) = failed {
                return self.give_up(batch, error);
            }
            if batch.is_empty() && closing {
                return;
            }
            if !batch.is_empty() {
                let started = Instant::now();
                match self.write(&batch) {
                    Ok(()) => {
                        let took = started.elapsed();
                        // Before anyone is told, so that the room that a removal makes is there for whoever waits for it.
                        self.shared.measure(&self.gauge);
                        self.report(&batch, Ok(()), took);
                    }
                    Err(error) => return self.give_up(batch, error),
                }
            }
            self.shared.measure(&self.gauge);
            if Instant::now() >= next_sweep && !closing {
                next_sweep = self.sweep();
            }
        }
    }

    /// Queues what has expired, and says when to look again.
    fn sweep(&mut self) -> Instant {
        match self.shared.queue_expired((self.now_ms)()) {
            Ok(true) => Instant::now(),
            Ok(false) => Instant::now() + SWEEP_PERIOD,
            Err(error) => {
                self.shared.state().fail(error);
                Instant::now() + SWEEP_PERIOD
            }
        }
    }

    fn write(&self, batch: &[Job]) -> Result<(), StoreError> {
        let mut transaction = self.shared.db.begin_write()?;
        // The default, said because everything rests on it.
        transaction.set_durability(Durability::Immediate).map_err(|error| StoreError::Disk(error.to_string()))?;
        let mut unfinished = Vec::new();
        for job in batch {
            if let Some(app) = apply(&transaction, &job.work)? {
                unfinished.push(app);
            }
        }
        transaction.commit()?;
        let mut state = self.shared.state();
        state.settle(batch);
        // A store that is closed meanwhile goes on with it when it is opened again.
        if !state.closing {
            unfinished.into_iter().for_each(|app| state.push(None, Work::Purge(app)));
        }
        Ok(())
    }

    fn report(&mut self, batch: &[Job], result: Result<(), StoreError>, took: Duration) {
        let (mut writes, mut bytes) = (0, 0);
        for job in batch {
            if let Work::Records { changes, .. } = &job.work {
                writes += changes.len();
                let values = changes.iter().filter_map(|change| change.value.as_ref()?.value.as_ref());
                bytes += values.map(bytes::Bytes::len).sum::<usize>();
            }
        }
        let commits = batch.iter().filter_map(|job| job.commit).collect();
        (self.on_commit)(Batch { commits, result, took, writes, bytes });
    }

    /// Takes nothing more, and says so to all who wait.
    fn give_up(mut self, mut batch: Vec<Job>, error: StoreError) {
        tracing::error!(%error, "the store is read-only from now on");
        {
            let mut state = self.shared.state();
            state.fail(error.clone());
            batch.extend(state.take_all());
        }
        self.report(&batch, Err(error), Duration::ZERO);
    }
}

/// Does one piece of work. Returns an application whose records are not all removed yet.
fn apply(transaction: &WriteTransaction, work: &Work) -> Result<Option<u32>, StoreError> {
    match work {
        Work::Records { app, register, delta, changes } => {
            apply_changes(transaction, changes)?;
            let mut apps = transaction.open_table(layout::APPS)?;
            if let Some(id) = register {
                apps.insert(app, (id.to_string().as_str(), 0))?;
                set_next_app(transaction, app + 1)?;
            }
            charge(&mut apps, *app, *delta)?;
            Ok(None)
        }
        Work::Retire(None) => Ok(None),
        Work::Retire(Some(app)) => {
            transaction.open_table(layout::APPS)?.insert(app, ("", 0))?;
            Ok(Some(*app))
        }
        Work::Purge(app) => purge(transaction, *app),
        Work::SavePackage(app, bytes) => {
            transaction.open_table(layout::PACKAGES)?.insert(app.to_string().as_str(), bytes.as_ref())?;
            Ok(None)
        }
        Work::Unlist(entries) => {
            let mut expiries = transaction.open_table(layout::EXPIRIES)?;
            for entry in entries {
                expiries.remove(entry.as_slice())?;
            }
            Ok(None)
        }
        Work::RemovePackage(app) => {
            transaction.open_table(layout::PACKAGES)?.remove(app.to_string().as_str())?;
            Ok(None)
        }
    }
}

fn set_next_app(transaction: &WriteTransaction, next: u32) -> Result<(), StoreError> {
    transaction.open_table(layout::META)?.insert(layout::META_NEXT_APP, next.to_be_bytes().as_slice())?;
    Ok(())
}

fn charge(apps: &mut Table<'_, u32, (&'static str, u64)>, app: u32, delta: i64) -> Result<(), StoreError> {
    let Some((id, used)) = apps.get(app)?.map(|row| (row.value().0.to_owned(), row.value().1)) else { return Ok(()) };
    if !id.is_empty() {
        apps.insert(app, (id.as_str(), used.saturating_add_signed(delta)))?;
    }
    Ok(())
}

fn apply_changes(transaction: &WriteTransaction, changes: &[Change]) -> Result<(), StoreError> {
    let mut records = transaction.open_table(layout::RECORDS)?;
    let mut expiries = transaction.open_table(layout::EXPIRIES)?;
    for Change { key, value, .. } in changes {
        // The expiry of one that is damaged is not known: what is left of it in the other table goes with a sweep.
        let expiry = |old: redb::AccessGuard<'_, &[u8]>| layout::parse(key, old.value()).ok().map(|old| old.expires);
        let old = match value {
            Some(stored) => {
                let stored = layout::encode(key, stored);
                records.insert(key.as_slice(), stored.as_slice())?.and_then(expiry)
            }
            None => records.remove(key.as_slice())?.and_then(expiry),
        };
        let new = value.as_ref().map(|stored| stored.expires);
        if old == new {
            continue;
        }
        if let Some(old) = old.filter(|old| *old != layout::NEVER) {
            expiries.remove(layout::expiry_key(old, key).as_slice())?;
        }
        if let Some(new) = new.filter(|new| *new != layout::NEVER) {
            expiries.insert(layout::expiry_key(new, key).as_slice(), ())?;
        }
    }
    Ok(())
}

/// Removes some records of an application that is gone, and in the end its number.
fn purge(transaction: &WriteTransaction, app: u32) -> Result<Option<u32>, StoreError> {
    let prefix = app.to_be_bytes();
    let end = layout::after_prefix(&prefix);
    let mut keys = Vec::new();
    {
        let records = transaction.open_table(layout::RECORDS)?;
        for entry in records.range::<&[u8]>(prefix.as_slice()..)?.take(PURGE_RECORDS) {
            let (key, _) = entry?;
            if end.as_deref().is_some_and(|end| key.value() >= end) {
                break;
            }
            keys.push(Change { key: key.value().to_vec(), value: None, was: None });
        }
    }
    if keys.is_empty() {
        transaction.open_table(layout::APPS)?.remove(app)?;
        return Ok(None);
    }
    apply_changes(transaction, &keys)?;
    Ok(Some(app))
}
