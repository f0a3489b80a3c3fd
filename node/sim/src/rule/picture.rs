//! What an onlooker who sees everything knows of the nodes: who is in the ring, and whose lists say what.

use std::collections::{BTreeMap, BTreeSet};

use prost_kbr::{Interval, Key, NodeId, Time};

use crate::Index;

/// One live process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seat {
    /// Its id.
    pub id: NodeId,
    /// Whether it takes itself for a member of a ring.
    pub joined: bool,
    /// Its successor list.
    pub successors: Vec<NodeId>,
    /// Its predecessor list.
    pub predecessors: Vec<NodeId>,
    /// Its fingers that are no successors.
    pub fingers: Vec<NodeId>,
    /// Those of its first successor, first predecessor and fingers that it has never had a connection with.
    pub unmet: Vec<NodeId>,
    /// Open connections.
    pub connections: usize,
    /// How many nodes it has declared dead.
    pub declared_dead: u64,
    /// The nodes that it holds for dead.
    pub lost: Vec<NodeId>,
}

impl Seat {
    fn knows(&self, id: NodeId) -> bool {
        self.successors.iter().chain(&self.predecessors).chain(&self.fingers).any(|known| *known == id)
    }

    fn gaps(&self) -> impl Iterator<Item = (NodeId, NodeId)> {
        gaps(self.id, &self.successors)
    }

    fn skips(&self, node: NodeId) -> bool {
        node != self.id && self.gaps().any(|(from, to)| node != to && Interval::open(from, to).contains(node))
    }
}

/// The gaps between the entries of Zave's extended list: the node itself, then its successors.
fn gaps(node: NodeId, successors: &[NodeId]) -> impl Iterator<Item = (NodeId, NodeId)> {
    [node].into_iter().chain(successors.iter().copied()).zip(successors.iter().copied())
}

/// What an update has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// A node that has become a member.
    pub joined: Option<NodeId>,
    /// A member that is none any more.
    pub lost: Option<NodeId>,
    /// A live member that this node has declared dead and dropped.
    pub false_death: Option<NodeId>,
}

/// All live processes, and what follows from their lists.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    seats: BTreeMap<Index, Seat>,
    members: BTreeMap<NodeId, Index>,
    joined_at: BTreeMap<NodeId, Time>,
    /// How many members' lists skip a member; members that none skips are not in it.
    skipped: BTreeMap<NodeId, u32>,
    skips: BTreeMap<Index, Vec<NodeId>>,
    /// Members without a live successor.
    stranded: BTreeSet<Index>,
}

impl Picture {
    /// Takes in what a node is like now; none where its process does not run.
    pub fn set(&mut self, now: Time, node: Index, seat: Option<Seat>) -> Change {
        let old = self.seats.remove(&node);
        let was = old.as_ref().filter(|seat| seat.joined).map(|seat| seat.id);
        let is = seat.as_ref().filter(|seat| seat.joined).map(|seat| seat.id);
        let false_death = old.as_ref().zip(seat.as_ref()).and_then(|(old, new)| self.false_death(old, new));
        // What is kept about skips and stranded nodes follows from this and from who is a member.
        fn place(seat: &Option<Seat>) -> Option<(NodeId, bool, &[NodeId])> {
            seat.as_ref().map(|seat| (seat.id, seat.joined, &seat.successors[..]))
        }
        let same = place(&old) == place(&seat);
        if let Some(seat) = seat {
            self.seats.insert(node, seat);
        }
        if !same {
            self.withdraw_skips(node);
            if was != is {
                self.move_member(now, node, was, is);
            }
            self.enter_skips(node);
            self.judge_stranded(node);
        }
        Change { joined: is.filter(|_| was != is), lost: was.filter(|_| was != is), false_death }
    }

    fn false_death(&self, old: &Seat, new: &Seat) -> Option<NodeId> {
        if new.declared_dead <= old.declared_dead {
            return None;
        }
        let lost = new.lost.iter().copied().filter(|id| !old.lost.contains(id));
        let known = old.successors.iter().chain(&old.predecessors).chain(&old.fingers);
        let gone = known.copied().filter(|id| !new.knows(*id));
        lost.chain(gone).find(|id| self.members.contains_key(id))
    }

    fn move_member(&mut self, now: Time, node: Index, was: Option<NodeId>, is: Option<NodeId>) {
        if let Some(id) = was {
            self.members.remove(&id);
            self.joined_at.remove(&id);
            self.skipped.remove(&id);
            for skips in self.skips.values_mut() {
                skips.retain(|skipped| *skipped != id);
            }
        }
        if let Some(id) = is {
            self.members.insert(id, node);
            self.joined_at.insert(id, now);
            for (other, seat) in self.seats.iter().filter(|(other, seat)| seat.joined && **other != node) {
                if seat.skips(id) {
                    self.skips.entry(*other).or_default().push(id);
                    *self.skipped.entry(id).or_default() += 1;
                }
            }
        }
        let others: Vec<Index> = self.members.values().copied().collect();
        for other in others {
            self.judge_stranded(other);
        }
    }

