//! Anycast: a depth-first search of the tree (Castro, Druschel, Kermarrec, Rowstron, NGC 2003; FreePastry's Scribe).

use core::time::Duration;

use super::tree::{Due, SEARCHES, Tree, by_delay};
use super::wire::{self, Anycast, Control};
use super::{Refusal, Upcalls};
use crate::cbor::Bytes;
use crate::{Key, NodeId, random, route};

/// Nodes that a search remembers and has before it at most.
const NODES: usize = 256;
/// After this long nobody waits for a search any more.
const DEADLINE: Duration = Duration::from_secs(15);

impl<A: Upcalls> Tree<A> {
    pub(super) fn start_search(&mut self, group: Key, data: Bytes) -> Result<u64, Refusal> {
        if self.searches.len() >= SEARCHES {
            return Err(Refusal::Full);
        }
        let number = random::number();
        self.searches.insert(number);
        self.timers.set(Due::Search(number), DEADLINE);
        let origin = route::myself();
        let search = Anycast { group, number, origin, visited: Vec::new(), ahead: Vec::new(), data };
        if self.is_attached(group) {
            // The search begins here, but not with this node: whoever asks for a member means another.
            self.search_from(search);
        } else {
            let payload = wire::control(self.channel, &Control::Anycast(search));
            // Where it cannot be sent, the deadline says so.
            let _ = route::route_per_hop(group, &payload, None);
        }
        Ok(number)
    }

    /// A search has come here: offers it to the application, else sends it on.
    pub(super) fn search_on(&mut self, search: Anycast) {
        let is_member = self.is_member(search.group);
        let name = (search.origin, search.number);
        if self.taken.contains(&name) || search.visited.len() > NODES || search.ahead.len() > NODES {
            return;
        }
        let is_new = !search.visited.contains(&route::myself()) && search.origin != route::myself();
        if is_member && is_new && self.app.anycast(search.group, search.origin, &search.data) {
            self.taken.insert(name, ());
            self.tell(search.origin, &Control::Found { number: search.number, taken: true });
        } else {
            self.search_from(search);
        }
    }

    /// Sends a search to the next node: a child, else back up.
    fn search_from(&mut self, mut search: Anycast) {
        let myself = route::myself();
        if let Some(entry) = self.groups.get(&search.group).filter(|_| !search.visited.contains(&myself)) {
            let ahead = &mut search.ahead;
            let above = entry.parent.into_iter();
            let below = by_delay(entry.children.keys().copied().collect());
            for node in above.chain(below) {
                if !search.visited.contains(&node) {
                    ahead.retain(|other| *other != node);
                    ahead.push(node);
                }
            }
            let over = ahead.len().saturating_sub(NODES);
            ahead.drain(..over);
        }
        if !search.visited.contains(&myself) {
            search.visited.push(myself);
        }
        while let Some(next) = search.ahead.pop() {
            if next == myself || search.visited.contains(&next) {
                continue;
            }
            if search.visited.len() >= NODES {
                break;
            }
            let payload = wire::control(self.channel, &Control::Anycast(search.clone()));
            if let Ok(message) = route::send(next, &payload) {
                self.passed_on.insert(message, search);
                return;
            }
        }
        self.end_elsewhere(search.origin, search.number);
    }

    fn end_elsewhere(&mut self, origin: NodeId, number: u64) {
        if origin == route::myself() {
            self.end_search(number, Err(Refusal::NoTaker));
        } else {
            self.tell(origin, &Control::Found { number, taken: false });
        }
    }

    /// A search of this node has ended.
    pub(super) fn end_search(&mut self, number: u64, outcome: Result<NodeId, Refusal>) {
        if self.searches.remove(&number) {
            self.timers.cancel(&Due::Search(number));
            self.app.anycast_ended(number, outcome);
        }
    }
}
