//! Lookups, from asking to the verdict on the answer.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_kbr::{Key, NodeId, Outcome, Time};

use super::history::History;
use super::tally::Tally;
use crate::report;
use crate::world::Index;

/// All lookups of a run, in the order asked. A lookup's request number is its place.
#[derive(Debug, Default)]
pub struct Lookups {
    records: Vec<Record>,
    /// How many have not ended.
    open: usize,
}

/// A lookup that begins.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// When.
    pub at: Time,
    /// By whom.
    pub node: Index,
    /// What for.
    pub key: Key,
    /// Lookups of one group are asked at the same instant for the same key, one after the other.
    pub group: u32,
    /// The part of the network that the asker is in.
    pub part: u8,
    /// Whether it counts.
    pub measured: bool,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    asked: Asked,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Open,
    /// The asker went away first.
    Lost,
    Failed,
    Answered {
        at: Time,
        owner: NodeId,
        hops: u8,
        correct: bool,
    },
}

impl Lookups {
    /// Notes a lookup and gives its request number.
    pub fn ask(&mut self, asked: Asked) -> u64 {
        self.records.push(Record { asked, end: End::Open });
        self.open += 1;
        self.records.len() as u64 - 1
    }

    /// A lookup has ended. `lives` says whether its asker is still a member; a failure of one that is not does not
    /// count.
    pub fn ended(&mut self, now: Time, request: u64, outcome: &Outcome, lives: bool, history: &History) {
        let Some(record) = usize::try_from(request).ok().and_then(|place| self.records.get_mut(place)) else { return };
        if !matches!(record.end, End::Open) {
            return;
        }
        let asked = record.asked;
        self.open -= 1;
        record.end = match &outcome.result {
            Ok(owner) => {
                let correct = history.was_owner(asked.part, asked.key, owner.id, asked.at);
                End::Answered { at: now, owner: owner.id, hops: outcome.hops, correct }
            }
            Err(_) if lives => End::Failed,
            Err(_) => End::Lost,
        };
    }

    /// Ends what is still open: it is lost where its asker is gone, else it has failed.
    pub fn close(&mut self, lives: impl Fn(Index) -> bool) {
        for record in self.records.iter_mut().filter(|record| matches!(record.end, End::Open)) {
            record.end = if lives(record.asked.node) { End::Failed } else { End::Lost };
        }
        self.open = 0;
    }

    /// How many have not ended.
    pub fn open(&self) -> usize {
        self.open
    }

    /// The counts for the report. Call [`close`](Lookups::close) first.
    pub fn counts(&self) -> report::Lookups {
        count(self.counted())
    }

    /// The same of the lookups of one key.
    pub fn counts_of(&self, key: Key) -> report::Lookups {
        count(self.counted().filter(|record| record.asked.key == key))
    }

    /// Hops of the answered.
    pub fn hops(&self) -> Tally {
        let mut tally = Tally::default();
        self.answered().for_each(|(_, _, _, hops)| tally.add(hops.into()));
        tally
    }

    /// Who asked, the owner that he was told, and how long it took: of the answered.
    pub fn times(&self) -> impl Iterator<Item = (Index, NodeId, Duration)> {
        self.answered().map(|(asked, owner, at, _)| (asked.node, owner, at.since(asked.at)))
    }

    /// What became of the lookups that were asked in each second since the origin of time, as far as the last.
    pub fn seconds(&self) -> Vec<report::Second> {
        let mut seconds = Vec::new();
        for record in self.counted() {
            let second = (record.asked.at.as_micros() / 1_000_000) as usize;
            if seconds.len() <= second {
                seconds.resize(second + 1, report::Second::default());
            }
            seconds[second].asked += 1;
            seconds[second].answered += u64::from(matches!(record.end, End::Answered { .. }));
            seconds[second].correct += u64::from(record.is_correct());
        }
        seconds
    }

    /// When the last lookup was asked, from this time on, that did not end with a responsible node.
    pub fn last_wrong(&self, since: Time) -> Option<Time> {
        let mut late = self.counted().filter(|record| record.asked.at >= since && !record.is_correct());
        late.next_back().map(|record| record.asked.at)
    }