    fn withdraw_skips(&mut self, node: Index) {
        for id in self.skips.remove(&node).unwrap_or_default() {
            let count = self.skipped.get_mut(&id).expect("it was entered");
            *count -= 1;
            if *count == 0 {
                self.skipped.remove(&id);
            }
        }
    }

    fn enter_skips(&mut self, node: Index) {
        let Some(seat) = self.seats.get(&node).filter(|seat| seat.joined) else { return };
        let mut skips: Vec<NodeId> = seat.gaps().flat_map(|(from, to)| self.between(from, to)).collect();
        skips.retain(|id| *id != seat.id);
        skips.sort();
        skips.dedup();
        for id in &skips {
            *self.skipped.entry(*id).or_default() += 1;
        }
        self.skips.insert(node, skips);
    }

    /// Members strictly between two points, clockwise.
    fn between(&self, from: NodeId, to: NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut next = self.after(from);
        while let Some(id) = next.filter(|id| *id != to && *id != from && Interval::open(from, to).contains(*id)) {
            if found.contains(&id) {
                break;
            }
            found.push(id);
            next = self.after(id);
        }
        found
    }

    /// The next member after a point.
    fn after(&self, point: NodeId) -> Option<NodeId> {
        use core::ops::Bound::{Excluded, Unbounded};
        let mut next = self.members.range((Excluded(point), Unbounded));
        next.next().or_else(|| self.members.first_key_value()).map(|(id, _)| *id)
    }

    fn judge_stranded(&mut self, node: Index) {
        let seat = self.seats.get(&node).filter(|seat| seat.joined);
        let lives = |seat: &Seat| seat.successors.iter().any(|id| self.members.contains_key(id));
        if seat.is_some_and(|seat| !lives(seat)) {
            self.stranded.insert(node);
        } else {
            self.stranded.remove(&node);
        }
    }

    /// All live processes.
    pub fn seats(&self) -> &BTreeMap<Index, Seat> {
        &self.seats
    }

    /// One live process.
    pub fn seat(&self, node: Index) -> Option<&Seat> {
        self.seats.get(&node)
    }

    /// Live members of a ring, in order of id.
    pub fn members(&self) -> &BTreeMap<NodeId, Index> {
        &self.members
    }

    /// When a member became one.
    pub fn joined_at(&self, id: NodeId) -> Option<Time> {
        self.joined_at.get(&id).copied()
    }

    /// The member responsible for a key: the first at or after it.
    pub fn owner(&self, key: Key) -> Option<NodeId> {
        self.members.range(key..).next().or_else(|| self.members.first_key_value()).map(|(id, _)| *id)
    }

    /// How many members no member's extended list skips (Zave 2017, "principal").
    pub fn principals(&self) -> usize {
        self.members.len() - self.skipped.len()
    }

    /// Members that some member's list skips.
    pub fn skipped(&self) -> impl Iterator<Item = NodeId> {
        self.skipped.keys().copied()
    }

    /// Members whose list names no live member.
    pub fn stranded(&self) -> &BTreeSet<Index> {
        &self.stranded
    }

    /// Whether Zave's invariant holds for lists of this length: each member has a live successor, and there are more
    /// principals than the list has places. It has to hold as well with the lists that these nodes will soon have.
    pub fn is_sound(&self, successors: usize, coming: &[(Index, Vec<NodeId>)]) -> bool {
        let coming = || coming.iter().filter_map(|(node, list)| Some((self.seat(*node)?, list)));
        let lives = |list: &[NodeId]| list.iter().any(|id| self.members.contains_key(id));
        if !self.stranded.is_empty() || self.principals() <= successors || !coming().all(|(_, list)| lives(list)) {
            return false;
        }
        let mut skipped: BTreeSet<NodeId> = self.skipped().collect();
        for (seat, list) in coming() {
            skipped
                .extend(gaps(seat.id, list).flat_map(|(from, to)| self.between(from, to)).filter(|id| *id != seat.id));
        }
        self.members.len() - skipped.len() > successors
    }

    /// What the picture would be without these processes.
    pub fn without(&self, gone: &[Index]) -> Picture {
        let mut picture = self.clone();
        for node in gone {
            picture.set(Time::ZERO, *node, None);
        }
        picture
    }
}
