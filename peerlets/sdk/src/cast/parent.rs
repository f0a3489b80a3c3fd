//! Having a parent: looking for one, what it says, and losing it.

use core::cmp::Reverse;
use core::time::Duration;

use super::group::{Search, delay, is_nearer};
use super::join::{NAMED, is_too_long};
use super::tree::{Due, Sent, Tree};
use super::wire::{self, Candidate, Control, Join, State};
use super::{Refusal, Sequence, Upcalls};
use crate::time::Instant;
use crate::{Failure, Key, NodeId, random, route};

/// A join that nobody answers is sent again after this long, and longer each time, up to five times that.
const AGAIN: Duration = Duration::from_secs(3);
/// The same where it is known that it did not arrive.
const PAUSE: Duration = Duration::from_millis(300);
/// Nodes that a search has before it at most.
const CANDIDATES: usize = 64;

impl<A: Upcalls> Tree<A> {
    /// Looks for a parent, where there is none and none is looked for.
    pub(super) fn seek(&mut self, group: Key) {
        let Some(entry) = self.groups.get_mut(&group) else { return };
        if entry.parent.is_none() && !entry.is_root && entry.search.is_none() {
            entry.search = Some(Search::new());
            self.attempt(group);
        }
    }

    /// Sends a join: to the best of the nodes that were named, else on the way to the root.
    pub(super) fn attempt(&mut self, group: Key) {
        let myself = route::myself();
        let serves_nobody = self.most_children(group) == 0;
        let Some(entry) = self.groups.get_mut(&group) else { return };
        let leaf = serves_nobody && entry.children.is_empty();
        let Some(credentials) = entry.credentials(myself) else { return };
        let (root_only, last) = (entry.is_root || entry.was_root, entry.last);
        let rules = entry.rules.clone().flatten();
        let Some(search) = &mut entry.search else { return };
        search.attempts = search.attempts.saturating_add(1);
        search.asked = search.candidates.pop();
        search.leaf = leaf;
        let (number, asked) = (search.number, search.asked);
        let wait = AGAIN * search.attempts.min(5);
        let join = Join {
            group,
            number,
            member: credentials.member,
            credentials: credentials.shown,
            root_only: root_only && asked.is_none(),
            refused: search.refused.clone(),
            last,
            leaf,
            rules,
        };
        let payload = wire::control(self.channel, &Control::Join(join));
        let sent = match asked {
            Some(node) => route::send(node, &payload),
            None if root_only => route::route(group, &payload),
            None => route::route_per_hop(group, &payload, None),
        };
        self.timers.set(Due::Join(group), wait);
        if let Ok(message) = sent {
            self.sent.insert(message, Sent::Join(group, number));
        }
    }

    /// A join came to nothing.
    pub(super) fn join_failed(&mut self, group: Key, number: u64) {
        let Some(search) = self.search_of(group, Some(number)) else { return };
        if let Some(node) = search.asked {
            search.refuse(node);
        }
        let pause = PAUSE * search.attempts.min(10);
        self.timers.set(Due::Join(group), pause);
    }

    fn search_of(&mut self, group: Key, number: Option<u64>) -> Option<&mut Search> {
        let search = self.groups.get_mut(&group)?.search.as_mut()?;
        (Some(search.number) == number).then_some(search)
    }

