//! What a judge has counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Reason;

/// Counters of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Lookups asked.
    pub asked: u64,
    /// Lookups that ended with an owner.
    pub answered: u64,
    /// Lookups that ended without one.
    pub failed: u64,
    /// Answers that named a node that was responsible at some instant between question and answer.
    pub correct: u64,
    /// Lookups whose asker died before the end.
    pub orphaned: u64,
    /// Live members that were declared dead by others.
    pub false_deaths: u64,
    /// How often the operating assumption ceased to hold, for each reason.
    pub breaks: BTreeMap<Reason, u64>,
    /// Virtual microseconds in which it held.
    pub held_us: u64,
    /// Most distinct hop counts that one message came to one node with.
    pub most_visits: u32,
    /// How often one message was sent at most, by all nodes together.
    pub most_sent: u32,
}

impl Tally {
    /// Adds another run's counters.
    pub fn add(&mut self, other: &Tally) {
        self.asked += other.asked;
        self.answered += other.answered;
        self.failed += other.failed;
        self.correct += other.correct;
        self.orphaned += other.orphaned;
        self.false_deaths += other.false_deaths;
        self.held_us += other.held_us;
        self.most_visits = self.most_visits.max(other.most_visits);
        self.most_sent = self.most_sent.max(other.most_sent);
        for (reason, count) in &other.breaks {
            *self.breaks.entry(*reason).or_default() += count;
        }
    }
}
