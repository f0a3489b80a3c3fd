//! Keeping the place in the ring: Zave's stabilise and rectify, and graceful leaving.

use core::time::Duration;

use super::neighbours::Answer;
use super::{Machine, Membership};
use crate::failure::Failure;
use crate::id::{Interval, NodeId};
use crate::io::Output;
use crate::message::{Message, Peer};
use crate::planted::Bug;
use crate::probes::TRIES;
use crate::questions::Query;
use crate::time::Time;

/// How much longer each round that finds nothing new makes the period.
const GROWTH: f64 = 1.4;
/// Rounds in a row that a successor may leave unanswered while it answers pings.
const MAX_UNANSWERED: u8 = 3;

/// The periodic rounds; never two at once.
#[derive(Debug, Clone)]
pub(super) struct Stabilizer {
    period: Duration,
    pub(super) due: Option<Time>,
    /// The question that the round under way waits for.
    round: Option<u64>,
    /// Whether the nearest neighbours have changed since the last round ended.
    changed: bool,
    /// Whom the question of this round has told that this node takes itself for its predecessor.
    notified: Option<NodeId>,
    unanswered: u8,
}

impl Stabilizer {
    pub(super) fn new(period: Duration) -> Stabilizer {
        Stabilizer { period, due: None, round: None, changed: false, notified: None, unanswered: 0 }
    }
}

impl Machine {
    /// Abandons the round under way and starts a new one with the next timer.
    pub(super) fn stabilize_at_once(&mut self) {
        if let Some(request) = self.stabilizer.round.take() {
            self.questions.take(request);
        }
        self.stabilizer.due = Some(self.now);
    }

    pub(super) fn handle_stabilize_timer(&mut self) {
        if self.stabilizer.due.is_none_or(|due| due > self.now) || !self.is_member() {
            return;
        }
        self.stats.stabilize_rounds += 1;
        self.stabilizer.due = None;
        if let Some(predecessor) = self.ring.predecessor() {
            self.ask_neighbours(predecessor, Query::Refresh);
        }
        match self.ring.successor() {
            Some(successor) => {
                self.stabilizer.round = self.ask_neighbours(successor, Query::Stabilize);
                self.stabilizer.notified = self.stabilizer.round.map(|_| successor.id);
            }
            None => self.rejoin_if_lost(),
        }
        if self.stabilizer.round.is_none() {
            self.end_round();
        }
    }

    /// Zave: each round notifies the current first successor. The question has done that where it is the same still.
    fn finish_round(&mut self) {
        if let Some(successor) = self.ring.successor().filter(|peer| self.stabilizer.notified != Some(peer.id)) {
            self.send(successor, Message::Notify);
        }
        let further = self.catch_up();
        self.await_further(further);
    }

    /// The round ends with the answer to this question; with none, now.
    pub(super) fn await_further(&mut self, further: Option<u64>) {
        self.stabilizer.round = further;
        if further.is_none() {
            self.end_round();
        }
    }

    fn end_round(&mut self) {
        let busy = std::mem::take(&mut self.stabilizer.changed) || self.is_catching_up();
        let grown = self.stabilizer.period.mul_f64(GROWTH).min(self.config.stabilize_max);
        self.stabilizer.period = if busy { self.config.stabilize_min } else { grown };
        let wait = self.random.jitter(self.stabilizer.period);
        self.stabilizer.round = None;
        if self.stabilizer.due.is_none() {
            self.stabilizer.due = Some(self.now + wait);
        }
    }

    /// The neighbours have changed: rounds follow quickly again.
    pub(super) fn on_neighbours_changed(&mut self) {
        self.stabilizer.changed = true;
        self.stabilizer.period = self.config.stabilize_min;
        let soon = self.now + self.random.jitter(self.config.stabilize_min);
        if self.stabilizer.round.is_none() {
            self.stabilizer.due = Some(self.stabilizer.due.map_or(soon, |due| due.min(soon)));
        }
    }