    /// The parent says how things are, or a node that has taken this one as a child.
    pub(super) fn on_state(&mut self, from: NodeId, mut state: State) {
        let group = state.group;
        let myself = route::myself();
        let is_answer = self.search_of(group, state.number).is_some();
        let parent = self.parent(group);
        if is_too_long(&state.path) || state.path.contains(&myself) || from == myself {
            // Round in a circle.
            self.tell(from, &Control::Leave { group });
            if parent == Some(from) {
                self.lose_parent(group);
                self.seek(group);
            } else if is_answer {
                self.elsewhere(group, Some(from), Vec::new());
            }
            return;
        }
        let is_root = self.is_root(group) && self.is_responsible(group) != Some(false);
        if parent != Some(from) {
            if !is_answer || is_root {
                // A node that has just taken this one may say more before its answer is here.
                if is_root || self.groups.get(&group).is_none_or(|entry| entry.search.is_none()) {
                    self.tell(from, &Control::Leave { group });
                }
                return;
            }
            self.adopt(group, from);
        }
        let Some(entry) = self.groups.get_mut(&group) else { return };
        entry.heard = Instant::now();
        if state.stamp <= entry.stamp && !is_answer {
            return;
        }
        entry.stamp = state.stamp;
        if is_answer {
            entry.search = None;
        }
        state.path.push(from);
        let is_new = entry.path != state.path || entry.rooted != state.rooted;
        (entry.path, entry.rooted) = (state.path, state.rooted);
        match (entry.last, state.last) {
            (Some(_), Some(last)) => entry.advance(last, false),
            (None, Some(last)) => entry.last = Some(last),
            // From here on it misses nothing: the first frame of any epoch comes after this.
            (None, None) => entry.last = Some(Sequence { epoch: 0, number: 0 }),
            (Some(_), None) => {}
        }
        if !entry.missing.numbers.is_empty() {
            self.timers.set_if_idle(Due::Gap(group), Duration::ZERO);
        }
        let knew = self.groups.get(&group).and_then(|entry| entry.rules.clone());
        if state.rooted && state.tells_rules {
            self.set_rules(group, state.rules);
        }
        let rules_changed = self.groups.get(&group).is_some_and(|entry| entry.rules != knew);
        if is_new || rules_changed {
            self.spread(group, rules_changed || state.rooted && is_new);
        }
        self.prune(group);
    }

    fn adopt(&mut self, group: Key, parent: NodeId) {
        // A node that is in the tree without this one is no child of it any more.
        self.take_away(group, parent);
        let Some(entry) = self.groups.get_mut(&group) else { return };
        let before = entry.parent.replace(parent);
        entry.leaf = entry.search.as_ref().is_some_and(|search| search.leaf);
        entry.is_root = false;
        entry.was_root &= !entry.children.is_empty();
        entry.refreshed = Instant::now();
        self.timers.cancel(&Due::Join(group));
        if let Some(before) = before {
            self.unwatch(before);
            self.tell(before, &Control::Leave { group });
        }
        if route::watch(parent).is_err() {
            // Heartbeats tell as well, later.
            crate::log::debug("a parent is not watched");
        }
        self.timers.set(Due::Silence(group), self.settings.silence);
        // This proves to the parent that the child is the one that it claimed to be.
        let refresh = wire::control(self.channel, &Control::Refresh { group });
        self.tell_relative(parent, &refresh);
        self.app.parent_changed(group, Some(parent));
    }

    /// The parent sends this node elsewhere, or a node that was asked does.
    pub(super) fn on_elsewhere(&mut self, from: NodeId, group: Key, number: Option<u64>, named: &[Candidate]) {
        if number.is_none() {
            if self.parent(group) != Some(from) {
                return;
            }
            self.lose_parent(group);
            if let Some(entry) = self.groups.get_mut(&group) {
                entry.search.get_or_insert_with(Search::new);
            }
        } else if self.search_of(group, number).is_none() {
            return;
        }
        let leaf = self.most_children(group) == 0;
        let myself = route::myself();
        let mut fit: Vec<Candidate> = named.iter().take(NAMED).copied().collect();
        fit.retain(|candidate| candidate.node != myself && (leaf || is_nearer(group, candidate.node, myself)));
        // My delay to it and its delay to the parent; where mine is not known, it is no longer than the way by the parent.
        let by_parent = delay(from);
        let cost = |candidate: &Candidate| {
            let mine = route::round_trip(candidate.node).map(|micros| micros / 1000);
            let theirs = candidate.delay.min(60_000);
            mine.unwrap_or(by_parent.saturating_add(theirs)).saturating_add(theirs)
        };
        fit.sort_by_key(|candidate| Reverse(cost(candidate)));
        self.elsewhere(group, number.map(|_| from), fit.into_iter().map(|candidate| candidate.node).collect());
    }

