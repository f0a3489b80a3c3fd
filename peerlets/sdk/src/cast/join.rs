//! Taking children: grafting on the way, at the root, and where another node has sent them; and room for them.

use super::group::{Child, Credentials, Group, PATH, delay, is_nearer};
use super::tree::{Due, Tree};
use super::wire::{self, Candidate, Control, Join};
use super::{CREDENTIALS, Refusal, Upcalls};
use crate::cbor::Bytes;
use crate::time::Instant;
use crate::{Key, NodeId, route};

/// Children of a node in all groups, each with its credentials; and in one.
const CHILDREN: usize = 2048;
const MOST: usize = 64;
/// A root serves so many at least: else it could hand nobody on.
const LEAST: usize = 2;
/// Nodes that are named to a child that is sent elsewhere, and that a child remembers as not willing.
pub(super) const NAMED: usize = 16;

/// Why a node does not take a child.
enum Unfit {
    /// It is forbidden, or there is no room.
    Refused(Refusal),
    /// It would be a cycle, or could become one, or the child does not want to.
    Elsewhere,
}

impl<A: Upcalls> Tree<A> {
    /// A join passes through on its way to the root: grafts the child and ends the message, where it can (JSAC 2002, section
    /// III-B).
    pub(super) fn join_in_passing(&mut self, child: NodeId, join: Join, is_proven: bool) -> bool {
        let fits = !join.root_only && is_willing(&join) && is_above(&join, child);
        fits && self.graft(child, join, is_proven).is_ok()
    }

    /// A join has come to the node that is responsible for the group, or that acts for it.
    pub(super) fn join_at_root(&mut self, child: NodeId, join: Join) {
        let (group, number, member) = (join.group, Some(join.number), join.member);
        if child != route::myself() {
            if self.is_below_another(group) {
                return self.join_here(child, join);
            }
            if !self.enter(group) {
                return;
            }
            // Records that are not here yet come soon: the child asks again.
            if self.become_root(group).is_err() {
                self.prune(group);
                return;
            }
            self.restore_rules(group, join.rules.as_ref());
            if let Err(Unfit::Refused(reason)) = self.graft(child, join, false) {
                self.tell(child, &Control::Refused { group, number, member, reason: reason.code() });
                self.prune(group);
            }
        } else if self.groups.contains_key(&group) {
            let _ = self.become_root(group);
        }
    }

    /// A join has come straight: another node has named this one.
    pub(super) fn join_here(&mut self, child: NodeId, join: Join) {
        let (group, number, member) = (join.group, Some(join.number), join.member);
        let is_root = self.is_root(group);
        let fits = is_root || !join.root_only && is_willing(&join) && is_above(&join, child);
        let grafted = if fits { self.graft(child, join, true) } else { Err(Unfit::Elsewhere) };
        match grafted {
            Ok(()) => {}
            Err(Unfit::Refused(reason)) if is_root => {
                self.tell(child, &Control::Refused { group, number, member, reason: reason.code() });
            }
            Err(_) => {
                self.tell(child, &Control::Elsewhere { group, number, candidates: Vec::new() });
            }
        }
    }

