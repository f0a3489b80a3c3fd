//! Who can reach whom.

use std::collections::BTreeSet;

use super::crowd::shuffle;
use crate::network::Network;
use crate::random::Random;
use crate::world::Index;

/// The network as the driver wants it: parts, and pairs that never reach each other.
#[derive(Debug)]
pub(super) struct Fabric {
    network: Network,
    parts: u8,
    unreachable: f64,
}

impl Fabric {
    /// A whole network; `unreachable` is the share of pairs that never reach each other.
    pub(super) fn new(network: Network, unreachable: f64) -> Fabric {
        Fabric { network, parts: 1, unreachable }
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// How many parts there are; 1 while the network is whole.
    pub(super) fn parts(&self) -> u8 {
        self.parts
    }

    /// The part that a node is in.
    pub(super) fn part(&self, node: Index) -> u8 {
        self.network.sides.get(node as usize).copied().unwrap_or(0)
    }

    /// Whether every node reaches every other.
    pub(super) fn is_whole(&self) -> bool {
        self.parts == 1 && self.network.cut.is_empty()
    }

    /// Cuts the network into parts of equal size, drawn at random; 1 makes it whole.
    pub(super) fn divide(&mut self, parts: u8, live: &[Index], count: u32, random: &mut Random) {
        self.parts = parts;
        self.network.sides.clear();
        if parts > 1 {
            self.network.sides = vec![0; count as usize];
            let mut nodes = live.to_vec();
            nodes.sort_unstable();
            shuffle(&mut nodes, random);
            for (node, side) in nodes.into_iter().zip((0..parts).cycle()) {
                self.network.sides[node as usize] = side;
            }
        }
    }

    /// A node comes to a network in which these others are; says whether the network has changed.
    pub(super) fn admit(&mut self, node: Index, others: &[Index], random: &mut Random) -> bool {
        if self.parts > 1 {
            let side = random.below(self.parts.into()) as u8;
            self.network.sides.resize((node as usize + 1).max(self.network.sides.len()), 0);
            self.network.sides[node as usize] = side;
        }
        if self.unreachable > 0.0 {
            for other in others.iter().filter(|other| **other != node) {
                if random.chance(self.unreachable) {
                    self.network.cut.extend([(node, *other), (*other, node)]);
                }
            }
        }
        self.parts > 1 || self.unreachable > 0.0
    }

    /// A node is gone for good.
    pub(super) fn forget(&mut self, node: Index) {
        let pairs: BTreeSet<(u32, u32)> = self.network.cut.range((node, 0)..=(node, u32::MAX)).copied().collect();
        for (node, other) in pairs {
            self.network.cut.remove(&(node, other));
            self.network.cut.remove(&(other, node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_equal_size_and_newcomers_belong_to_one() {
        let mut fabric = Fabric::new(Network::default(), 0.0);
        let mut random = Random::new(4);
        let live: Vec<u32> = (0..99).collect();
        fabric.divide(3, &live, 99, &mut random);
        for part in 0..3 {
            assert_eq!(live.iter().filter(|node| fabric.part(**node) == part).count(), 33);
        }
        assert!(fabric.admit(200, &live, &mut random) && fabric.part(200) < 3);
        fabric.divide(1, &live, 201, &mut random);
        assert!(fabric.is_whole() && !fabric.admit(201, &live, &mut random));
    }

    #[test]
    fn pairs_are_unreachable_both_ways_until_one_is_gone() {
        let mut fabric = Fabric::new(Network::default(), 0.1);
        let mut random = Random::new(4);
        let nodes: Vec<u32> = (0..200).collect();
        for node in 0..200 {
            fabric.admit(node, &nodes[..node as usize], &mut random);
        }
        let cut = fabric.network().cut.clone();
        // A tenth of 19,900 pairs; the deviation is 42.
        assert!((1800..2200).contains(&(cut.len() / 2)), "{}", cut.len());
        assert!(cut.iter().all(|(a, b)| a != b && cut.contains(&(*b, *a))));
        fabric.forget(7);
        assert!(fabric.network().cut.iter().all(|(a, b)| *a != 7 && *b != 7));
        assert!(fabric.network().cut.len() < cut.len());
    }
}
