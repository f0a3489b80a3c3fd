//! Lookups that are under way, and who was responsible meanwhile.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use prost_kbr::{Key, NodeId, Time};

use super::Picture;
use crate::Index;

/// Ended lookups that are remembered, to notice one that ends twice.
const REMEMBERED: usize = 4096;
/// How much later than its deadline a lookup may end: timers may be late.
const SLACK: Duration = Duration::from_secs(2);

/// A lookup, and what has happened to its key since it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The driver's number.
    pub request: u64,
    /// Who asked.
    pub node: Index,
    /// What for.
    pub key: Key,
    /// When.
    pub at: Time,
    /// Everyone who was responsible at some instant since.
    pub owners: Vec<NodeId>,
    due: Time,
    patience: Duration,
}

/// All lookups that have not ended.
#[derive(Debug, Default)]
pub struct Lookups {
    open: BTreeMap<u64, Asked>,
    due: BTreeSet<(Time, u64)>,
    excused: BTreeMap<Index, Time>,
    ended: BTreeMap<u64, Asked>,
    order: VecDeque<u64>,
}

impl Lookups {
    /// A lookup is asked.
    pub fn ask(&mut self, now: Time, deadline: Duration, picture: &Picture, (request, node, key): (u64, Index, Key)) {
        let patience = deadline + SLACK;
        let due = now + patience;
        let owners = picture.owner(key).into_iter().collect();
        self.due.insert((due, request));
        self.open.insert(request, Asked { request, node, key, at: now, owners, due, patience });
    }

    /// The ring has other members: responsibility may have moved.
    pub fn members_changed(&mut self, picture: &Picture) {
        for asked in self.open.values_mut() {
            if let Some(owner) = picture.owner(asked.key)
                && !asked.owners.contains(&owner)
            {
                asked.owners.push(owner);
            }
        }
    }

    /// A lookup has ended. Says whether it had ended before; none for one that was never asked.
    pub fn end(&mut self, request: u64) -> Option<(Asked, bool)> {
        let Some(asked) = self.open.remove(&request) else {
            return self.ended.get(&request).cloned().map(|asked| (asked, true));
        };
        self.due.remove(&(asked.due, request));
        if self.order.len() == REMEMBERED {
            self.order.pop_front().and_then(|oldest| self.ended.remove(&oldest));
        }
        self.order.push_back(request);
        self.ended.insert(request, asked.clone());
        Some((asked, false))
    }

    /// The asker has died, or is another process now: how many of its lookups will never end.
    pub fn orphan(&mut self, node: Index) -> u64 {
        let before = self.open.len();
        self.open.retain(|_, asked| asked.node != node);
        (before - self.open.len()) as u64
    }

    /// A node may be late until then: it stands still, or is slow.
    pub fn excuse(&mut self, node: Index, until: Time) {
        let excused = self.excused.entry(node).or_insert(until);
        *excused = until.max(*excused);
    }

    /// The nodes that may be late, and until when.
    pub fn excused(&self) -> &BTreeMap<Index, Time> {
        &self.excused
    }

    /// Takes the lookups that should have ended.
    pub fn overdue(&mut self, now: Time) -> Vec<Asked> {
        let mut overdue = Vec::new();
        while let Some((due, request)) = self.due.first().copied().filter(|(due, _)| *due < now) {
            self.due.remove(&(due, request));
            let Some(asked) = self.open.get_mut(&request) else { continue };
            // A process that stood still hears of the lookup only afterwards, and waits from then on.
            let excused = self.excused.get(&asked.node).filter(|until| **until > asked.at);
            match excused.map(|until| *until + asked.patience).filter(|due| *due > now) {
                Some(due) => {
                    asked.due = due;
                    self.due.insert((due, request));
                }
                None => overdue.push(asked.clone()),
            }
        }
        overdue
    }

    /// How many are under way.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}
