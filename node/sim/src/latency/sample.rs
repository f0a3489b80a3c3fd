//! Round-trip times of the pairs of a set of nodes.

use core::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Latency;
use super::placed::below;

/// Pairs that are looked at.
const MAX_PAIRS: usize = 2000;

/// The round-trip times between each two of these different nodes, in no useful order. Of more than 2,000 pairs these
/// are 2,000 that the seed draws, each pair with the same chance.
pub fn round_trips(latency: &dyn Latency, nodes: &[u32], seed: u64) -> Vec<Duration> {
    let count = nodes.len();
    if count * count.saturating_sub(1) / 2 <= MAX_PAIRS {
        let pairs = nodes.iter().enumerate().flat_map(|(at, a)| nodes[..at].iter().map(move |b| (*a, *b)));
        return pairs.map(|(a, b)| latency.round_trip(a, b)).collect();
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || {
        let a = below(&mut random, count as u64) as usize;
        // Another node: one of the others, counted from the first.
        let b = (a + 1 + below(&mut random, count as u64 - 1) as usize) % count;
        latency.round_trip(nodes[a], nodes[b])
    };
    (0..MAX_PAIRS).map(|_| draw()).collect()
}

/// The mean of [`round_trips`]; none for fewer than two nodes.
pub fn mean_round_trip(latency: &dyn Latency, nodes: &[u32], seed: u64) -> Option<Duration> {
    let all = round_trips(latency, nodes, seed);
    let count = u32::try_from(all.len()).ok().filter(|count| *count > 0)?;
    Some(all.iter().sum::<Duration>() / count)
}

#[cfg(test)]
mod tests {
    use super::super::{Fixed, Matrix, Placed};
    use super::*;

    /// As far as the difference of the numbers, and never asked about one node twice.
    #[derive(Debug)]
    struct Line;

    impl Latency for Line {
        fn round_trip(&self, a: u32, b: u32) -> Duration {
            assert_ne!(a, b);
            Duration::from_millis(a.abs_diff(b).into())
        }
    }

    #[test]
    fn few_pairs_are_all_counted_once() {
        let mut all = round_trips(&Line, &[1, 2, 4, 8], 1);
        all.sort();
        assert_eq!(all, [1, 2, 3, 4, 6, 7].map(Duration::from_millis));
        assert_eq!(mean_round_trip(&Line, &[3, 10], 1), Some(Duration::from_millis(7)));
        assert_eq!(mean_round_trip(&Fixed(Duration::from_millis(9)), &[3], 1), None);
        assert_eq!(mean_round_trip(&Line, &[], 1), None);
    }

    #[test]
    fn many_pairs_are_sampled_without_bias() {
        let placed = Placed::new(Matrix::planetlab(), 3);
        let nodes: Vec<u32> = (0..490).collect();
        let all = round_trips(&placed, &nodes, 5);
        assert_eq!(all.len(), MAX_PAIRS);
        let mean = mean_round_trip(&placed, &nodes, 5).expect("pairs").as_secs_f64() * 1000.0;
        // The whole matrix has 147 ms; the error of the mean of 2,000 is about 2 ms.
        assert!((139.0..155.0).contains(&mean), "{mean}");
        let nodes: Vec<u32> = (0..100).collect();
        assert!(round_trips(&Line, &nodes, 5).contains(&Duration::from_millis(1)));
    }
}
