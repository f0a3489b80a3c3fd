//! Nodes on the hosts of a matrix.

use core::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Latency, Matrix};

/// Shortest access delay, in microseconds of round-trip time.
const ACCESS_MIN: u64 = 500;
/// Longest access delay.
const ACCESS_MAX: u64 = 2000;

/// Nodes that are on the hosts of a matrix in a random order.
///
/// Nodes are numbered without end, and go round the hosts: where there are more nodes than hosts, several share one.
/// The first node of a host is the host. Each further one has an access link of its own, which adds 0.5 to 2 ms to its
/// round trips, so that nodes of one host are near each other and yet not in one place.
#[derive(Debug, Clone)]
pub struct Placed {
    matrix: Matrix,
    seed: u64,
    /// The host of each node whose number modulo the number of hosts is the index.
    order: Vec<u16>,
}

impl Placed {
    /// Places nodes as the seed decides.
    pub fn new(matrix: Matrix, seed: u64) -> Placed {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<u16> = (0..matrix.hosts() as u16).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, below(&mut random, last as u64 + 1) as usize);
        }
        Placed { matrix, seed, order }
    }

    /// The host of a node, and its access delay in microseconds of round-trip time.
    fn place(&self, node: u32) -> (usize, u64) {
        let hosts = self.order.len() as u32;
        let access = if node < hosts { 0 } else { access(self.seed, node) };
        (self.order[(node % hosts) as usize].into(), access)
    }
}

impl Latency for Placed {
    fn round_trip(&self, a: u32, b: u32) -> Duration {
        let ((host_a, access_a), (host_b, access_b)) = (self.place(a), self.place(b));
        Duration::from_micros(u64::from(self.matrix.micros(host_a, host_b)) + access_a + access_b)
    }
}

/// A number below the bound, which is far below 2^64.
pub(super) fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// The access delay of a node: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) on its number.
fn access(seed: u64, node: u32) -> u64 {
    let mut mixed = seed ^ u64::from(node).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let span = ACCESS_MAX - ACCESS_MIN + 1;
    ACCESS_MIN + ((u128::from(mixed) * u128::from(span)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nodes_have_a_host_each() {
        let placed = Placed::new(Matrix::planetlab(), 7);
        let mut hosts: Vec<u16> = placed.order.clone();
        assert_ne!(hosts, (0..490).collect::<Vec<u16>>(), "the order is the file's");
        hosts.sort_unstable();
        assert_eq!(hosts, (0..490).collect::<Vec<u16>>());
        let (a, b) = (placed.order[3].into(), placed.order[489].into());
        assert_eq!(placed.round_trip(3, 489), placed.matrix.round_trip(a, b));
    }

    #[test]
    fn distances_are_the_same_both_ways_and_never_zero() {
        let placed = Placed::new(Matrix::wonder(), 7);
        for (a, b) in [(0, 1), (0, 235), (235, 470), (1_000_000, 17), (u32::MAX, u32::MAX - 235)] {
            assert_eq!(placed.round_trip(a, b), placed.round_trip(b, a));
            assert!(placed.round_trip(a, b) >= Duration::from_micros(ACCESS_MIN), "{a} {b}");
        }
    }

    #[test]
    fn nodes_that_share_a_host_differ_by_their_access() {
        let placed = Placed::new(Matrix::planetlab(), 7);
        let delays: Vec<u128> = (1..2000).map(|lap| placed.round_trip(0, 490 * lap).as_micros()).collect();
        assert!(delays.iter().all(|delay| (500..=2000).contains(delay)));
        let mean = delays.iter().sum::<u128>() / delays.len() as u128;
        assert!((1200..1300).contains(&mean), "{mean}");
        assert_eq!(
            placed.round_trip(5, 490).as_micros(),
            placed.round_trip(5, 0).as_micros() + placed.round_trip(0, 490).as_micros()
        );
    }

    #[test]
    fn the_seed_decides_the_places() {
        let first = |seed| Placed::new(Matrix::planetlab(), seed).order;
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