    pub(super) fn adopt_successors(&mut self, head: Peer, list: &[Peer]) {
        let before = self.ring.successor().filter(|_| self.ring.is_nearer_successor(head.id));
        let probes = &self.probes;
        let old = self.ring.successors().to_vec();
        self.ring.adopt_successors(head, list, |id| probes.is_lost(id));
        let me = self.me.id;
        self.catch_up.note(&old, self.ring.successors(), |id| me.distance_to(id));
        if let Some(before) = before {
            self.propose_to(head, before);
        }
    }

    pub(super) fn on_successor_answer(&mut self, successor: Peer, answer: Answer, alive: bool) {
        self.stabilizer.round = None;
        let current = self.ring.successor().is_some_and(|current| current.id == successor.id);
        let Some((predecessors, successors)) = answer else {
            if alive {
                self.drop_outsider(successor);
            } else if current {
                self.on_successor_silent(successor);
            }
            if !self.config.has(Bug::RoundNotResumed) {
                self.end_round();
            }
            return;
        };
        self.stabilizer.unanswered = 0;
        if !current {
            self.end_round();
            return;
        }
        let successors = if self.config.has(Bug::ListNotCopied) { self.ring.successors().to_vec() } else { successors };
        self.adopt_successors(successor, &successors);
        let between = predecessors.first().copied();
        let between = between.filter(|peer| self.ring.is_nearer_successor(peer.id) && !self.probes.is_lost(peer.id));
        if let Some(peer) = between.filter(|_| self.config.has(Bug::UnheardSuccessor)) {
            let list = self.ring.successors().to_vec();
            self.adopt_successors(peer, &list);
        }
        self.stabilizer.round = between.and_then(|peer| self.ask_neighbours(peer, Query::Between));
        if self.stabilizer.round.is_none() {
            self.finish_round();
        }
    }

    /// A node that answers pings and never a question is as good as dead.
    fn on_successor_silent(&mut self, successor: Peer) {
        self.stabilizer.unanswered += 1;
        if self.stabilizer.unanswered >= MAX_UNANSWERED {
            self.stabilizer.unanswered = 0;
            self.declare_dead(successor);
        } else {
            self.suspect(successor);
        }
    }

    pub(super) fn on_between_answer(&mut self, between: Peer, answer: Answer) {
        self.stabilizer.round = None;
        if self.config.has(Bug::RoundNotResumed) && answer.is_none() {
            return;
        }
        if let Some((_, successors)) = answer
            && self.ring.is_nearer_successor(between.id)
        {
            self.adopt_successors(between, &successors);
        }
        self.finish_round();
    }

    pub(super) fn on_predecessor_answer(&mut self, predecessor: Peer, answer: Answer, alive: bool) {
        if self.ring.predecessor().is_none_or(|current| current.id != predecessor.id) {
            return;
        }
        match answer {
            Some((predecessors, _)) => self.adopt_predecessors(predecessor, &predecessors),
            None if alive => self.drop_outsider(predecessor),
            None => self.suspect(predecessor),
        }
    }

    fn adopt_predecessors(&mut self, head: Peer, list: &[Peer]) {
        if list.is_empty() {
            // It has joined just now and knows of none yet, but those that were before it are there all the same.
            self.ring.insert_predecessor(head);
            return;
        }
        let probes = &self.probes;
        let old = self.ring.predecessors().to_vec();
        self.ring.adopt_predecessors(head, list, |id| probes.is_lost(id));
        let me = self.me.id;
        self.catch_up.note(&old, self.ring.predecessors(), |id| id.distance_to(me));
    }

    /// The predecessor is gone: asks those that it named, the nearest first.
    pub(super) fn ask_candidates(&mut self, mut candidates: Vec<Peer>) {
        candidates.retain(|peer| !self.probes.is_lost(peer.id) && peer.id != self.me.id);
        if !candidates.is_empty() {
            let first = candidates.remove(0);
            self.ask_neighbours(first, Query::Candidate(1, candidates));
        }
    }

