//! Catching up: bringing lists up to date after many neighbours have changed at once.
//!
//! With one question a round to the first successor, what a list lacks arrives by one node a round: two rings that have
//! become one, or a ring that lost every other node, would take as many rounds as the list is long. While there is much
//! news a node also asks neighbours further on, one after the other. What a neighbour says of the nodes after it joins what
//! is known up to it, so that no list skips a node that its neighbour knows, just as with the first successor's.

use super::Machine;
use super::neighbours::Answer;
use crate::config::NEAR;
use crate::id::NodeId;
use crate::message::Peer;
use crate::questions::Query;

/// New nodes in the lists within a round that are no ordinary coming and going: a partition that heals, or a crash of many.
const NEWS: usize = 3;
/// Rounds without news after which no more is awaited: what comes from further on comes through others, which may be later.
const QUIET: u32 = 8;
/// Which neighbours are asked besides the first, counted from it. A connection is kept to all of them.
const ASKED: [usize; 2] = [1, NEAR - 1];

/// One of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The successors.
    After,
    /// The predecessors.
    Before,
}

/// Whether there is much news.
#[derive(Debug, Clone, Default)]
pub(super) struct CatchUp {
    /// Rounds that it still goes on for where none brings news.
    rounds: u32,
    /// The nodes of both lists at the last round.
    seen: Vec<NodeId>,
    /// A predecessor's answer is waited for.
    asking_before: bool,
}

impl Machine {
    /// Whether the lists are being brought up to date, so that rounds have to follow quickly.
    pub(super) fn is_catching_up(&self) -> bool {
        self.catch_up.rounds > 0
    }

    /// Towards the end of a round: goes on for as long as rounds bring news. Gives the question that the round waits for.
    pub(super) fn catch_up(&mut self) -> Option<u64> {
        let listed: Vec<NodeId> = self.ring.neighbours().map(|peer| peer.id).collect();
        let news = listed.iter().filter(|id| !self.catch_up.seen.contains(id)).count();
        // The lists of a newcomer are new as a whole, and right.
        let first = self.catch_up.seen.is_empty();
        self.catch_up.seen = listed;
        let rounds = self.catch_up.rounds;
        let much = !first && news >= NEWS || rounds > 0 && news > 0;
        self.catch_up.rounds = if much { QUIET } else { rounds.saturating_sub(1) };
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
            Side::After => self.ring.successors(),
            Side::Before => self.ring.predecessors(),
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
