//! Catching up: bringing lists up to date after many neighbours have changed at once.
//!
//! With one question a round to the first successor, what a list lacks arrives by one node a round: two rings that have
//! become one, or a ring that lost every other node, would take as many rounds as the list is long. While there is much
//! news a node also asks neighbours further on, one after the other. What a neighbour says of the nodes after it joins what
//! is known up to it, so that no list skips a node that its neighbour knows, just as with the first successor's.

use core::time::Duration;

use super::Machine;
use super::neighbours::Answer;
use crate::id::{Id, NodeId};
use crate::message::Peer;
use crate::questions::Query;
use crate::ring::Side;
use crate::time::Time;

/// New nodes of a list in one answer that are no ordinary coming and going: a partition that heals, or a crash of many.
const NEWS: usize = 6;
/// As many as show that it goes on.
const STILL_NEWS: usize = 2;
/// Rounds that follow such news: what comes from further on comes through others, which may be later.
const ROUNDS: u32 = 8;
/// Neighbours that are lost within [`TOGETHER`] of the first of them where many have died at once.
const LOSSES: u32 = 5;
const TOGETHER: Duration = Duration::from_secs(4);
/// Which neighbours are asked besides the first, counted from it, as far as a connection is kept to them.
const ASKED: [usize; 3] = [1, 3, 7];

/// Whether there is much news.
#[derive(Debug, Clone, Default)]
pub(super) struct CatchUp {
    /// Rounds that it still goes on for.
    rounds: u32,
    /// A predecessor's answer is waited for.
    asking_before: bool,
    /// When the first of the neighbours was lost that are counted, and how many that are.
    lost_since: Time,
    lost: u32,
}

impl CatchUp {
    /// A neighbour has died. Says whether many have.
    pub(super) fn note_loss(&mut self, now: Time) -> bool {
        if self.lost == 0 || now.since(self.lost_since) > TOGETHER {
            (self.lost_since, self.lost) = (now, 0);
        }
        self.lost += 1;
        let many = self.lost >= LOSSES;
        if many {
            self.rounds = ROUNDS;
        }
        many
    }

    /// An answer of the first of the list has made `after` of the list `before`; `way` is how far away a node is.
    pub(super) fn note(&mut self, before: &[Peer], after: &[Peer], way: impl Fn(NodeId) -> Id) {
        // The list of a newcomer is new as a whole, and right; so is one that begins anew after the death of its first.
        if before.len() * 2 < after.len() {
            return;
        }
        let known = before.last().map_or(Id::ZERO, |last| way(last.id));
        // Where a list was only short, those at its end are no news.
        let counts = |peer: &&Peer| self.rounds > 0 || way(peer.id) < known;
        let is_new = |peer: &&Peer| before.iter().all(|known| known.id != peer.id);
        let news = after.iter().filter(is_new).filter(counts).count();
        let much = if self.rounds > 0 { STILL_NEWS } else { NEWS };
        if news >= much {
            self.rounds = ROUNDS;
        }
    }
}

impl Machine {
    /// Whether the lists are being brought up to date, so that rounds have to follow quickly.
    pub(super) fn is_catching_up(&self) -> bool {
        self.catch_up.rounds > 0
    }

    /// Towards the end of a round: goes on after much news. Gives the question that the round waits for.
    pub(super) fn catch_up(&mut self) -> Option<u64> {
        self.catch_up.rounds = self.catch_up.rounds.saturating_sub(1);
        if !self.is_catching_up() {
            return None;
        }
        if !self.catch_up.asking_before {
            self.catch_up.asking_before = self.ask_further(Side::Before, 0).is_some();
        }
        self.ask_further(Side::After, 0)
    }

    fn ask_further(&mut self, side: Side, turn: usize) -> Option<u64> {
        let list = match side {
            Side::After => self.near_successors(),
            Side::Before => self.near_predecessors(),
        };
        let to = list.get(*ASKED.get(turn)?).copied()?;
        self.ask_neighbours(to, Query::Further(side, turn))
    }

    pub(super) fn on_further_answer(&mut self, from: Peer, (side, turn): (Side, usize), answer: Answer, alive: bool) {
        match answer {
            Some((predecessors, successors)) => {
                let probes = &self.probes;
                let lost = |id| probes.is_lost(id);
                match side {
                    Side::After => self.ring.extend_successors(from.id, &successors, lost),
                    Side::Before => self.ring.extend_predecessors(from.id, &predecessors, lost),
                }
            }
            None if alive => {}
            None => self.suspect(from),
        }
        let next = self.ask_further(side, turn + 1);
        match side {
            Side::After => self.await_further(next),
            Side::Before => self.catch_up.asking_before = next.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that are so far away.
    fn peers(ways: impl IntoIterator<Item = u8>) -> Vec<Peer> {
        let id = |way| Id::from_bytes(core::array::from_fn(|at| if at == 0 { way } else { 0 }));
        ways.into_iter().map(|way| Peer { id: id(way), addr: ([10, 0, 0, way], 1).into() }).collect()
    }

    fn noted(before: impl IntoIterator<Item = u8>, after: impl IntoIterator<Item = u8>) -> bool {
        let mut state = CatchUp::default();
        state.note(&peers(before), &peers(after), |id| id);
        state.rounds > 0
    }

    #[test]
    fn another_ring_between_the_nodes_of_this_one_is_news_and_a_list_that_fills_up_is_none() {
        assert!(noted((1..=8).map(|way| way * 10), (2..=16).map(|way| way * 5)), "they alternate");
        assert!(
            noted((1..=8).map(|way| way * 10), (1..=8).map(|way| way * 10 - 3)),
            "none of this one is left in the list"
        );
        assert!(!noted(1..=8, 1..=16));
        assert!(!noted([], 1..=16), "a newcomer");
        assert!(!noted((2..=9).map(|way| way * 10), (1..=8).map(|way| way * 10)), "one has joined");
    }

    #[test]
    fn much_news_goes_on_with_less() {
        let mut state = CatchUp::default();
        let lists = [peers((1..=8).map(|way| way * 2)), peers(1..=16), peers((1..=14).chain([18, 20]))];
        state.note(&lists[0], &lists[1], |id| id);
        state.rounds -= 1;
        state.note(&lists[1], &lists[2], |id| id);
        assert_eq!(state.rounds, ROUNDS);
        let mut calm = CatchUp::default();
        calm.note(&lists[1], &lists[2], |id| id);
        assert_eq!(calm.rounds, 0);
    }

    #[test]
    fn deaths_count_where_they_come_together() {
        let at = |seconds: u64| Time::from_micros(seconds * 1_000_000);
        let mut state = CatchUp::default();
        let apart: Vec<bool> = (0..20).map(|turn| state.note_loss(at(turn * 2))).collect();
        assert!(apart.iter().all(|many| !many) && state.rounds == 0);
        let together: Vec<bool> = (0..6).map(|_| state.note_loss(at(100))).collect();
        assert_eq!(together, [false, false, false, false, true, true]);
        assert_eq!(state.rounds, ROUNDS);
    }
}