    /// A candidate that is silent once may be busy, and the keys before it are its own while it lives. One that knows of a
    /// node after it, which may have joined only just now, is not the predecessor: that node's keys are not this one's.
    pub(super) fn on_candidate_answer(&mut self, candidate: Peer, answer: Answer, tries: u8, mut others: Vec<Peer>) {
        match answer {
            Some((predecessors, successors)) if self.ring.is_nearer_predecessor(candidate.id) => {
                let between = Interval::open(candidate.id, self.me.id);
                let unknown = |peer: &&Peer| between.contains(peer.id) && !self.probes.is_lost(peer.id);
                let nearer = successors.iter().rfind(unknown).copied();
                others.insert(0, candidate);
                let asked = nearer.and_then(|peer| self.ask_neighbours(peer, Query::Candidate(1, others)));
                if asked.is_none() {
                    self.adopt_predecessors(candidate, &predecessors);
                }
            }
            Some(_) => {}
            None if self.ring.predecessor().is_some() => {}
            None if tries < TRIES => {
                self.ask_neighbours(candidate, Query::Candidate(tries + 1, others));
            }
            None => {
                self.note_death(candidate);
                self.ask_candidates(others);
            }
        }
    }

    /// Zave's rectify. The notifier has just spoken, so it is alive.
    pub(super) fn on_notify(&mut self, from: Peer) {
        if !self.is_member() {
            self.send_not_a_member(from);
            return;
        }
        match self.ring.predecessor() {
            None if self.config.has(Bug::FirstNotifierIgnored) => {}
            Some(predecessor) if predecessor.id == from.id => {}
            Some(_) if self.config.has(Bug::AnyNotifier) => self.ring.insert_predecessor(from),
            Some(predecessor) if !self.ring.is_nearer_predecessor(from.id) => {
                self.notifier = Some(from);
                self.probe(predecessor);
            }
            _ => {
                self.ring.insert_predecessor(from);
                if self.ring.successors().is_empty() {
                    self.search_through(from);
                }
            }
        }
    }

    /// A predecessor is dead: the node that had claimed its place meanwhile takes it.
    pub(super) fn rectify(&mut self) {
        if let Some(notifier) = self.notifier.take()
            && !self.probes.is_lost(notifier.id)
            && self.ring.is_nearer_predecessor(notifier.id)
        {
            self.ring.insert_predecessor(notifier);
        }
    }

    /// A node is alive: where it is the predecessor, the claim to its place is void.
    pub(super) fn settle_notifier(&mut self, alive: NodeId) {
        if self.ring.predecessor().is_some_and(|predecessor| predecessor.id == alive) {
            self.notifier = None;
        }
    }

    /// Asks a node that may stand between this one and its successor, as in the second step of stabilise.
    pub(super) fn ask_between(&mut self, peer: Peer) {
        self.stabilize_at_once();
        self.stabilizer.notified = None;
        self.stabilizer.round = self.ask_neighbours(peer, Query::Between);
        if self.stabilizer.round.is_some() {
            self.stabilizer.due = None;
        }
    }

    /// Told to nodes that take this one for a member, so that they look elsewhere.
    pub(super) fn send_not_a_member(&mut self, to: Peer) {
        self.send(to, Message::Leave { predecessors: Vec::new(), successors: Vec::new() });
    }

    /// A neighbour that is alive and says that it is not a member.
    fn drop_outsider(&mut self, peer: Peer) {
        self.probes.lose(self.now, peer);
        self.on_leave(peer, Vec::new());
    }

    pub(super) fn on_leave(&mut self, from: Peer, predecessors: Vec<Peer>) {
        self.forget(from, predecessors);
        self.report_down(from.id);
    }

    pub(super) fn start_leave(&mut self) {
        if self.is_member() {
            let predecessors = self.ring.predecessors().to_vec();
            let successors = self.ring.successors().to_vec();
            let links = self.fingers.peers().chain(self.backpointers.peers());
            let mut told: Vec<Peer> = self.near().into_iter().chain(links).collect();
            told.sort();
            told.dedup();
            for peer in told {
                let (predecessors, successors) = (predecessors.clone(), successors.clone());
                self.send(peer, Message::Leave { predecessors, successors });
            }
        }
        for question in self.questions.drain() {
            if let Query::Walk(request) = question.query {
                self.outbox.push_back(Output::Neighbours { request, neighbours: None });
            }
        }
        for id in self.pending.of_caller() {
            self.end_failed(id, Failure::NotJoined);
        }
        self.membership = Membership::Left;
        self.outbox.push_back(Output::Left);
    }
}
