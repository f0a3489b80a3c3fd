//! What a world looks like from outside: who is in it, whether its ring is ideal, how messages ended.

use std::time::Duration;

use prost_kbr::{Handling, Interval, Key, MessageId, NodeId, Outcome, Peer, Refusal};

use super::World;

impl World {
    pub(crate) fn live(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.alive).map(|(id, _)| *id).collect()
    }

    pub(crate) fn members(&self) -> Vec<NodeId> {
        self.live().into_iter().filter(|id| self.nodes[id].machine.view().joined).collect()
    }

    /// The node responsible for a key, by looking at all of them.
    pub(crate) fn owner(&self, key: Key) -> NodeId {
        let members = self.members();
        members.iter().copied().min_by_key(|node| key.distance_to(*node)).expect("a member")
    }

    /// What keeps the ring from being ideal: lists that are not the true next and previous nodes.
    pub(crate) fn flaws(&self) -> Vec<String> {
        let live = self.live();
        let mut flaws = Vec::new();
        for (at, id) in live.iter().enumerate() {
            let view = self.nodes[id].machine.view();
            let after: Vec<NodeId> = (1..live.len()).map(|i| live[(at + i) % live.len()]).collect();
            let before: Vec<NodeId> = after.iter().rev().copied().collect();
            let ids = |peers: &[Peer]| peers.iter().map(|peer| peer.id).collect::<Vec<_>>();
            let after = &after[..after.len().min(self.config.successors)];
            let before = &before[..before.len().min(self.config.predecessors)];
            if !view.joined || ids(&view.successors) != after || ids(&view.predecessors) != before {
                let have = (ids(&view.predecessors), ids(&view.successors));
                flaws.push(format!("{id:?} joined {} has {have:?}, not {:?}", view.joined, (before, after)));
            }
        }
        flaws
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Every outcome of a message at its origin.
    pub(crate) fn outcomes(&self, origin: NodeId, id: MessageId) -> Vec<Outcome> {
        self.nodes[&origin].ended().into_iter().filter(|outcome| outcome.id == id).cloned().collect()
    }

    /// Runs until a message has ended, and gives its one outcome.
    pub(crate) fn outcome(&mut self, origin: NodeId, id: MessageId) -> Outcome {
        let limit = self.config.deadline + Duration::from_secs(1);
        assert!(self.run_until(limit, |world| !world.outcomes(origin, id).is_empty()), "no outcome of {id}");
        let outcomes = self.outcomes(origin, id);
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes.into_iter().next().unwrap()
    }

    pub(crate) fn refuse(&mut self, node: NodeId) {
        self.nodes.get_mut(&node).unwrap().handling = Handling::Refused(Refusal::Denied);
    }

    /// The ranges of rank 0 of all live nodes cover the ring without overlap.
    pub(crate) fn ranges(&self) -> Vec<(NodeId, Option<Interval>)> {
        self.live().into_iter().map(|id| (id, self.nodes[&id].machine.view().range(id, 0))).collect()
    }
}
