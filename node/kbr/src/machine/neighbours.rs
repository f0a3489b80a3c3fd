//! Questions about neighbours: asking, answering, and what an answer or its absence leads to.

use core::time::Duration;

use bytes::Bytes;

use super::Machine;
use crate::answers::restored;
use crate::digest::digest;
use crate::id::{Interval, Key, NodeId};
use crate::io::Output;
use crate::message::{Listed, Message, Part, Peer};
use crate::planted::Bug;
use crate::questions::{Query, Question};
use crate::ring::Side;
use crate::wire::MAX_FRAME;

/// Shortest time that a question or a ping may take: a busy peer is not a dead one.
const PATIENCE: Duration = Duration::from_millis(500);

/// Predecessors and successors, nearest first; none where the peer did not answer or is not a member.
pub(super) type Answer = Option<(Vec<Peer>, Vec<Peer>)>;

/// The lists that the first successor and the predecessor answered with last.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    successor: Option<Lists>,
    predecessor: Option<Lists>,
}

#[derive(Debug, Clone)]
struct Lists {
    of: NodeId,
    digest: u64,
    predecessors: Vec<Peer>,
    successors: Vec<Peer>,
}

impl Remembered {
    fn place(&mut self, query: &Query) -> Option<&mut Option<Lists>> {
        match query {
            Query::Stabilize => Some(&mut self.successor),
            Query::Refresh => Some(&mut self.predecessor),
            _ => None,
        }
    }
}

impl Machine {
    /// How long a peer may take to answer. Where a connection has to be made first, that takes several round trips, of which
    /// an earlier estimate of one says little.
    pub(super) fn patience(&self, peer: Peer) -> Duration {
        let answer = self.book.timeout(peer.id);
        let before = if self.book.is_connected(peer.id) { answer } else { self.config.timeout_max };
        (answer + before).max(PATIENCE)
    }

    pub(super) fn ask_neighbours(&mut self, to: Peer, query: Query) -> Option<u64> {
        let part = match query {
            Query::Stabilize => Part::Successors,
            Query::Refresh | Query::Further(Side::Before, _) => Part::Predecessors,
            Query::Further(Side::After, _) => Part::Onward,
            _ => Part::Both,
        };
        let remembered = self.remembered.place(&query).and_then(|lists| lists.as_ref());
        let known = remembered.filter(|lists| lists.of == to.id).map_or(0, |lists| lists.digest);
        let request = self.ask(to, query)?;
        self.send(to, Message::GetNeighbours { request, part, known });
        Some(request)
    }

    /// Notes a question; none where there are too many.
    pub(super) fn ask(&mut self, to: Peer, query: Query) -> Option<u64> {
        if self.questions.is_full() {
            self.stats.overloaded += 1;
            return None;
        }
        self.book.hint(self.now, to);
        let request = self.random.number();
        let sent = self.book.is_connected(to.id).then_some(self.now);
        self.questions.ask(request, to, query, sent, self.now + self.patience(to));
        Some(request)
    }

    pub(super) fn on_get_neighbours(&mut self, from: Peer, request: u64, part: Part, known: u64) {
        let (predecessors, successors) = (self.ring.predecessors(), self.ring.successors());
        let (predecessors, successors) = match part {
            Part::Successors => (&predecessors[..predecessors.len().min(1)], successors),
            Part::Predecessors => (predecessors, &[][..]),
            Part::Onward => (&[][..], successors),
            Part::Both => (predecessors, successors),
        };
        let joined = self.is_member() || self.config.has(Bug::OutsiderAnswers);
        let digest = digest(predecessors, successors);
        let answer = if joined && known == digest {
            Message::Unchanged { request }
        } else if let Some((predecessors, successors)) =
            self.answers.since(known, predecessors, successors).filter(|_| joined)
        {
            Message::Changes { request, digest, predecessors, successors }
        } else {
            let (predecessors, successors) = (predecessors.to_vec(), successors.to_vec());
            Message::Neighbours { request, joined, predecessors, successors }
        };
        if matches!(part, Part::Successors | Part::Predecessors) {
            self.answers.note(digest, predecessors, successors);
        }
        self.send(from, answer);
        if joined && part == Part::Successors {
            self.on_notify(from);
        }
    }

    /// The answer is the one remembered.
    pub(super) fn on_unchanged(&mut self, from: Peer, request: u64) {
        let Some(question) = self.answered(from, request) else {
            self.stats.dropped += 1;
            return;
        };
        let lists = self.remembered.place(&question.query).and_then(|lists| lists.as_ref());
        let lists = lists.filter(|lists| lists.of == from.id);
        let answer = lists.map(|lists| (lists.predecessors.clone(), lists.successors.clone()));
        let alive = answer.is_some();
        self.on_answer(question, answer, alive);
    }

    pub(super) fn on_find_predecessor(&mut self, from: Peer, request: u64, key: Key) {
        let known = self.ring.neighbours().chain(self.fingers.peers()).chain(self.backpointers.peers());
        let nearer = known.filter(|peer| {
            Interval::open(self.me.id, key).contains(peer.id) && !self.probes.is_suspect(peer.id) && peer.id != key
        });
        let peer = nearer.min_by_key(|peer| peer.id.distance_to(key)).unwrap_or(self.me);
        self.send(from, Message::Predecessor { request, peer });
    }

