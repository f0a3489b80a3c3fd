//! The one thread that writes: it takes what waits, and makes it durable with one `fsync`.

use std::collections::BTreeMap;
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
/// How long the writer lets work gather at most, where several pieces came together the last time.
const MAX_GATHERING: Duration = Duration::from_millis(2);
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
        let mut gathering = Duration::ZERO;
        loop {
            self.shared.wait(next_sweep.saturating_duration_since(Instant::now()));
            std::thread::sleep(std::mem::take(&mut gathering));
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
                        // Where many wait, half the time of a commit brings more of them into the next one than it costs
                        // each (PostgreSQL's advice for `commit_delay`); one that waits alone is not held up.
                        if batch.len() > 1 {
                            gathering = (took / 2).min(MAX_GATHERING);
                        }
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
        {
            let mut tables = Tables::of(&transaction);
            for job in batch {
                if let Some(app) = apply(&mut tables, &job.work)? {
                    unfinished.push(app);
                }
            }
            tables.charge()?;
        }
        transaction.commit()?;
        let mut state = self.shared.settle(batch)?;
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

/// The tables that one transaction writes again and again: opened once, and only where there is something to write.
struct Tables<'t> {
    transaction: &'t WriteTransaction,
    records: Option<Records<'t>>,
    apps: Option<Table<'t, u32, (&'static str, u64)>>,
    /// By how much the bytes that each application uses change.
    deltas: BTreeMap<u32, i64>,
}

struct Records<'t> {
    values: Table<'t, &'static [u8], &'static [u8]>,
    expiries: Table<'t, &'static [u8], ()>,
}

impl<'t> Tables<'t> {
    fn of(transaction: &'t WriteTransaction) -> Tables<'t> {
        Tables { transaction, records: None, apps: None, deltas: BTreeMap::new() }
    }

    fn records(&mut self) -> Result<&mut Records<'t>, StoreError> {
        let records = match self.records.take() {
            Some(records) => records,
            None => Records {
                values: self.transaction.open_table(layout::RECORDS)?,
                expiries: self.transaction.open_table(layout::EXPIRIES)?,
            },
        };
        Ok(self.records.insert(records))
    }

    fn apps(&mut self) -> Result<&mut Table<'t, u32, (&'static str, u64)>, StoreError> {
        let apps = match self.apps.take() {
            Some(apps) => apps,
            None => self.transaction.open_table(layout::APPS)?,
        };
        Ok(self.apps.insert(apps))
    }

    /// Charges each application that has not gone meanwhile for what its records take more than before.
    fn charge(&mut self) -> Result<(), StoreError> {
        for (app, delta) in std::mem::take(&mut self.deltas) {
            let apps = self.apps()?;
            let row = apps.get(app)?.map(|row| (row.value().0.to_owned(), row.value().1));
            if let Some((id, used)) = row.filter(|(id, _)| !id.is_empty() && delta != 0) {
                apps.insert(app, (id.as_str(), used.saturating_add_signed(delta)))?;
            }
        }
        Ok(())
    }
}

/// Does one piece of work. Returns an application whose records are not all removed yet.
fn apply(tables: &mut Tables<'_>, work: &Work) -> Result<Option<u32>, StoreError> {
    let transaction = tables.transaction;
    match work {
        Work::Records { app, register, delta, changes } => {
            tables.records()?.apply(changes)?;
            if let Some(id) = register {
                tables.apps()?.insert(app, (id.to_string().as_str(), 0))?;
                set_next_app(transaction, app + 1)?;
            }
            let sum = tables.deltas.entry(*app).or_default();
            *sum = sum.saturating_add(*delta);
            Ok(None)
        }
        Work::Retire(None) => Ok(None),
        Work::Retire(Some(app)) => {
            tables.apps()?.insert(app, ("", 0))?;
            Ok(Some(*app))
        }
        Work::Purge(app) => purge(tables, *app),
        Work::SavePackage(app, bytes) => {
            transaction.open_table(layout::PACKAGES)?.insert(app.to_string().as_str(), bytes.as_ref())?;
            Ok(None)
        }
        Work::Unlist(entries) => {
            let records = tables.records()?;
            for entry in entries {
                records.expiries.remove(entry.as_slice())?;
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

impl Records<'_> {
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        for Change { key, value, .. } in changes {
            // The expiry of one that is damaged is not known: what is left of it in the other table goes with a sweep.
            let expiry =
                |old: redb::AccessGuard<'_, &[u8]>| layout::parse(key, old.value()).ok().map(|old| old.expires);
            let old = match value {
                Some(stored) => {
                    let stored = layout::encode(key, stored);
                    self.values.insert(key.as_slice(), stored.as_slice())?.and_then(expiry)
                }
                None => self.values.remove(key.as_slice())?.and_then(expiry),
            };
            let new = value.as_ref().map(|stored| stored.expires);
            if old == new {
                continue;
            }
            if let Some(old) = old.filter(|old| *old != layout::NEVER) {
                self.expiries.remove(layout::expiry_key(old, key).as_slice())?;
            }
            if let Some(new) = new.filter(|new| *new != layout::NEVER) {
                self.expiries.insert(layout::expiry_key(new, key).as_slice(), ())?;
            }
        }
        Ok(())
    }
}

/// Removes some records of an application that is gone, and in the end its number.
fn purge(tables: &mut Tables<'_>, app: u32) -> Result<Option<u32>, StoreError> {
    let prefix = app.to_be_bytes();
    let end = layout::after_prefix(&prefix);
    let mut keys = Vec::new();
    let records = tables.records()?;
    for entry in records.values.range::<&[u8]>(prefix.as_slice()..)?.take(PURGE_RECORDS) {
        let (key, _) = entry?;
        if end.as_deref().is_some_and(|end| key.value() >= end) {
            break;
        }
        keys.push(Change { key: key.value().to_vec(), value: None, was: None });
    }
    if keys.is_empty() {
        tables.apps()?.remove(app)?;
        return Ok(None);
    }
    records.apply(&keys)?;
    Ok(Some(app))
}
