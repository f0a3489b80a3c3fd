//! What has been submitted and is not durable yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use prost_contract::Version;
use prost_kbr::AppId;
use prost_manager::{Block, RangeIndex};

use super::error::StoreError;
use super::layout::{self, Stored};
use super::space::{Left, Room, in_file};

/// Commits that may wait to be written.
pub const MAX_QUEUED_COMMITS: usize = 4096;
/// Record changes that may wait to be written.
pub const MAX_QUEUED_WRITES: usize = 16_384;
/// Bytes of names and values that may wait to be written.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Applications that may have records on a node.
pub const MAX_APPS: usize = 4096;
/// Damaged records that are kept in mind.
pub(super) const MAX_DAMAGED: usize = 4096;
/// Bytes that go into one transaction at most; the last piece of work may exceed it.
const BATCH_BYTES: usize = 1 << 20;
/// Record changes that go into one transaction at most; the last piece of work may exceed it.
const BATCH_WRITES: usize = 1024;

/// One record's change, as it goes to the database.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) key: Vec<u8>,
    /// What is to stand there; none where nothing is.
    pub(super) value: Option<Stored>,
    /// The version of the keyed record that it takes the place of.
    pub(super) was: Option<Version>,
}

impl Change {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Stored::len)
    }
}

/// One piece of work for the writer.
#[derive(Debug)]
pub(super) enum Work {
    /// Change records of one application.
    Records {
        app: u32,
        /// Its id, where this is the application's first work.
        register: Option<AppId>,
        /// By how much the bytes it uses change.
        delta: i64,
        changes: Vec<Change>,
    },
    /// Take an application's number out of use; its records go afterwards.
    Retire(Option<u32>),
    /// Forget when records expire that do not expire then.
    Unlist(Vec<Vec<u8>>),
    /// Remove some of the records of a number that is out of use.
    Purge(u32),
    SavePackage(AppId, Bytes),
    RemovePackage(AppId),
}

impl Work {
    fn writes(&self) -> usize {
        match self {
            Work::Records { changes, .. } => changes.len(),
            Work::Purge(_) => BATCH_WRITES / 2,
            Work::Unlist(entries) => entries.len(),
            Work::Retire(_) | Work::SavePackage(..) | Work::RemovePackage(_) => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Work::Records { changes, .. } => changes.iter().map(Change::bytes).sum(),
            Work::SavePackage(_, bytes) => bytes.len(),
            Work::Unlist(entries) => entries.iter().map(Vec::len).sum(),
            Work::Retire(_) | Work::Purge(_) | Work::RemovePackage(_) => 0,
        }
    }
}

/// How much waits to be written.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    commits: usize,
    writes: usize,
    bytes: usize,
}

impl Load {
    fn of(work: &Work) -> Load {
        Load { commits: 1, writes: work.writes(), bytes: work.bytes() }
    }

    fn add(&mut self, more: Load) {
        self.commits += more.commits;
        self.writes += more.writes;
        self.bytes += more.bytes;
    }

    fn take(&mut self, less: Load) {
        self.commits -= less.commits;
        self.writes -= less.writes;
        self.bytes -= less.bytes;
    }

    /// What is still free of all that may wait.
    fn free(self) -> Load {
        Load {
            commits: MAX_QUEUED_COMMITS.saturating_sub(self.commits),
            writes: MAX_QUEUED_WRITES.saturating_sub(self.writes),
            bytes: MAX_QUEUED_BYTES.saturating_sub(self.bytes),
        }
    }

    fn fits(self, room: Load) -> bool {
        self.commits <= room.commits && self.writes <= room.writes && self.bytes <= room.bytes
    }
}

/// Work with its place in the order.
#[derive(Debug)]
pub(super) struct Job {
    /// What the submitter calls it; none where the store itself did.
    pub(super) commit: Option<u64>,
    pub(super) seq: u64,
    pub(super) work: Work,
}

/// A record's newest value, while it is not durable.
#[derive(Debug)]
pub(super) struct PendingValue {
    seq: u64,
    pub(super) value: Option<Stored>,
}

/// Everything about the store that is not in the database. Only ever touched under its lock.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The newest values of records with changes that are not durable, by record key.
    pub(super) values: BTreeMap<Vec<u8>, PendingValue>,
    /// The numbers of the applications.
    pub(super) apps: BTreeMap<AppId, u32>,
    /// The sums of each application's keyed records, pending changes included.
    pub(super) indexes: BTreeMap<u32, RangeIndex>,
    /// Bytes that each application uses, pending changes included.
    pub(super) used: BTreeMap<u32, u64>,
    pub(super) next_app: u32,
    /// The newest version among keyed records.
    pub(super) newest_version: u64,
    /// The room on the disk.
    pub(super) left: Left,
    /// The keys of records that are damaged in the database and have not been written again.
    pub(super) damaged: BTreeSet<Vec<u8>>,
    /// How many records were found to be damaged since the start.
    pub(super) found_damaged: u64,
    /// The first failure. From then on nothing is written any more.
    pub(super) failed: Option<StoreError>,
    pub(super) closing: bool,
    queue: VecDeque<Job>,
    queued: Load,
    /// Of that, what each application's records are.
    queued_of: BTreeMap<u32, Load>,
    next_seq: u64,
}

