//! Nodes whose finger this node is (the backpointers of Tapestry, IEEE JSAC 22(1), 2004). Their connections are there
//! already, so messages take them the other way as well.

use std::collections::BTreeMap;

use crate::id::NodeId;
use crate::message::Peer;

/// A bounded set of nodes that point here.
#[derive(Debug, Clone)]
pub(crate) struct Backpointers {
    nodes: BTreeMap<NodeId, Peer>,
    most: usize,
    changes: u64,
}

impl Backpointers {
    pub(crate) fn new(most: usize) -> Backpointers {
        Backpointers { nodes: BTreeMap::new(), most, changes: 0 }
    }

    /// Says whether there is room for the node.
    pub(crate) fn admit(&mut self, peer: Peer) -> bool {
        if self.nodes.len() >= self.most && !self.nodes.contains_key(&peer.id) {
            return false;
        }
        self.changes += u64::from(self.nodes.insert(peer.id, peer) != Some(peer));
        true
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        self.changes += u64::from(self.nodes.remove(&id).is_some());
    }

    pub(crate) fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.nodes.values().copied()
    }

    /// How often the set has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_get_in() {
        let peer = |number: u8| Peer { id: NodeId::hash(&[number]), addr: ([10, 0, 0, number], 1).into() };
        let mut nodes = Backpointers::new(2);
        assert!(nodes.admit(peer(1)) && nodes.admit(peer(2)) && !nodes.admit(peer(3)));
        assert!(nodes.admit(peer(1)), "it is in");
        nodes.remove(peer(2).id);
        assert!(nodes.admit(peer(3)) && !nodes.admit(peer(2)));
        let changes = nodes.changes();
        nodes.admit(peer(3));
        nodes.remove(peer(9).id);
        assert_eq!(nodes.changes(), changes);
        assert_eq!(nodes.peers().count(), 2);
    }
}
