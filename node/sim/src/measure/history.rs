//! Who was responsible for what, and when, by the view of one who sees everything.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use prost_kbr::{Key, NodeId, Time};

use crate::world::Index;

/// The members, now and a little while back, in each part of a network that may be cut.
///
/// Nodes in different parts cannot reach each other; each part is a ring of its own, and responsibility is judged by
/// the part of whoever asks. While the network is whole all parts are equal.
#[derive(Debug)]
pub struct History {
    parts: Vec<Part>,
    keep: Duration,
}

#[derive(Debug, Clone, Default)]
struct Part {
    members: BTreeMap<NodeId, Index>,
    /// Oldest first.
    log: VecDeque<Change>,
}

#[derive(Debug, Clone, Copy)]
struct Change {
    at: Time,
    id: NodeId,
    joined: bool,
}

impl History {
    /// Without members. `parts` is the most parts that there will be, at least 1; changes are remembered for `keep`.
    pub fn new(parts: u8, keep: Duration) -> History {
        History { parts: vec![Part::default(); parts.max(1).into()], keep }
    }

    /// A node has become a member: in one part, or in all.
    pub fn join(&mut self, at: Time, id: NodeId, node: Index, part: Option<u8>) {
        for (number, view) in (0u8..).zip(&mut self.parts) {
            if part.is_none_or(|part| part == number) && view.members.insert(id, node).is_none() {
                view.note(Change { at, id, joined: true }, self.keep);
            }
        }
    }

    /// A node is no member any more.
    pub fn leave(&mut self, at: Time, id: NodeId) {
        for view in &mut self.parts {
            view.remove(at, id, self.keep);
        }
    }

    /// The network is cut: each node is in this part, and for the others it is gone.
    pub fn cut(&mut self, at: Time, part_of: impl Fn(Index) -> u8) {
        self.mend(at);
        for (number, view) in (0u8..).zip(&mut self.parts) {
            let gone = view.members.iter().filter(|(_, node)| part_of(**node) != number).map(|(id, _)| *id);
            for id in gone.collect::<Vec<_>>() {
                view.remove(at, id, self.keep);
            }
        }
    }

    /// The network is whole: everyone is a member of all parts.
    pub fn mend(&mut self, at: Time) {
        let all: BTreeMap<NodeId, Index> =
            self.parts.iter().flat_map(|view| view.members.iter().map(|(id, node)| (*id, *node))).collect();
        for (id, node) in all {
            self.join(at, id, node, None);
        }
    }

    /// The node that is responsible for a key now, for those in this part.
    pub fn owner(&self, part: u8, key: Key) -> Option<NodeId> {
        let members = &self.parts.get(usize::from(part))?.members;
        members.range(key..).chain(members.range(..key)).next().map(|(id, _)| *id)
    }

    /// Whether a node was responsible for a key at some instant from `since` until now, for those in this part. `since`
    /// must be no longer ago than is remembered.
    pub fn was_owner(&self, part: u8, key: Key, node: NodeId, since: Time) -> bool {
        let Some(view) = self.parts.get(usize::from(part)) else { return false };
        let way = key.distance_to(node);
        // Members at the key or between it and the node come before the node.
        let before = |id: NodeId| key.distance_to(id) < way;
        let recent = || view.log.iter().rev().take_while(|change| change.at >= since);
        let most = recent().count();
        let members = view.members.range(key..).chain(view.members.range(..key)).map(|(id, _)| *id);
        let mut others = members.take_while(|id| before(*id)).take(most + 1).count();
        let mut present = view.members.contains_key(&node);
        let mut changes = recent();
        // From now back to `since`, undoing one change after another.
        loop {
            if present && others == 0 {
                return true;
            }
            let Some(change) = changes.next() else { return false };
            if change.id == node {
                present = !change.joined;
            } else if before(change.id) && change.joined {
                others = others.saturating_sub(1);
            } else if before(change.id) {
                others += 1;
            }
        }
    }
}

impl Part {
    fn remove(&mut self, at: Time, id: NodeId, keep: Duration) {
        if self.members.remove(&id).is_some() {
            self.note(Change { at, id, joined: false }, keep);
        }
    }

    fn note(&mut self, change: Change, keep: Duration) {
        while self.log.front().is_some_and(|oldest| oldest.at + keep < change.at) {
            self.log.pop_front();
        }
        self.log.push_back(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn id(at: u64) -> NodeId {
        let mut bytes = [0; 20];
        bytes[12..].copy_from_slice(&at.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    fn second(at: u64) -> Time {
        Time::from_micros(at * 1_000_000)
    }

    #[test]
    fn responsibility_in_the_past_is_that_of_a_model_that_remembers_all() {
        let mut random = Random::new(1);
        let mut history = History::new(1, Duration::from_secs(20));
        let mut members: Vec<u64> = Vec::new();
        let mut states: Vec<Vec<u64>> = vec![Vec::new()];
        let owner = |state: &[u64], key: u64| {
            let at_or_after = state.iter().filter(|node| **node >= key).min();
            at_or_after.or_else(|| state.iter().min()).copied()
        };
        for now in 1..2000 {
            let node = random.below(12) * 10;
            match members.iter().position(|member| *member == node) {
                Some(place) => {
                    members.swap_remove(place);
                    history.leave(second(now), id(node));
                }
                None => {
                    members.push(node);
                    history.join(second(now), id(node), node as u32, None);
                }
            }
            states.push(members.clone());
            let (key, asked) = (random.below(130), now.saturating_sub(random.below(8)).max(1));
            assert_eq!(history.owner(0, id(key)), owner(&members, key).map(id));
            for candidate in (0..12).map(|node| node * 10) {
                // The state before the first change within the time counts: it held at the instant of asking.
                let model = states[asked as usize - 1..].iter().any(|state| owner(state, key) == Some(candidate));
                assert_eq!(
                    history.was_owner(0, id(key), id(candidate), second(asked)),
                    model,
                    "{now} {key} {candidate}"
                );
            }
        }
    }

    #[test]
    fn each_part_of_a_cut_network_has_its_own_owner() {
        let mut history = History::new(2, Duration::from_secs(20));
        for node in 0..4 {
            history.join(second(1), id(node * 10), node as u32, None);
        }
        history.cut(second(10), |node| (node % 2) as u8);
        assert_eq!((history.owner(0, id(5)), history.owner(1, id(5))), (Some(id(20)), Some(id(10))));
        assert!(!history.was_owner(0, id(5), id(10), second(11)), "it is out of reach");
        assert!(history.was_owner(0, id(5), id(10), second(9)), "it was there a second before");
        history.join(second(11), id(6), 6, Some(0));
        history.leave(second(12), id(10));
        history.mend(second(13));
        let owners = [0, 1].map(|part| (history.owner(part, id(5)), history.owner(part, id(7))));
        assert_eq!(owners, [(Some(id(6)), Some(id(20))); 2]);
    }
}