    /// `from` is the node that would not take this one; none where it has put it out.
    fn elsewhere(&mut self, group: Key, from: Option<NodeId>, mut candidates: Vec<NodeId>) {
        let Some(search) = self.groups.get_mut(&group).and_then(|entry| entry.search.as_mut()) else { return };
        if let Some(from) = from.filter(|_| candidates.is_empty()) {
            search.refuse(from);
        }
        candidates.retain(|node| !search.refused.contains(node));
        // Depth first: those named last before those named earlier.
        search.candidates.retain(|node| Some(*node) != from && !candidates.contains(node));
        search.candidates.append(&mut candidates);
        let over = search.candidates.len().saturating_sub(CANDIDATES);
        search.candidates.drain(..over);
        let is_known = !search.candidates.is_empty();
        let pause = if is_known { Duration::ZERO } else { PAUSE * search.attempts.min(10) };
        self.timers.set(Due::Join(group), pause);
    }

    /// A member at or below this node may not join.
    pub(super) fn on_refused(
        &mut self,
        from: NodeId,
        group: Key,
        number: Option<u64>,
        member: NodeId,
        reason: Refusal,
    ) {
        let is_parent = self.parent(group) == Some(from);
        if !is_parent && self.search_of(group, number).is_none() {
            return;
        }
        if is_parent {
            self.lose_parent(group);
        }
        if member == route::myself() {
            self.expel(group, reason);
        }
        let Some(entry) = self.groups.get(&group) else { return };
        let of = entry.children.iter().filter(|(_, child)| child.credentials.member == member);
        let children: Vec<NodeId> = of.map(|(node, _)| *node).collect();
        for child in children {
            self.take_away(group, child);
            self.tell(child, &Control::Refused { group, number: None, member, reason: reason.code() });
        }
        if !self.prune(group) {
            self.seek(group);
            self.timers.set(Due::Join(group), PAUSE);
        }
    }

    /// Without a parent from now on.
    pub(super) fn lose_parent(&mut self, group: Key) {
        let Some(entry) = self.groups.get_mut(&group) else { return };
        if let Some(parent) = entry.parent.take() {
            entry.path.clear();
            entry.rooted = false;
            entry.leaf = false;
            self.timers.cancel(&Due::Silence(group));
            self.unwatch(parent);
            self.app.parent_changed(group, None);
        }
    }

    /// Ends the watch over a node that is no group's parent any more.
    pub(super) fn unwatch(&mut self, node: NodeId) {
        if !self.groups.values().any(|entry| entry.parent == Some(node)) {
            route::unwatch(node);
        }
    }

    /// Leaves the tree where nobody here or below needs the group. True where it did.
    pub(super) fn prune(&mut self, group: Key) -> bool {
        if self.groups.get(&group).is_none_or(super::group::Group::is_needed) {
            return false;
        }
        if let Some(parent) = self.parent(group) {
            self.tell(parent, &Control::Leave { group });
            self.lose_parent(group);
        }
        self.groups.remove(&group);
        self.history.forget(group);
        for due in [Due::Beat(group), Due::Silence(group), Due::Join(group), Due::Gap(group), Due::Order(group)] {
            self.timers.cancel(&due);
        }
        true
    }
}

impl Search {
    pub(super) fn new() -> Search {
        Search {
            number: random::number(),
            asked: None,
            attempts: 0,
            refused: Vec::new(),
            leaf: false,
            candidates: Vec::new(),
        }
    }

    fn refuse(&mut self, node: NodeId) {
        if !self.refused.contains(&node) {
            if self.refused.len() >= NAMED {
                self.refused.remove(0);
            }
            self.refused.push(node);
        }
    }
}

/// Whether a node that a message did not reach is to be taken for gone.
pub(super) fn is_gone(reason: Failure) -> bool {
    matches!(reason, Failure::Unreachable | Failure::Deadline | Failure::NoWillingNode)
}
