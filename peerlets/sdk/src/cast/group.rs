//! What a node knows of one group.

use std::collections::{BTreeMap, BTreeSet};

use super::order::Order;
use super::wire::Candidate;
use super::{Sequence, wire};
use crate::cbor::Bytes;
use crate::soft_state::Recent;
use crate::time::{Instant, wall_ms};
use crate::{Id, Key, NodeId, route};

/// Publications by which a node knows that a frame comes again. More than the frames that a node keeps for repair.
const SEEN: usize = 128;
/// Frames that a node looks for at most.
pub(super) const MISSING: usize = 64;
/// Nodes of a path to the root at most: many times the depth of a tree.
pub(super) const PATH: usize = 64;

/// For whose sake a node is in the tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Credentials {
    pub(super) member: NodeId,
    pub(super) shown: Bytes,
}

#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) credentials: Credentials,
    /// It serves nobody.
    pub(super) leaf: bool,
    /// It has spoken up itself.
    pub(super) is_known: bool,
    /// It is forgotten then, unless it speaks up.
    pub(super) until: Instant,
    /// When it was sent something last.
    pub(super) told: Instant,
}

/// A search for a parent.
#[derive(Debug, Clone)]
pub(super) struct Search {
    pub(super) number: u64,
    /// The node that was asked, where it was not left to routing.
    pub(super) asked: Option<NodeId>,
    pub(super) attempts: u32,
    pub(super) refused: Vec<NodeId>,
    /// This node said that it serves nobody.
    pub(super) leaf: bool,
    /// Others that were named, the best last.
    pub(super) candidates: Vec<NodeId>,
}

/// Frames that have not come yet though later ones have.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing {
    pub(super) epoch: u64,
    pub(super) numbers: BTreeSet<u64>,
    pub(super) attempts: u32,
}

#[derive(Debug)]
pub(super) struct Group {
    /// The credentials of this node, where it is a member itself.
    pub(super) membership: Option<Bytes>,
    pub(super) parent: Option<NodeId>,
    /// How often this node has said how things are, and the last that the parent has said.
    pub(super) said: u64,
    pub(super) stamp: u64,
    /// When the parent was heard last.
    pub(super) heard: Instant,
    /// The root first, the parent last.
    pub(super) path: Vec<NodeId>,
    /// Whether the path begins at the root.
    pub(super) rooted: bool,
    pub(super) is_root: bool,
    /// It is, or was with the children it has now: then only a root may become its parent, as it may have children nearer to
    /// the key than itself.
    pub(super) was_root: bool,
    /// Its parent took it because it serves nobody: then it must not, as the parent may be farther from the key than itself.
    pub(super) leaf: bool,
    pub(super) search: Option<Search>,
    pub(super) children: BTreeMap<NodeId, Child>,
    /// The group's rules, where they are known: none in it where nobody has created the group.
    pub(super) rules: Option<Option<Bytes>>,
    pub(super) refreshed: Instant,
    /// At the root: the place of the frame to come.
    pub(super) head: Option<Sequence>,
    /// The place of the last frame that is known of.
    pub(super) last: Option<Sequence>,
    pub(super) missing: Missing,
    pub(super) seen: Recent<(NodeId, u64)>,
    pub(super) order: Order,
}

impl Group {
    pub(super) fn new() -> Group {
        let now = Instant::now();
        Group {
            membership: None,
            parent: None,
            said: 0,
            stamp: 0,
            heard: now,
            path: Vec::new(),
            rooted: false,
            is_root: false,
            was_root: false,
            leaf: false,
            search: None,
            children: BTreeMap::new(),
            rules: None,
            refreshed: now,
            head: None,
            last: None,
            missing: Missing::default(),
            seen: Recent::new(SEEN),
            order: Order::default(),
        }
    }

    pub(super) fn is_needed(&self) -> bool {
        self.membership.is_some() || !self.children.is_empty()
    }

    /// What this node shows when it joins: its own credentials, else those of a child.
    pub(super) fn credentials(&self, myself: NodeId) -> Option<Credentials> {
        let own = self.membership.as_ref().map(|shown| Credentials { member: myself, shown: shown.clone() });
        own.or_else(|| self.children.values().next().map(|child| child.credentials.clone()))
    }

