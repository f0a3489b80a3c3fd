//! Two processes with one key. To others they are one node, which is now here and now there: each new connection to one
//! takes the place of that to the other, as a process that starts again greets with another incarnation
//! (`transport/rivalry.rs`).

use super::host::Host;
use super::{Index, World};

impl World {
    /// Makes room for a second process with a node's key, at an address of its own: its number. There is one at most.
    ///
    /// # Panics
    ///
    /// On a number that was not given by [`World::spawn`].
    pub fn clone_of(&mut self, node: Index) -> Index {
        if let Some(twin) = self.twin(node) {
            return if self.is_clone(node) { node } else { twin };
        }
        let number = self.count();
        self.hosts.push(Host::new(number, self.peer(node).id, self.now));
        self.clones.insert(number, node);
        number
    }

    /// Whether this is the second process with its key.
    pub fn is_clone(&self, node: Index) -> bool {
        self.clones.contains_key(&node)
    }

    /// Whether a process runs whose key another has.
    pub fn has_clones(&self) -> bool {
        self.clones.keys().any(|clone| self.is_alive(*clone))
    }

    /// The other process with this one's key.
    pub fn twin(&self, node: Index) -> Option<Index> {
        if self.clones.is_empty() {
            return None;
        }
        let clone = || self.clones.iter().find(|(_, original)| **original == node).map(|(clone, _)| *clone);
        self.clones.get(&node).copied().or_else(clone)
    }

    /// The other process with a peer's key, where a node has a connection to that one.
    pub(super) fn linked_twin(&self, node: Index, peer: Index) -> Option<Index> {
        let twin = self.twin(peer)?;
        self.connected(node, twin).then_some(twin)
    }

    /// A connection to one process with a key ends that to the other, where there is one. Says whether there was.
    pub(super) fn displace_twin(&mut self, node: Index, peer: Index) -> bool {
        let Some(twin) = self.linked_twin(node, peer) else { return false };
        let host = &mut self.hosts[node as usize];
        let live = host.halves.get_mut(twin).and_then(|half| {
            half.wanted = false;
            half.live.take()
        });
        let Some(live) = live else { return false };
        host.live -= 1;
        self.half_open.remove(&live.number);
        self.reset(node, twin, live.number);
        true
    }
}