    /// Takes a child, tells it, and sees that this node is itself in the tree.
    fn graft(&mut self, child: NodeId, join: Join, is_proven: bool) -> Result<(), Unfit> {
        let group = join.group;
        if join.credentials.len() > CREDENTIALS || join.refused.len() > NAMED {
            return Err(Unfit::Elsewhere);
        }
        if child == route::myself() {
            return Err(Unfit::Elsewhere);
        }
        let most = self.most_children(group);
        if most == 0 || self.children >= CHILDREN && !self.is_child(group, child) {
            return Err(Unfit::Elsewhere);
        }
        if let Some(entry) = self.groups.get(&group) {
            if entry.leaf || entry.parent == Some(child) || entry.path.contains(&child) {
                return Err(Unfit::Elsewhere);
            }
            let known = entry.rules.is_some();
            if known && !self.app.may_join(group, entry.rules(), join.member, &join.credentials) {
                return Err(Unfit::Refused(Refusal::Forbidden));
            }
        } else if !self.enter(group) {
            return Err(Unfit::Elsewhere);
        }
        let now = Instant::now();
        // Whoever has not spoken up itself yet is claimed to be there.
        let until = now + self.settings.refresh * if is_proven { 3 } else { 1 };
        let credentials = Credentials { member: join.member, shown: join.credentials };
        let Some(entry) = self.groups.get_mut(&group) else { return Err(Unfit::Elsewhere) };
        if let Some(last) = join.last.filter(|last| entry.is_root && is_credible(last.epoch)) {
            entry.last = entry.last.max(Some(last));
        }
        let is_new = entry
            .children
            .insert(child, Child { credentials, leaf: join.leaf, is_known: false, until, told: now })
            .is_none();
        if is_new {
            self.children += 1;
            self.app.child_added(group, child);
        }
        self.make_room(group, most, child, join.number, &join.refused);
        if self.is_child(group, child)
            && let Some(entry) = self.groups.get_mut(&group)
        {
            let state = entry.state(group, Some(join.number), true);
            let payload = wire::control(self.channel, &Control::State(state));
            self.tell_relative(child, &payload);
        }
        self.seek(group);
        Ok(())
    }

    pub(super) fn is_child(&self, group: Key, node: NodeId) -> bool {
        self.groups.get(&group).is_some_and(|entry| entry.children.contains_key(&node))
    }

    pub(super) fn most_children(&mut self, group: Key) -> usize {
        let most = self.app.capacity(group, self.settings.children).min(MOST);
        if self.is_root(group) { most.max(LEAST) } else { most }
    }

    /// The bottleneck remover (JSAC 2002, section III-E): while there are too many children, the one that is farthest away
    /// goes to one of the others, which are named to it with their delays. Only one that is nearer to the key may take it,
    /// so the child that is nearest of all stays. Those that serve nobody go first.
    fn make_room(&mut self, group: Key, most: usize, newcomer: NodeId, number: u64, refused: &[NodeId]) {
        while let Some(entry) = self.groups.get(&group).filter(|entry| entry.children.len() > most) {
            let mut farthest: Option<((bool, u32), NodeId, Vec<Candidate>)> = None;
            for (node, child) in &entry.children {
                let node = *node;
                let refused = if node == newcomer { refused } else { &[] };
                let delay = (child.leaf, delay(node));
                if farthest.as_ref().is_none_or(|(most, ..)| delay > *most) {
                    let candidates = entry.candidates(group, node, refused, NAMED);
                    if !candidates.is_empty() {
                        farthest = Some((delay, node, candidates));
                    }
                }
            }
            // Nobody else may take the newcomer: then it stays, or, where it is the only one, there is nothing to name.
            let (node, candidates) = match farthest {
                Some((_, node, candidates)) => (node, candidates),
                None => (newcomer, Vec::new()),
            };
            let number = (node == newcomer).then_some(number);
            self.take_away(group, node);
            self.tell(node, &Control::Elsewhere { group, number, candidates });
        }
    }

    /// Makes an entry for the group. False where there is no room.
    pub(super) fn enter(&mut self, group: Key) -> bool {
        if !self.groups.contains_key(&group) {
            if self.groups.len() >= self.settings.groups {
                return false;
            }
            self.groups.insert(group, Group::new());
            self.timers.set(Due::Beat(group), self.settings.heartbeat / 2);
        }
        true
    }

    /// A root whose group has no record takes the rules that a child knows, where the application takes them for the group's:
    /// else a part of the ring that is cut off from all who keep the record would turn its members away.
    fn restore_rules(&mut self, group: Key, rules: Option<&Bytes>) {
        let is_lost = self.groups.get(&group).is_some_and(|entry| entry.is_root && entry.rules == Some(None));
        if let Some(rules) = rules.filter(|rules| is_lost && rules.len() <= CREDENTIALS)
            && self.app.are_rules(group, rules)
        {
            self.set_rules(group, Some(rules.clone()));
        }
    }

