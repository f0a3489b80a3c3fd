//! Questions to peers that wait for an answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;
use crate::message::{MessageId, Peer};
use crate::ring::Side;
use crate::time::Time;

/// Most questions that wait at once.
pub(crate) const MAX_QUESTIONS: usize = 1024;

/// What an answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Query {
    /// The first successor: Zave's stabilise.
    Stabilize,
    /// The first successor's predecessor, which lies between: the second step of stabilise.
    Between,
    /// The predecessor, for its predecessors.
    Refresh,
    /// A neighbour further on, while there is much news: on this side, of those asked.
    Further(Side, usize),
    /// Someone who may be the predecessor, for the how-manieth time, and who to ask where it is not.
    Candidate(u8, Vec<Peer>),
    /// A step of a search: the nearest node before this one.
    Before,
    /// A step of a search: that node's successors.
    Successors,
    /// The last step of a search: the successor's own list.
    Successor,
    /// The successor of a new member, for candidates for fingers.
    Links,
    /// A step of an iterative lookup, on this path.
    Seek(MessageId, usize),
    /// Someone above asked, under this number.
    Walk(u64),
}

impl Query {
    /// Whether the answer may become part of the successor list.
    pub(crate) fn is_about_successors(&self) -> bool {
        matches!(self, Query::Stabilize | Query::Between | Query::Further(Side::After, _) | Query::Successor)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) to: Peer,
    pub(crate) query: Query,
    /// When it was asked, where the connection was up then, so that the answer's time is a round trip.
    pub(crate) sent: Option<Time>,
    due: Time,
}

/// A bounded table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Questions {
    asked: BTreeMap<u64, Question>,
    due: BTreeSet<(Time, u64)>,
}

impl Questions {
    pub(crate) fn is_full(&self) -> bool {
        self.asked.len() >= MAX_QUESTIONS
    }

    pub(crate) fn ask(&mut self, request: u64, to: Peer, query: Query, sent: Option<Time>, due: Time) {
        self.asked.insert(request, Question { to, query, sent, due });
        self.due.insert((due, request));
    }

    /// Takes the question that `from` answers; none where it was not asked that. It is where its answer comes from, wherever
    /// it was said to be.
    pub(crate) fn answered(&mut self, from: Peer, request: u64) -> Option<Question> {
        if self.asked.get(&request)?.to.id != from.id {
            return None;
        }
        Some(Question { to: from, ..self.take(request)? })
    }

    pub(crate) fn get(&self, request: u64) -> Option<&Question> {
        self.asked.get(&request)
    }

    /// The node asked this, where one is.
    pub(crate) fn asked(&self, query: &Query) -> Option<Peer> {
        self.asked.values().find(|question| question.query == *query).map(|question| question.to)
    }

    pub(crate) fn take(&mut self, request: u64) -> Option<Question> {
        let question = self.asked.remove(&request)?;
        self.due.remove(&(question.due, request));
        Some(question)
    }

    /// Takes one question that is due.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<Question> {
        let (_, request) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.take(request)
    }

    /// Takes all questions to a peer.
    pub(crate) fn all_to(&mut self, id: NodeId) -> Vec<Question> {
        let requests: Vec<u64> =
            self.asked.iter().filter(|(_, question)| question.to.id == id).map(|(request, _)| *request).collect();
        requests.into_iter().filter_map(|request| self.take(request)).collect()
    }

    /// Takes all questions.
    pub(crate) fn drain(&mut self) -> Vec<Question> {
        self.due.clear();
        std::mem::take(&mut self.asked).into_values().collect()
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }
}