    fn counted(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter().filter(|record| record.asked.measured && !matches!(record.end, End::Open | End::Lost))
    }

    fn answered(&self) -> impl Iterator<Item = (&Asked, NodeId, Time, u8)> {
        self.counted().filter_map(|record| match record.end {
            End::Answered { at, owner, hops, .. } => Some((&record.asked, owner, at, hops)),
            _ => None,
        })
    }
}

impl Record {
    fn is_correct(&self) -> bool {
        matches!(self.end, End::Answered { correct: true, .. })
    }
}

fn count<'a>(records: impl Iterator<Item = &'a Record>) -> report::Lookups {
    let counted: Vec<&Record> = records.collect();
    let mut counts = report::Lookups::default();
    for record in &counted {
        counts.asked += 1;
        counts.failed += u64::from(matches!(record.end, End::Failed));
        counts.answered += u64::from(matches!(record.end, End::Answered { .. }));
        counts.correct += u64::from(record.is_correct());
    }
    let groups = counted.chunk_by(|one, other| one.asked.group == other.asked.group);
    counts.consistent = groups.map(agreeing).sum();
    counts
}

/// How many of a group were told what more than half of it were told.
fn agreeing(group: &[&Record]) -> u64 {
    let mut told: BTreeMap<NodeId, u64> = BTreeMap::new();
    for record in group {
        if let End::Answered { owner, .. } = record.end {
            *told.entry(owner).or_default() += 1;
        }
    }
    told.into_values().max().filter(|most| *most * 2 > group.len() as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_kbr::{Failure, Peer, Purpose};

    fn peer(number: u8) -> Peer {
        Peer { id: NodeId::from_bytes([number; 20]), addr: ([10, 0, 0, number], 1).into() }
    }

    fn answer(owner: u8) -> Outcome {
        Outcome { result: Ok(peer(owner)), hops: owner, ..Outcome::failed(0, Purpose::Lookup, Failure::Deadline) }
    }

    /// Each number is an answer; 0 a failure, none an asker that went away.
    fn group_of(answers: &[Option<u8>]) -> Lookups {
        let mut history = History::new(1, Duration::from_secs(9));
        history.join(Time::ZERO, peer(5).id, 5, None);
        let mut lookups = Lookups::default();
        let key = Key::ZERO;
        let at = Time::from_micros(1_500_000);
        let later = Time::from_micros(1_700_000);
        for (end, node) in answers.iter().zip(0..) {
            let request = lookups.ask(Asked { at, node, key, group: 0, part: 0, measured: true });
            match end {
                None => continue,
                Some(0) => {
                    let outcome = Outcome::failed(0, Purpose::Lookup, Failure::Deadline);
                    lookups.ended(later, request, &outcome, true, &history);
                }
                Some(owner) => lookups.ended(later, request, &answer(*owner), true, &history),
            }
        }
        lookups.close(|_| false);
        lookups
    }

    #[test]
    fn the_majority_of_those_who_asked_is_consistent() {
        let consistent = |answers: &[Option<u8>]| group_of(answers).counts().consistent;
        assert_eq!(consistent(&[Some(5), Some(5), Some(6)]), 2);
        assert_eq!(consistent(&[Some(5), Some(6)]), 0, "half is no majority");
        assert_eq!(consistent(&[Some(5), Some(0), None]), 0, "a failure counts, a dead asker does not");
        assert_eq!(consistent(&[Some(5), None, None]), 1);
    }

    #[test]
    fn answers_are_counted_where_the_asker_lived() {
        let lookups = group_of(&[Some(5), Some(6), Some(0), None]);
        let counts = report::Lookups { asked: 3, answered: 2, correct: 1, consistent: 0, failed: 1 };
        assert_eq!(lookups.counts(), counts);
        assert_eq!(lookups.hops().counts(), [0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(lookups.seconds()[1], report::Second { asked: 3, answered: 2, correct: 1 });
        assert!(lookups.times().all(|(_, _, time)| time == Duration::from_millis(200)));
        assert_eq!(lookups.last_wrong(Time::ZERO), Some(Time::from_micros(1_500_000)));
        assert_eq!(lookups.last_wrong(Time::from_micros(2_000_000)), None);
    }
}
