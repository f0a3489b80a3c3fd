//! Keeping a tree: heartbeats, soft state, failures, and who is the root (JSAC 2002, sections III-C and III-D).

use core::time::Duration;

use super::Upcalls;
use super::group::Search;
use super::tree::{Due, Tree};
use super::wire::{self, Control, Record};
use crate::cbor;
use crate::storage::{self, Place, StorageError};
use crate::time::Instant;
use crate::{Key, NodeId, route};

/// The name of a group's record.
pub(super) const RECORD: &[u8] = b"cast/group";

impl<A: Upcalls> Tree<A> {
    /// Twice in a heartbeat: who is the root, who is still there, and who has to be told.
    pub(super) fn beat(&mut self, group: Key) {
        self.timers.set(Due::Beat(group), self.settings.heartbeat / 2);
        self.look_for_root(group);
        let now = Instant::now();
        let Some(entry) = self.groups.get(&group) else { return };
        let silent: Vec<NodeId> =
            entry.children.iter().filter(|(_, child)| child.until <= now).map(|(node, _)| *node).collect();
        for child in silent {
            self.take_away(group, child);
            self.tell(child, &Control::Elsewhere { group, number: None, candidates: Vec::new() });
        }
        if self.prune(group) {
            return;
        }
        self.seek(group);
        let quiet = self.settings.heartbeat * 3 / 4;
        let Some(entry) = self.groups.get_mut(&group) else { return };
        let payload = wire::control(self.channel, &Control::State(entry.state(group, None, false)));
        let due = entry.children.iter_mut().filter(|(_, child)| child.told + quiet <= now);
        let due: Vec<NodeId> = due
            .map(|(node, child)| {
                child.told = now;
                *node
            })
            .collect();
        let refresh = entry.parent.filter(|_| entry.refreshed + self.settings.refresh <= now);
        if refresh.is_some() {
            entry.refreshed = now;
        }
        for child in due {
            self.tell_relative(child, &payload);
        }
        if let Some(parent) = refresh {
            let payload = wire::control(self.channel, &Control::Refresh { group });
            self.tell_relative(parent, &payload);
        }
    }

    /// Whether this node is the root may have changed without a word.
    fn look_for_root(&mut self, group: Key) {
        match (self.is_root(group), self.is_responsible(group)) {
            (false, Some(true)) => {
                let _ = self.become_root(group);
            }
            // It acts for a node that would not run the application, or had not got the records: is that still so?
            (true, Some(false)) => self.ask_for_root(group),
            _ => {}
        }
    }

    /// Looks for another root, and is the root itself until one answers.
    fn ask_for_root(&mut self, group: Key) {
        let Some(entry) = self.groups.get_mut(&group) else { return };
        entry.search.get_or_insert_with(Search::new);
        self.timers.set_if_idle(Due::Join(group), Duration::ZERO);
    }

    /// Whether this node is responsible for the group's key; none where it does not know.
    pub(super) fn is_responsible(&self, group: Key) -> Option<bool> {
        route::range(route::myself(), 0).map(|range| range.contains(group))
    }

    /// Whether this node has a parent and is not responsible: what comes to it as to a root was meant for another, whose
    /// records are not there yet.
    pub(super) fn is_below_another(&self, group: Key) -> bool {
        self.parent(group).is_some() && self.is_responsible(group) == Some(false)
    }

    /// Responsibility has come to this node, or gone from it. What is to be done for each group is done in an event of its
    /// own.
    pub(super) fn responsibility(&mut self, is_meant: impl Fn(Key) -> bool, is_here: bool) {
        let groups: Vec<Key> = self.groups.keys().copied().filter(|group| is_meant(*group)).collect();
        for group in groups {
            if is_here {
                self.timers.set(Due::Beat(group), Duration::ZERO);
            } else if self.is_root(group) {
                self.ask_for_root(group);
            }
        }
    }

    /// This node is the root from now on. The record of the group may not be here yet.
    pub(super) fn become_root(&mut self, group: Key) -> Result<(), StorageError> {
        if self.is_root(group) {
            // An answer to its own question who the root is.
            if let Some(entry) = self.groups.get_mut(&group) {
                entry.search = None;
                self.timers.cancel(&Due::Join(group));
            }
            return Ok(());
        }
        let record = record(group)?;
        if let Some(parent) = self.parent(group) {
            self.tell(parent, &Control::Leave { group });
            self.lose_parent(group);
        }
        let Some(entry) = self.groups.get_mut(&group) else { return Ok(()) };
        entry.is_root = true;
        entry.was_root = true;
        entry.rooted = false;
        entry.path.clear();
        entry.search = None;
        entry.head = None;
        self.timers.cancel(&Due::Join(group));
        // What its parent has told it is better than nothing.
        let known = entry.rules.clone().flatten();
        self.set_rules(group, record.map(|record| record.rules).or(known));
        self.app.parent_changed(group, None);
        self.spread(group, true);
        Ok(())
    }

    /// The parent has sent nothing for too long.
    pub(super) fn look_for_silence(&mut self, group: Key) {
        let Some(entry) = self.groups.get(&group) else { return };
        let Some(parent) = entry.parent else { return };
        let end = entry.heard + self.settings.silence;
        if end.has_come() {
            self.tell(parent, &Control::Leave { group });
            self.lose_parent(group);
            self.seek(group);
        } else {
            self.timers.set(Due::Silence(group), end.from_now());
        }
    }

    /// A node is not there any more. It may be in many groups: what is sent for each goes in an event of its own.
    pub(super) fn gone(&mut self, node: NodeId) {
        let concerned = |(_, entry): &(&Key, &super::group::Group)| {
            let is_asked = entry.search.as_ref().is_some_and(|search| search.asked == Some(node));
            entry.parent == Some(node) || is_asked || entry.children.contains_key(&node)
        };
        let groups: Vec<Key> = self.groups.iter().filter(concerned).map(|(group, _)| *group).collect();
        for group in groups {
            if self.parent(group) == Some(node) {
                self.lose_parent(group);
                if let Some(entry) = self.groups.get_mut(&group) {
                    entry.search.get_or_insert_with(Search::new);
                    self.timers.set(Due::Join(group), Duration::ZERO);
                }
            } else if let Some(number) = self.asked_number(group, node) {
                self.join_failed(group, number);
            }
            if self.take_away(group, node) {
                self.timers.set(Due::Beat(group), Duration::ZERO);
            }
        }
    }

    fn asked_number(&self, group: Key, node: NodeId) -> Option<u64> {
        let search = self.groups.get(&group)?.search.as_ref()?;
        (search.asked == Some(node)).then_some(search.number)
    }
}

/// At a group's root: the rules that the group has, for [`Upcalls::may_create`] to compare others with.
///
/// # Errors
///
/// What the node says where it does not keep the group's record.
pub fn rules_at_root(group: Key) -> Result<Option<Vec<u8>>, StorageError> {
    Ok(record(group)?.map(|record| record.rules.0))
}

/// The group's record, where this node is one of those that keep it.
pub(super) fn record(group: Key) -> Result<Option<Record>, StorageError> {
    let stored = storage::get(Place::At(group), RECORD)?;
    Ok(stored.and_then(|bytes| cbor::decode(&bytes).ok()))
}
