//! Who is there.

use prost_kbr::Time;

use crate::random::Random;
use crate::world::Index;

/// A set of nodes with which everything takes constant time, drawing one of them included.
#[derive(Debug, Default)]
pub(super) struct Roll {
    nodes: Vec<Index>,
    /// Each node's place in the list, by its number.
    places: Vec<Option<u32>>,
}

impl Roll {
    /// Adds a node; false where it was there.
    pub(super) fn add(&mut self, node: Index) -> bool {
        let number = node as usize;
        if self.places.len() <= number {
            self.places.resize(number + 1, None);
        }
        if self.places[number].is_some() {
            return false;
        }
        self.places[number] = Some(self.nodes.len() as u32);
        self.nodes.push(node);
        true
    }

    /// Takes a node out; false where it was not there.
    pub(super) fn remove(&mut self, node: Index) -> bool {
        let Some(place) = self.places.get_mut(node as usize).and_then(Option::take) else { return false };
        self.nodes.swap_remove(place as usize);
        if let Some(moved) = self.nodes.get(place as usize) {
            self.places[*moved as usize] = Some(place);
        }
        true
    }

    pub(super) fn contains(&self, node: Index) -> bool {
        self.places.get(node as usize).is_some_and(Option::is_some)
    }

    pub(super) fn nodes(&self) -> &[Index] {
        &self.nodes
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn pick(&self, random: &mut Random) -> Option<Index> {
        random.pick(&self.nodes).copied()
    }

    /// Up to `count` different nodes that `fits` accepts, drawn with a bounded number of tries.
    pub(super) fn pick_some(&self, count: usize, random: &mut Random, fits: impl Fn(Index) -> bool) -> Vec<Index> {
        let mut picked = Vec::with_capacity(count);
        for _ in 0..count * 20 {
            let Some(node) = self.pick(random).filter(|_| picked.len() < count) else { break };
            if !picked.contains(&node) && fits(node) {
                picked.push(node);
            }
        }
        picked
    }

    /// This share of the nodes, rounded to the nearest number, drawn without order.
    pub(super) fn share(&self, share: f64, random: &mut Random) -> Vec<Index> {
        let mut nodes = self.nodes.clone();
        let count = (share * nodes.len() as f64).round() as usize;
        shuffle(&mut nodes, random);
        nodes.truncate(count);
        nodes
    }
}

/// Puts the nodes into an order that is as likely as any other (Fisher and Yates).
pub(super) fn shuffle(nodes: &mut [Index], random: &mut Random) {
    for last in (1..nodes.len()).rev() {
        nodes.swap(last, random.below(last as u64 + 1) as usize);
    }
}

/// The nodes of the world.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Nodes whose process runs, and which do not leave.
    pub(super) live: Roll,
    /// Those of them that are members.
    pub(super) members: Roll,
    node_us: u128,
    counted: Time,
}

impl Crowd {
    /// Notes whether a node lives, and whether it is a member.
    pub(super) fn set(&mut self, now: Time, node: Index, live: bool, member: bool) {
        self.count(now);
        let _ = if live { self.live.add(node) } else { self.live.remove(node) };
        let _ = if live && member { self.members.add(node) } else { self.members.remove(node) };
    }

    /// The time that all nodes together have lived, in microseconds.
    pub(super) fn node_us(&mut self, now: Time) -> u128 {
        self.count(now);
        self.node_us
    }

    fn count(&mut self, now: Time) {
        self.node_us += now.since(self.counted).as_micros() * self.live.len() as u128;
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_roll_is_a_set() {
        let mut random = Random::new(2);
        let (mut roll, mut model) = (Roll::default(), BTreeSet::new());
        for _ in 0..5000 {
            let node = random.below(50) as u32;
            if random.chance(0.5) {
                assert_eq!(roll.add(node), model.insert(node));
            } else {
                assert_eq!(roll.remove(node), model.remove(&node));
            }
            assert_eq!(roll.nodes().iter().copied().collect::<BTreeSet<_>>(), model);
            assert_eq!(roll.len(), model.len());
            assert!(roll.pick(&mut random).is_none_or(|node| model.contains(&node)));
        }
        let half: BTreeSet<u32> = roll.share(0.5, &mut random).into_iter().collect();
        assert!(half.is_subset(&model) && half.len().abs_diff(model.len() - half.len()) <= 1);
    }

    #[test]
    fn the_time_that_nodes_live_adds_up() {
        let mut crowd = Crowd::default();
        let at = Time::from_micros;
        crowd.set(at(10), 0, true, false);
        crowd.set(at(15), 1, true, true);
        crowd.set(at(20), 0, false, true);
        assert_eq!(crowd.node_us(at(30)), 10 + 15);
        assert_eq!((crowd.live.nodes(), crowd.members.nodes()), (&[1][..], &[1][..]));
    }
}
