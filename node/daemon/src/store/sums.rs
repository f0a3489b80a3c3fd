//! The sums of keyed records: kept in memory, counted afresh at the start, and where a leaf is cut, read.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use prost_contract::Entry;
use prost_kbr::Interval;
use prost_manager::{Block, Cover, RangeIndex};

use super::error::StoreError;
use super::layout;
use super::pending::State;
use super::reader::Seen;
use super::shared::{RecordTable, Shared};

/// Entries that the builder remembers: no leaf that it fills has more when it is divided.
const WINDOW: usize = 128;

/// A range's sums and what has to be read for them, of one moment.
pub(super) struct Pieces {
    pub(super) app: u32,
    pub(super) cover: Cover,
    /// What is pending in the pieces that have to be read.
    pub(super) pending: BTreeMap<Vec<u8>, Seen>,
    pub(super) durable: Arc<RecordTable>,
}

impl Pieces {
    /// Adds the keys of damaged records to `damaged`.
    pub(super) fn read(&self, range: Interval, damaged: &mut Vec<Vec<u8>>) -> Result<Vec<Entry>, StoreError> {
        entries_in(&self.durable, &self.pending, self.app, range, damaged)
    }
}

impl Shared {
    /// Divides blocks of an application's index that have grown too large. A failure is the store's.
    pub(super) fn divide(&self, state: &mut State, durable: &RecordTable, app: u32, blocks: Vec<Block>) {
        for block in blocks {
            if let Err(error) = self.refill(state, durable, app, block) {
                return state.fail(error);
            }
        }
    }

    /// Counts a leaf of an application's index afresh; says whether that changed nothing.
    pub(super) fn refill(
        &self,
        state: &mut State,
        durable: &RecordTable,
        app: u32,
        leaf: Block,
    ) -> Result<bool, StoreError> {
        let pending = seen_between(state, app, leaf.range()).collect();
        let mut damaged = Vec::new();
        let entries = entries_in(durable, &pending, app, leaf.range(), &mut damaged)?;
        for key in &damaged {
            state.note_damaged(key);
        }
        Ok(state.indexes.entry(app).or_default().refill(leaf, &entries))
    }
}

/// What is pending of a range that does not wrap around.
pub(super) fn seen_between(
    state: &State,
    app: u32,
    range: Interval,
) -> impl Iterator<Item = (Vec<u8>, Seen)> + use<'_> {
    let (from, end) = bounds(app, range);
    let within = move |key: &[u8]| key.get(..end.len()).is_some_and(|head| head <= end.as_slice());
    let values = state.values.range(from..).take_while(move |(key, _)| within(key));
    values.map(|(key, pending)| (key.clone(), Seen::of(pending.value.as_ref())))
}

/// The keyed records of a range that does not wrap around.
fn entries_in(
    durable: &RecordTable,
    pending: &BTreeMap<Vec<u8>, Seen>,
    app: u32,
    range: Interval,
    damaged: &mut Vec<Vec<u8>>,
) -> Result<Vec<Entry>, StoreError> {
    let (from, end) = bounds(app, range);
    let mut found = Found { max: usize::MAX, entries: Vec::new(), damaged: std::mem::take(damaged) };
    collect(durable, pending, (&from, &end), &mut found)?;
    *damaged = found.damaged;
    Ok(found.entries)
}

/// What the database keys of a range that does not wrap around begin with, the first and the last.
fn bounds(app: u32, range: Interval) -> (Vec<u8>, Vec<u8>) {
    let prefix = layout::keyed_prefix(app);
    let first = range.after().plus_power(0);
    ([prefix.as_slice(), first.as_bytes()].concat(), [prefix.as_slice(), range.upto().as_bytes()].concat())
}

/// What a walk over keyed records has found.
#[derive(Default)]
pub(super) struct Found {
    /// Entries that are enough.
    pub(super) max: usize,
    pub(super) entries: Vec<Entry>,
    /// The keys of damaged records, which are not among the entries.
    pub(super) damaged: Vec<Vec<u8>>,
}

/// Adds the keyed records from `from` on whose ring key is not beyond the one that `end` ends with, until there are
/// enough. What is pending hides what is durable.
pub(super) fn collect(
    durable: &RecordTable,
    pending: &BTreeMap<Vec<u8>, Seen>,
    (from, end): (&[u8], &[u8]),
    found: &mut Found,
) -> Result<(), StoreError> {
    let within = |key: &[u8]| key.get(..end.len()).is_some_and(|head| head <= end);
    let mut pending = pending.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).peekable();
    let mut durable = durable.range::<&[u8]>(from..)?.peekable();
    while found.entries.len() < found.max {
        if let Some(Err(_)) = durable.peek() {
            durable.next().transpose()?;
        }
        let stored = durable.peek().and_then(|entry| Some(entry.as_ref().ok()?.0.value().to_vec()));
        let waiting = pending.peek().map(|(key, _)| key.as_slice());
        let take_pending = match (&stored, waiting) {
            (None, None) => break,
            (Some(stored), Some(waiting)) => waiting <= stored.as_slice(),
            (stored, _) => stored.is_none(),
        };
        let (key, version) = if take_pending {
            let Some((key, seen)) = pending.next() else { break };
            if stored.as_ref() == Some(key) {
                durable.next();
            }
            (key.clone(), seen.version)
        } else {
            let Some(entry) = durable.next() else { break };
            let (key, stored) = entry?;
            if !within(key.value()) {
                break;
            }
            match layout::version(key.value(), stored.value()) {
                Ok(version) => (key.value().to_vec(), version),
                Err(_) => {
                    found.damaged.push(key.value().to_vec());
                    continue;
                }
            }
        };
        if !within(&key) {
            break;
        }
        if let (Some(point), Some(version)) = (layout::point_of(&key), version) {
            found.entries.push(Entry { point, version });
        }
    }
    Ok(())
}

/// Builds indexes from records in the order of their keys.
#[derive(Default)]
pub(super) struct IndexBuilder {
    app: u32,
    /// The last ones, which are all that a leaf can have that is being filled.
    window: VecDeque<Entry>,
}

impl IndexBuilder {
    pub(super) fn add(&mut self, index: &mut RangeIndex, app: u32, entry: Entry) {
        if self.app != app {
            self.window.clear();
            self.app = app;
        }
        let grown = index.change(&entry.point, None, Some(entry.version));
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(entry);
        if let Some(leaf) = grown {
            let range = leaf.range();
            let inside = |entry: &&Entry| range.contains(entry.point.key);
            index.refill(leaf, self.window.iter().filter(inside));
        }
    }
}