impl State {
    /// Whether the store takes this much more, of records of this application where it is one's. An application may have no
    /// more waiting than is free for all others: it cannot fill the queue alone (dynamic thresholds, Choudhury and Hahne,
    /// ToN 1998, with alpha = 1).
    pub(super) fn admit(&self, app: Option<u32>, writes: usize, bytes: usize) -> Result<(), StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.closing {
            return Err(StoreError::Closed);
        }
        let free = self.queued.free();
        let mut more = app.and_then(|app| self.queued_of.get(&app)).copied().unwrap_or_default();
        more.add(Load { commits: 1, writes, bytes });
        if more.fits(free) { Ok(()) } else { Err(StoreError::Overloaded) }
    }

    /// Whether there is room on the disk for records that take so many bytes more than before, which it is charged then.
    pub(super) fn take_room(&mut self, growth: i64) -> Result<(), StoreError> {
        let wanted = in_file(u64::try_from(growth).unwrap_or(0));
        if wanted > self.left.bytes {
            return Err(StoreError::Full);
        }
        self.left.bytes -= wanted;
        Ok(())
    }

    /// The disk has been looked at.
    pub(super) fn set_room(&mut self, room: Room) {
        let before = self.left.space;
        self.left = room.left(self.used.values().sum());
        // What waits has not taken its room yet.
        self.left.bytes = self.left.bytes.saturating_sub(in_file(self.queued.bytes as u64));
        if self.left.space != before {
            tracing::warn!(before = ?before, now = ?self.left.space, "the room on the disk has changed");
        }
    }

    /// The application's number, and whether it is a new one, which takes effect with its first changes.
    pub(super) fn number(&self, app: &AppId) -> Result<(u32, bool), StoreError> {
        match self.apps.get(app) {
            Some(number) => Ok((*number, false)),
            None if self.apps.len() < MAX_APPS => Ok((self.next_app, true)),
            None => Err(StoreError::TooManyApps(MAX_APPS)),
        }
    }

    /// Makes changes visible and queues them. The caller has worked out `delta`. Gives the blocks of the application's
    /// index that have to be divided, which the caller does.
    pub(super) fn push_records(
        &mut self,
        commit: Option<u64>,
        app: u32,
        register: Option<AppId>,
        delta: i64,
        changes: Vec<Change>,
    ) -> Vec<Block> {
        if let Some(id) = &register {
            self.apps.insert(id.clone(), app);
            self.next_app = app + 1;
        }
        let used = self.used.entry(app).or_insert(0);
        *used = used.saturating_add_signed(delta);
        let index = self.indexes.entry(app).or_default();
        let mut grown = Vec::new();
        for change in &changes {
            let version = change.value.as_ref().and_then(|stored| stored.version);
            let block = layout::point_of(&change.key).and_then(|point| index.change(&point, change.was, version));
            grown.extend(block.filter(|block| !grown.contains(block)));
            self.newest_version = self.newest_version.max(version.map_or(0, |version| version.at));
            self.damaged.remove(&change.key);
            let pending = PendingValue { seq: self.next_seq, value: change.value.clone() };
            self.values.insert(change.key.clone(), pending);
        }
        self.push(commit, Work::Records { app, register, delta, changes });
        grown
    }

    /// A record is damaged. Says whether that is news.
    pub(super) fn note_damaged(&mut self, key: &[u8]) -> bool {
        let news = self.damaged.len() < MAX_DAMAGED && self.damaged.insert(key.to_vec());
        if news {
            self.found_damaged += 1;
            tracing::error!(known = self.damaged.len(), "a record on the disk is damaged");
        }
        news
    }

    /// Queues work.
    pub(super) fn push(&mut self, commit: Option<u64>, work: Work) {
        let load = Load::of(&work);
        self.queued.add(load);
        if let Work::Records { app, .. } = &work {
            self.queued_of.entry(*app).or_default().add(load);
        }
        self.queue.push_back(Job { commit, seq: self.next_seq, work });
        self.next_seq += 1;
    }

    /// What the next transaction consists of; empty where nothing waits.
    pub(super) fn take_batch(&mut self) -> Vec<Job> {
        let (mut writes, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        while writes < BATCH_WRITES && bytes < BATCH_BYTES {
            let Some(job) = self.queue.pop_front() else { break };
            let load = Load::of(&job.work);
            writes += load.writes;
            bytes += load.bytes;
            self.note_taken(&job.work, load);
            batch.push(job);
        }
        batch
    }

    fn note_taken(&mut self, work: &Work, load: Load) {
        self.queued.take(load);
        if let Work::Records { app, .. } = work
            && let Some(queued) = self.queued_of.get_mut(app)
        {
            queued.take(load);
            if queued.commits == 0 {
                self.queued_of.remove(app);
            }
        }
    }

    /// Forgets the pending values that these jobs have made durable.
    pub(super) fn settle(&mut self, batch: &[Job]) {
        for job in batch {
            let Work::Records { changes, .. } = &job.work else { continue };
            for change in changes {
                if self.values.get(&change.key).is_some_and(|pending| pending.seq <= job.seq) {
                    self.values.remove(&change.key);
                }
            }
        }
    }

    /// Stops all writing. What was pending is no longer seen, since it will not become durable.
    pub(super) fn fail(&mut self, error: StoreError) {
        self.failed.get_or_insert(error);
        self.values.clear();
    }

    /// Everything that waits.
    pub(super) fn take_all(&mut self) -> Vec<Job> {
        self.queued = Load::default();
        self.queued_of.clear();
        self.queue.drain(..).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }
}
