//! Catching up: bringing lists up to date after many neighbours have changed at once.
//!
//! With one question a round to the first successor, what a list lacks arrives by one node a round: two rings that have
//! become one, or a ring that lost every other node, would take as many rounds as the list is long. While there is much
//! news a node also asks neighbours further on, one after the other. What a neighbour says of the nodes after it joins what
//! is known up to it, so that no list skips a node that its neighbour knows, just as with the first successor's.

use super::Machine;
use super::neighbours::Answer;
use crate::message::Peer;
use crate::questions::Query;
use crate::ring::Side;

/// New nodes of a list in one answer that are no ordinary coming and going: a partition that heals, or a crash of many.
const NEWS: usize = 6;
/// As many as show that it goes on.
const STILL_NEWS: usize = 2;
/// Rounds that follow such news: what comes from further on comes through others, which may be later.
const ROUNDS: u32 = 8;
/// Which neighbours are asked besides the first, counted from it, as far as a connection is kept to them.
const ASKED: [usize; 3] = [1, 3, 7];

/// Whether there is much news.
#[derive(Debug, Clone, Default)]
pub(super) struct CatchUp {
    /// Rounds that it still goes on for.
    rounds: u32,
    /// A predecessor's answer is waited for.
    asking_before: bool,
}

impl CatchUp {
    /// An answer of the first of the list has made `after` of the list `before`.
    pub(super) fn note(&mut self, before: &[Peer], after: &[Peer]) {
        // The list of a newcomer is new as a whole, and right; so is one that begins anew after the death of its first.
        if before.len() * 2 < after.len() {
            return;
        }
        let news = after.iter().filter(|peer| before.iter().all(|known| known.id != peer.id)).count();
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
