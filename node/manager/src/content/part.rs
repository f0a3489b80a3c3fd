//! One piece that is on its way, and the nodes that keep it.

use core::time::Duration;
use std::collections::VecDeque;

use prost_kbr::{Key, NodeId, Outcome, Peer, Time};

use super::COPIES;
use crate::records::MAX_UNWILLING;

/// Nodes of a key's replica set that are asked for: those that keep copies, and those that do so in their place.
pub(super) const HOLDERS: u8 = (COPIES + MAX_UNWILLING) as u8;
/// How long a lookup may take until it is begun again, and how often it is begun.
const LOOKUP: Duration = Duration::from_secs(3);
const LOOKUPS: u32 = 2;

/// A piece and its holders.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) key: Key,
    lookup: Option<(u64, Time)>,
    lookups: u32,
    /// Nodes not asked yet, in the order of the replica set.
    pub(super) rest: VecDeque<Peer>,
    pub(super) asked: Vec<Asked>,
}

/// A question under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) request: u64,
    pub(super) peer: NodeId,
    pub(super) until: Time,
}

impl Part {
    pub(super) fn new(key: Key) -> Part {
        Part { key, lookup: None, lookups: 0, rest: VecDeque::new(), asked: Vec::new() }
    }

    pub(super) fn look(&mut self, id: u64, now: Time) {
        self.lookups += 1;
        self.lookup = Some((id, now + LOOKUP));
    }

    /// Whether this lookup is its own.
    pub(super) fn looks_by(&self, id: u64) -> bool {
        self.lookup.is_some_and(|(own, _)| own == id)
    }

    /// Its lookup has ended.
    pub(super) fn found(&mut self, outcome: &Outcome) {
        self.lookup = None;
        let Ok(owner) = outcome.result else { return };
        self.rest = outcome.replicas.iter().copied().collect();
        if self.rest.iter().all(|peer| peer.id != owner.id) {
            self.rest.push_front(owner);
        }
        self.rest.truncate(usize::from(HOLDERS));
    }

    /// Whether nothing is under way and nobody is left to ask. Where nobody was found, it may be looked for once more.
    pub(super) fn is_spent(&self) -> bool {
        self.lookup.is_none() && self.rest.is_empty() && self.asked.is_empty()
    }

    /// Whether it is to be looked for once more: nobody has been found, and it was not looked for often.
    pub(super) fn may_look_again(&self) -> bool {
        self.is_spent() && self.lookups < LOOKUPS
    }

    /// Gives up what has taken too long.
    pub(super) fn expire(&mut self, now: Time) {
        self.lookup = self.lookup.filter(|(_, until)| *until > now);
        self.asked.retain(|asked| asked.until > now);
    }

    /// Ends a question; says whether it was one.
    pub(super) fn answered(&mut self, from: NodeId, request: u64) -> bool {
        let at = self.asked.iter().position(|asked| asked.request == request && asked.peer == from);
        at.map(|at| self.asked.remove(at)).is_some()
    }

    /// Nothing comes from this node any more.
    pub(super) fn lose(&mut self, node: NodeId) -> bool {
        let before = self.asked.len();
        self.asked.retain(|asked| asked.peer != node);
        self.asked.len() < before
    }

    pub(super) fn wake(&self) -> Option<Time> {
        self.asked.iter().map(|asked| asked.until).chain(self.lookup.map(|(_, until)| until)).min()
    }
}
