//! Who starts, dies and comes back.

use super::Class;
use super::stage::Stage;
use crate::Index;
use crate::world::Act;

/// Most processes that live at once.
const MAX_LIVE: usize = 32;
/// Most processes that a run starts.
const MAX_STARTED: u32 = 400;
/// Nodes that a process knows when it starts.
pub(super) const KNOWN: usize = 3;

impl Stage {
    /// A new node, which knows a few members; the first of all knows none and founds the ring.
    pub(super) fn start(&mut self) -> Option<Index> {
        let known = self.some_members(KNOWN);
        self.start_knowing(known)
    }

    pub(super) fn start_knowing(&mut self, known: Vec<Index>) -> Option<Index> {
        if self.live().len() >= MAX_LIVE || self.world.count() >= MAX_STARTED {
            return None;
        }
        let node = self.world.spawn();
        self.known.insert(node, known.clone());
        self.act(Act::Start { node, known });
        Some(node)
    }

    /// Starts a dead process again.
    pub(super) fn restart(&mut self, node: Index) {
        let known = self.some_members(KNOWN);
        self.restart_knowing(node, known);
    }

    pub(super) fn restart_knowing(&mut self, node: Index, known: Vec<Index>) {
        if known.is_empty() || self.world.is_alive(node) {
            return;
        }
        self.dead.retain(|dead| *dead != node);
        self.known.insert(node, known.clone());
        self.act(Act::Restart { node, known });
    }

    /// The live nodes, divided so that none of one piece can find any of another: no member was ever connected to one of
    /// another piece, or started with its address and has not dialled it yet, as it would soon; and a process that is in no
    /// ring knows none that is, nor one that does. That others have met such a process does not help it.
    pub(super) fn pieces(&self) -> Vec<Vec<Index>> {
        let knows = |a: Index, b: Index| self.world.has_met(a, b) && self.has_address(a, b) || self.will_dial(a, b);
        let is_member = |node: &Index| self.judge.picture().seat(*node).is_some_and(|seat| seat.joined);
        let (mut members, mut outside): (Vec<Index>, Vec<Index>) = self.live().into_iter().partition(is_member);
        let mut pieces = Vec::new();
        while let Some(node) = members.pop() {
            let mut piece = vec![node];
            let mut at = 0;
            while let Some(node) = piece.get(at).copied() {
                piece.extend(members.extract_if(.., |other| knows(node, *other) || knows(*other, node)));
                piece.extend(outside.extract_if(.., |other| knows(*other, node)));
                at += 1;
            }
            pieces.push(piece);
        }
        pieces.extend(outside.into_iter().map(|node| vec![node]));
        pieces
    }

    /// Whether a node has the address of another from its start, and will soon dial it. A member tries each once, and rarely
    /// again where nobody was there.
    fn will_dial(&self, node: Index, other: Index) -> bool {
        let ring = self.world.node(node).map(|node| node.ring());
        let may = ring.is_some_and(|ring| !ring.view().joined || ring.is_untried(self.world.peer(other).addr));
        may && self.known[&node].contains(&other)
    }

    /// Whether a node that has met another would find it. Who has met both processes with one key knows the address of the
    /// last, as of a process that was started again elsewhere.
    fn has_address(&self, node: Index, other: Index) -> bool {
        let there = self.world.peer(other);
        let known = || self.world.node(node).and_then(|node| node.ring().address_of(there.id));
        self.world.twin(other).is_none() || known() == Some(there.addr)
    }

    /// Up to `most` different members, in random order.
    pub(super) fn some_members(&mut self, most: usize) -> Vec<Index> {
        let mut members = self.members();
        self.shuffle(&mut members);
        members.truncate(most);
        members
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.random.below(at as u64 + 1) as usize);
        }
    }

    /// Whether these may die at once in a run of this class. Someone always lives on.
    pub(super) fn may_die(&mut self, nodes: &[Index]) -> bool {
        let members = self.judge.picture().members();
        let others = members.values().filter(|node| !nodes.contains(node)).count();
        match self.options.class {
            Class::Careful if others <= self.options.successors => false,
            Class::Careful => {
                let coming = self.judge.coming(&self.world);
                self.judge.may_lose(nodes, &coming)
            }
            Class::AssumptionBroken => others >= 2,
        }
    }

    /// These die at the same instant, if they may. Says whether they did.
    pub(super) fn crash(&mut self, nodes: &[Index]) -> bool {
        if nodes.is_empty() || !self.may_die(nodes) {
            return false;
        }
        for node in nodes {
            self.world.act(Act::Crash { node: *node });
            self.buried(*node);
            self.dead.push(*node);
        }
        // One look at all of them: between two of these deaths no time passes.
        self.look();
        true
    }

    /// This one leaves, if it may. Says whether it did.
    pub(super) fn leave(&mut self, node: Index) -> bool {
        if !self.may_die(&[node]) || self.world.is_paused(node) {
            return false;
        }
        self.buried(node);
        self.act(Act::Leave { node });
        true
    }

    fn buried(&mut self, node: Index) {
        self.drifting.remove(&node);
        self.slow.remove(&node);
        self.end_clone_of(node);
    }

    /// The process that has this node's key as well dies, if there is one.
    fn end_clone_of(&mut self, node: Index) {
        if let Some(clone) = self.world.twin(node).filter(|clone| self.world.is_alive(*clone)) {
            self.world.act(Act::Crash { node: clone });
        }
    }

    /// All clones die, those too whose original has left.
    pub(super) fn end_clones(&mut self) {
        for node in 0..self.world.count() {
            if self.world.is_clone(node) && self.world.is_alive(node) {
                self.world.act(Act::Crash { node });
            }
        }
        self.look();
    }
}
