//! The lists of neighbours that a node has answered with lately. Who has one of them is told only what is other now: where
//! nodes come and go all the time, each answer differs from the last, and most of it is the same.

use std::collections::VecDeque;

use crate::digest::digest;
use crate::message::{Listed, Peer};

/// Answers that are remembered. Two nodes ask regularly, the predecessor and the first successor, each for another part and
/// each knowing the answer to its last question.
const MAX_ANSWERS: usize = 4;
/// Lists of no more nodes go whole: what there is to save is less than the rest of a frame.
const SHORT: usize = 4;

/// An answer: its number, and those of its entries, the predecessors first.
#[derive(Debug, Clone)]
struct Answer {
    digest: u64,
    entries: Box<[u64]>,
}

/// Those given last, the latest at the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(VecDeque<Answer>);

impl Answers {
    /// Notes an answer.
    pub(crate) fn note(&mut self, digest: u64, predecessors: &[Peer], successors: &[Peer]) {
        if predecessors.len() + successors.len() <= SHORT {
            return;
        }
        let known = self.0.iter().position(|answer| answer.digest == digest).and_then(|at| self.0.remove(at));
        let answer = known.unwrap_or_else(|| {
            let entries = predecessors.iter().chain(successors).map(number).collect();
            Answer { digest, entries }
        });
        if self.0.len() == MAX_ANSWERS {
            self.0.pop_front();
        }
        self.0.push_back(answer);
    }

    /// These lists for someone who has the answer of this number; none where that is forgotten.
    pub(crate) fn since(
        &self,
        known: u64,
        predecessors: &[Peer],
        successors: &[Peer],
    ) -> Option<(Vec<Listed>, Vec<Listed>)> {
        let before = self.0.iter().find(|answer| answer.digest == known)?;
        let listed = |peer: &Peer| {
            let own = number(peer);
            let place = before.entries.iter().position(|entry| *entry == own);
            place.and_then(|place| u8::try_from(place).ok()).map_or(Listed::New(*peer), Listed::Same)
        };
        Some((predecessors.iter().map(listed).collect(), successors.iter().map(listed).collect()))
    }
}

fn number(peer: &Peer) -> u64 {
    digest(&[*peer], &[])
}

/// The list that is meant, by someone who has these predecessors and successors; none where it names a place beyond them.
pub(crate) fn restored(listed: &[Listed], predecessors: &[Peer], successors: &[Peer]) -> Option<Vec<Peer>> {
    let restore = |listed: &Listed| match listed {
        Listed::Same(place) => predecessors.iter().chain(successors).nth(usize::from(*place)).copied(),
        Listed::New(peer) => Some(*peer),
    };
    listed.iter().map(restore).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::id::NodeId;

    fn peer(number: u16) -> Peer {
        Peer { id: NodeId::hash(&number.to_be_bytes()), addr: ([10, 0, 0, 1], 1 + number).into() }
    }

    fn peers(numbers: &[u16]) -> Vec<Peer> {
        numbers.iter().copied().map(peer).collect()
    }

    proptest! {
        #[test]
        fn what_is_told_since_an_answer_restores_the_lists(
            answers in vec((vec(0..24_u16, 0..17), vec(0..24_u16, 0..17)), 1..8),
        ) {
            let answers: Vec<(Vec<Peer>, Vec<Peer>)> =
                answers.iter().map(|(before, after)| (peers(before), peers(after))).collect();
            let mut told = Answers::default();
            for (before, after) in &answers {
                told.note(digest(before, after), before, after);
            }
            let (before, after) = answers.last().unwrap();
            for (had_before, had_after) in &answers {
                let Some((listed_before, listed_after)) = told.since(digest(had_before, had_after), before, after) else {
                    continue;
                };
                prop_assert_eq!(&restored(&listed_before, had_before, had_after).unwrap(), before);
                prop_assert_eq!(&restored(&listed_after, had_before, had_after).unwrap(), after);
                let new = listed_before.iter().chain(&listed_after).filter(|entry| matches!(entry, Listed::New(_)));
                let unknown = |peer: &&Peer| !had_before.contains(peer) && !had_after.contains(peer);
                prop_assert_eq!(new.count(), before.iter().chain(after).filter(unknown).count());
            }
            prop_assert!(told.0.len() <= MAX_ANSWERS);
        }
    }

    #[test]
    fn the_latest_answers_are_remembered_and_short_ones_are_not() {
        let mut told = Answers::default();
        let lists: Vec<Vec<Peer>> = (0..6).map(|first| peers(&[first, 20, 21, 22, 23])).collect();
        for list in &lists {
            told.note(digest(list, &[]), list, &[]);
        }
        told.note(digest(&lists[2], &[]), &lists[2], &[]);
        told.note(7, &lists[0][..4], &[]);
        let has = |list: &Vec<Peer>| told.since(digest(list, &[]), list, &[]).is_some();
        assert_eq!(lists.iter().map(has).collect::<Vec<_>>(), [false, false, true, true, true, true]);
        assert!(told.since(7, &[], &[]).is_none());
        told.0.clear();
        assert!(told.since(0, &lists[0], &[]).is_none(), "nothing is known");
    }

    #[test]
    fn a_place_beyond_the_lists_restores_nothing() {
        let (before, after) = (peers(&[1]), peers(&[2, 3]));
        assert_eq!(restored(&[Listed::Same(2), Listed::Same(0)], &before, &after), Some(peers(&[3, 1])));
        assert_eq!(restored(&[Listed::Same(3)], &before, &after), None);
    }
}
