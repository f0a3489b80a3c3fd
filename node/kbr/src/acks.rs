//! Acknowledgements of hops on their way back: a few at a time.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use crate::bounded::MAX_LIST;
use crate::id::NodeId;
use crate::time::Time;

/// How long an acknowledgement may wait for others.
pub(crate) const DELAY: Duration = Duration::from_millis(2);
/// How many go in one frame, at most: no more runs than a frame may list.
pub(crate) const BATCH: u32 = MAX_LIST as u32;

/// Runs of sequence numbers: the first, and how many.
pub(crate) type Runs = Vec<(u64, u32)>;

#[derive(Debug, Clone)]
struct Batch {
    runs: Runs,
    count: u32,
    due: Time,
}

/// A batch for each peer that has sent something in the last [`DELAY`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Acks {
    batches: BTreeMap<NodeId, Batch>,
    /// In order of time, as each batch has the same delay. Batches that were full left theirs behind.
    due: VecDeque<(Time, NodeId)>,
}

impl Acks {
    /// Notes a hop. Gives the runs to send where the batch is full.
    pub(crate) fn note(&mut self, now: Time, from: NodeId, seq: u64) -> Option<Runs> {
        let batch = self.batches.entry(from).or_insert_with(|| {
            self.due.push_back((now + DELAY, from));
            Batch { runs: Runs::new(), count: 0, due: now + DELAY }
        });
        match batch.runs.last_mut() {
            Some((first, count)) if first.checked_add(u64::from(*count)) == Some(seq) => *count += 1,
            _ => batch.runs.push((seq, 1)),
        }
        batch.count += 1;
        if batch.count < BATCH {
            return None;
        }
        let runs = self.take(from);
        self.forget_sent();
        runs
    }

    /// Takes one batch that is due.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<(NodeId, Runs)> {
        while let Some((due, from)) = self.due.front().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_front();
            if self.batches.get(&from).is_some_and(|batch| batch.due == due) {
                return self.take(from).map(|runs| (from, runs));
            }
        }
        None
    }

    /// The peer is gone.
    pub(crate) fn take(&mut self, from: NodeId) -> Option<Runs> {
        self.batches.remove(&from).map(|batch| batch.runs)
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.due.front().map(|(due, _)| *due)
    }

    fn forget_sent(&mut self) {
        while let Some((due, from)) = self.due.front() {
            if self.batches.get(from).is_some_and(|batch| batch.due == *due) {
                break;
            }
            self.due.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_go_in_runs_when_they_are_due() {
        let (a, b) = (NodeId::hash(b"a"), NodeId::hash(b"b"));
        let mut acks = Acks::default();
        let now = Time::from_micros(1000);
        for seq in [5, 6, 7, 9, u64::MAX] {
            assert_eq!(acks.note(now, a, seq), None);
        }
        assert_eq!(acks.note(now + DELAY / 2, b, 1), None);
        assert_eq!(acks.earliest(), Some(now + DELAY));
        assert_eq!(acks.overdue(now), None);
        assert_eq!(acks.overdue(now + DELAY), Some((a, vec![(5, 3), (9, 1), (u64::MAX, 1)])));
        assert_eq!(acks.overdue(now + DELAY), None);
        assert_eq!(acks.overdue(now + DELAY * 2), Some((b, vec![(1, 1)])));
        assert_eq!(acks.earliest(), None);
    }

    #[test]
    fn a_full_batch_goes_at_once_and_leaves_no_timer() {
        let from = NodeId::hash(b"a");
        let mut acks = Acks::default();
        let sent: Vec<Runs> =
            (0..3 * u64::from(BATCH)).filter_map(|seq| acks.note(Time::ZERO, from, 2 * seq)).collect();
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|runs| runs.len() == MAX_LIST));
        assert_eq!(acks.earliest(), None);
    }
}