    /// The rules have become known, or others: those children that may not be there have to go.
    pub(super) fn set_rules(&mut self, group: Key, rules: Option<Bytes>) {
        let Some(entry) = self.groups.get_mut(&group).filter(|entry| entry.rules.as_ref() != Some(&rules)) else {
            return;
        };
        entry.rules = Some(rules);
        let children = entry.children.iter().map(|(node, child)| (Some(*node), child.credentials.clone()));
        let myself = route::myself();
        let own = entry.membership.iter().map(|shown| (None, Credentials { member: myself, shown: shown.clone() }));
        let all: Vec<(Option<NodeId>, Credentials)> = children.chain(own).collect();
        for (child, Credentials { member, shown }) in all {
            let Some(entry) = self.groups.get(&group) else { return };
            if self.app.may_join(group, entry.rules(), member, &shown) {
                continue;
            }
            let reason = Refusal::Forbidden;
            match child {
                Some(child) => {
                    self.take_away(group, child);
                    self.tell(child, &Control::Refused { group, number: None, member, reason: reason.code() });
                }
                None => self.expel(group, reason),
            }
        }
    }

    /// This node may not be a member.
    pub(super) fn expel(&mut self, group: Key, reason: Refusal) {
        if let Some(entry) = self.groups.get_mut(&group).filter(|entry| entry.membership.is_some()) {
            entry.membership = None;
            self.app.refused(group, reason);
        }
    }

    /// A child is one no more; the group stays.
    pub(super) fn take_away(&mut self, group: Key, child: NodeId) -> bool {
        let Some(entry) = self.groups.get_mut(&group) else { return false };
        if entry.children.remove(&child).is_none() {
            return false;
        }
        if entry.children.is_empty() && !entry.is_root {
            entry.was_root = false;
        }
        self.children -= 1;
        self.app.child_removed(group, child);
        true
    }

    /// A child is one no more. Without children and local members, a node leaves the tree.
    pub(super) fn remove_child(&mut self, group: Key, child: NodeId) {
        if self.take_away(group, child) {
            self.prune(group);
        }
    }

    /// A child says that it is there. One that is no child has to join again.
    pub(super) fn on_refresh(&mut self, from: NodeId, group: Key) {
        let until = Instant::now() + self.settings.refresh * 3;
        let Some(entry) = self.groups.get_mut(&group).filter(|entry| entry.children.contains_key(&from)) else {
            self.tell(from, &Control::Elsewhere { group, number: None, candidates: Vec::new() });
            return;
        };
        let Some(child) = entry.children.get_mut(&from) else { return };
        child.until = child.until.max(until);
        // What this node said before its first word may have overtaken the answer to its join.
        if !core::mem::replace(&mut child.is_known, true) {
            let payload = wire::control(self.channel, &Control::State(entry.state(group, None, true)));
            self.tell_relative(from, &payload);
        }
    }

    /// Tells all children how things are, with the rules where these are new.
    pub(super) fn spread(&mut self, group: Key, with_rules: bool) {
        let Some(entry) = self.groups.get_mut(&group) else { return };
        let payload = wire::control(self.channel, &Control::State(entry.state(group, None, with_rules)));
        let now = Instant::now();
        let children: Vec<NodeId> = entry.children.keys().copied().collect();
        entry.children.values_mut().for_each(|child| child.told = now);
        for child in children {
            self.tell_relative(child, &payload);
        }
    }
}

/// Whether this node may be the child's parent, by what it knows of itself.
fn is_above(join: &Join, child: NodeId) -> bool {
    join.leaf || is_nearer(join.group, route::myself(), child)
}

/// Whether the child has not been turned away here before.
fn is_willing(join: &Join) -> bool {
    !join.refused.contains(&route::myself())
}

/// A path that no tree has.
pub(super) fn is_too_long(path: &[NodeId]) -> bool {
    path.len() >= PATH
}

/// Whether a root can have begun then: clocks differ by less than a day.
fn is_credible(epoch: u64) -> bool {
    epoch < crate::time::wall_ms() + 86_400_000
}
