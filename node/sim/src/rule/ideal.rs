//! The ideal ring: every list names the true next nodes.

use prost_kbr::NodeId;

use super::{Picture, Seat};

/// Most flaws that are described.
const MAX_FLAWS: usize = 4;

impl Picture {
    /// Whether the members' lists are all as they should be. Processes that are no members do not count.
    pub fn members_are_ideal(&self, successors: usize, predecessors: usize) -> bool {
        let ring: Vec<NodeId> = self.members().keys().copied().collect();
        let members = self.members().values().filter_map(|node| self.seat(*node));
        members.enumerate().all(|(at, seat)| is_true(seat, &ring, at, successors, predecessors))
    }

    /// What keeps the live processes from being one ideal ring, the first few of it; empty where they are.
    pub fn flaws(&self, successors: usize, predecessors: usize) -> Vec<String> {
        let ring: Vec<NodeId> = self.members().keys().copied().collect();
        let outside = self.seats().iter().filter(|(_, seat)| !seat.joined);
        let outside = outside.map(|(node, seat)| format!("node {node} ({:?}) is in no ring", seat.id));
        let members = self.members().values().filter_map(|node| Some((*node, self.seat(*node)?))).enumerate();
        let wrong = members.filter(|(at, (_, seat))| !is_true(seat, &ring, *at, successors, predecessors));
        let wrong = wrong.map(|(at, (node, seat))| {
            let after = neighbours(&ring, at, successors, 1);
            let before = neighbours(&ring, at, predecessors, ring.len() - 1);
            let lists = (&seat.predecessors, &seat.successors);
            format!("node {node} ({:?}) has {lists:?} and should have {:?}", seat.id, (before, after))
        });
        outside.chain(wrong).take(MAX_FLAWS).collect()
    }
}

fn is_true(seat: &Seat, ring: &[NodeId], at: usize, successors: usize, predecessors: usize) -> bool {
    seat.successors == neighbours(ring, at, successors, 1)
        && seat.predecessors == neighbours(ring, at, predecessors, ring.len() - 1)
}

/// The next `most` nodes from the one at `at`, going round in steps of `step`.
fn neighbours(ring: &[NodeId], at: usize, most: usize, step: usize) -> Vec<NodeId> {
    let count = most.min(ring.len() - 1);
    (1..=count).map(|far| ring[(at + far * step) % ring.len()]).collect()
}