    pub(super) fn on_neighbours(&mut self, from: Peer, request: u64, answer: Answer) {
        let Some(question) = self.answered(from, request) else {
            self.stats.dropped += 1;
            return;
        };
        if let Some(lists) = &answer {
            self.remember(from, &question.query, lists);
        }
        self.on_answer(question, answer, true);
    }

    /// The answer is the one remembered but for some entries. One that cannot be restored is none; the next question asks
    /// for all.
    pub(super) fn on_changes(&mut self, from: Peer, request: u64, sum: u64, listed: (&[Listed], &[Listed])) {
        let Some(question) = self.answered(from, request) else {
            self.stats.dropped += 1;
            return;
        };
        let known = self.remembered.place(&question.query).and_then(Option::take).filter(|lists| lists.of == from.id);
        let answer = known.and_then(|lists| {
            let restored = |listed| restored(listed, &lists.predecessors, &lists.successors);
            Some((restored(listed.0)?, restored(listed.1)?))
        });
        let answer = answer.filter(|(predecessors, successors)| digest(predecessors, successors) == sum);
        match &answer {
            Some(lists) => self.remember(from, &question.query, lists),
            None => self.stats.dropped += 1,
        }
        let alive = answer.is_some();
        self.on_answer(question, answer, alive);
    }

    fn remember(&mut self, from: Peer, query: &Query, (predecessors, successors): &(Vec<Peer>, Vec<Peer>)) {
        for peer in predecessors.iter().chain(successors).filter(|peer| peer.id != self.me.id) {
            self.book.hint(self.now, *peer);
        }
        if let Some(place) = self.remembered.place(query) {
            let (predecessors, successors) = (predecessors.clone(), successors.clone());
            let digest = digest(&predecessors, &successors);
            *place = Some(Lists { of: from.id, digest, predecessors, successors });
        }
    }

    /// Takes the question that a peer has answered, and the round-trip time with it.
    pub(super) fn answered(&mut self, from: Peer, request: u64) -> Option<Question> {
        let question = self.questions.answered(from, request)?;
        if let Some(sent) = question.sent {
            self.book.sample(from.id, self.now.since(sent));
        }
        Some(question)
    }

    pub(super) fn handle_question_timers(&mut self) {
        while let Some(question) = self.questions.overdue(self.now) {
            self.stats.timeouts += 1;
            self.on_answer(question, None, false);
        }
    }

    /// The transport has lost a peer: whatever it was asked remains unanswered.
    pub(super) fn fail_questions(&mut self, peer: Peer) {
        for question in self.questions.all_to(peer.id) {
            self.on_answer(question, None, false);
        }
    }

    /// `alive` says whether the peer has spoken: a node that answers without being a member is no neighbour.
    fn on_answer(&mut self, question: Question, answer: Answer, alive: bool) {
        let Question { to, query, .. } = question;
        let answer =
            answer.map(|(predecessors, successors)| (self.readdress(predecessors), self.readdress(successors)));
        if let Some((predecessors, successors)) = &answer {
            self.recheck(predecessors.iter().chain(successors));
        }
        match query {
            Query::Stabilize => self.on_successor_answer(to, answer, alive),
            Query::Between => self.on_between_answer(to, answer),
            Query::Refresh => self.on_predecessor_answer(to, answer, alive),
            Query::Further(side, turn) => self.on_further_answer(to, (side, turn), answer, alive),
            Query::Candidate(tries, others) => self.on_candidate_answer(to, answer, tries, others),
            Query::Before => self.on_search_failed(),
            Query::Successors => self.on_search_successors(to, answer),
            Query::Successor => self.on_search_successor(to, answer),
            Query::Links => {}
            Query::Seek(id, path) => self.on_seek_silent(id, path),
            Query::Walk(request) => self.outbox.push_back(Output::Neighbours { request, neighbours: answer }),
        }
    }

    /// Others may list a node where it is not any more. Where it is connected to this one, that shows its place.
    fn readdress(&self, mut listed: Vec<Peer>) -> Vec<Peer> {
        for peer in listed.iter_mut().filter(|peer| self.book.is_connected(peer.id)) {
            *peer = self.book.peer(peer.id).unwrap_or(*peer);
        }
        listed
    }

    /// Nodes that this one holds for dead, and another lists, may be alive after all.
    fn recheck<'a>(&mut self, listed: impl Iterator<Item = &'a Peer>) {
        let now = self.now;
        let doubtful: Vec<Peer> = listed.filter(|peer| self.probes.recheck(now, peer.id)).copied().collect();
        for peer in doubtful {
            self.probe(peer);
        }
    }

    pub(super) fn start_walk(&mut self, request: u64, peer: Peer) {
        if peer.id == self.me.id {
            let lists = (self.ring.predecessors().to_vec(), self.ring.successors().to_vec());
            let neighbours = self.is_member().then_some(lists);
            self.outbox.push_back(Output::Neighbours { request, neighbours });
        } else if self.ask_neighbours(peer, Query::Walk(request)).is_none() {
            self.outbox.push_back(Output::Neighbours { request, neighbours: None });
        }
    }

    pub(super) fn start_upper(&mut self, to: Peer, payload: Bytes) {
        if to.id == self.me.id || payload.len() >= MAX_FRAME {
            self.stats.dropped += 1;
            return;
        }
        let to = self.book.peer(to.id).unwrap_or(to);
        self.send(to, Message::Upper(payload));
    }
}