    pub(super) fn rules(&self) -> Option<&[u8]> {
        self.rules.as_ref().and_then(|rules| rules.as_deref())
    }

    /// What this node tells a child.
    pub(super) fn state(&mut self, group: Key, number: Option<u64>, with_rules: bool) -> wire::State {
        self.said += 1;
        let told = self.rules.as_ref().filter(|_| with_rules);
        let (tells_rules, rules) = (told.is_some(), told.cloned().flatten());
        let (path, rooted) = (self.path.clone(), self.rooted || self.is_root);
        wire::State { group, number, path, rooted, last: self.last, tells_rules, rules, stamp: self.said }
    }

    /// At the root: the place of one more frame. A root's epoch is later than that of any other that it has heard of.
    pub(super) fn next(&mut self, epoch: &mut u64) -> Sequence {
        let heard = self.last.map_or(0, |last| last.epoch);
        let sequence = self.head.filter(|head| head.epoch >= heard).unwrap_or_else(|| {
            *epoch = wall_ms().max(*epoch + 1).max(heard.saturating_add(1));
            Sequence { epoch: *epoch, number: 0 }
        });
        self.head = Some(Sequence { number: sequence.number + 1, ..sequence });
        self.last = Some(sequence);
        sequence
    }

    /// Whether frames from `from` to `upto` have not come; later ones are looked for first.
    pub(super) fn miss(&mut self, epoch: u64, from: u64, upto: u64) {
        if self.missing.epoch != epoch {
            self.missing = Missing { epoch, ..Missing::default() };
        }
        let from = from.max(upto.saturating_sub(MISSING as u64));
        self.missing.numbers.extend(from..upto);
        self.missing.attempts = 0;
        while self.missing.numbers.len() > MISSING {
            self.missing.numbers.pop_first();
        }
    }

    /// A frame with this place has come, or is known to exist (`itself` tells). Gaps before it are noted.
    pub(super) fn advance(&mut self, sequence: Sequence, itself: bool) {
        let end = sequence.number.saturating_add(u64::from(!itself));
        match self.last {
            None => {}
            Some(last) if last.epoch == sequence.epoch && last.number < sequence.number => {
                self.miss(sequence.epoch, last.number + 1, end);
            }
            Some(last) if last.epoch < sequence.epoch => self.miss(sequence.epoch, 0, end),
            Some(_) => {}
        }
        self.last = self.last.max(Some(sequence));
        if itself && self.missing.epoch == sequence.epoch {
            self.missing.numbers.remove(&sequence.number);
        }
    }

    /// Children that a node could go to instead of to this one, the quickest first.
    pub(super) fn candidates(&self, group: Key, node: NodeId, refused: &[NodeId], most: usize) -> Vec<Candidate> {
        let leaf = self.children.get(&node).is_some_and(|child| child.leaf);
        let fits = |(other, child): &(&NodeId, &Child)| {
            **other != node && !child.leaf && (leaf || is_nearer(group, **other, node)) && !refused.contains(other)
        };
        let fit = self.children.iter().filter(fits);
        let mut found: Vec<Candidate> = fit.map(|(node, _)| Candidate { node: *node, delay: delay(*node) }).collect();
        found.sort_by_key(|candidate| candidate.delay);
        found.truncate(most);
        found
    }
}

/// The round-trip time in milliseconds; that of a far node where there is no connection.
pub(super) fn delay(node: NodeId) -> u32 {
    route::round_trip(node).map_or(1000, |micros| micros / 1000)
}

/// How far a node is from the group's key, either way round: what each hop of routing makes less.
fn rank(group: Key, node: NodeId) -> Id {
    group.distance_to(node).min(node.distance_to(group))
}

/// Whether `one` is nearer to the group's key than `other`. Only such a node, or the root, becomes its parent, so that
/// there are no cycles whatever moves at the same time. A node that serves nobody cannot be on a cycle, and may be anyone's
/// child.
pub(super) fn is_nearer(group: Key, one: NodeId, other: NodeId) -> bool {
    (rank(group, one), one) < (rank(group, other), other)
}
