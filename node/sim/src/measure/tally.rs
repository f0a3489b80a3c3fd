//! Distributions of small whole numbers, of which there may be very many.

use crate::report::Summary;

/// Largest number that is told apart from larger ones.
const MAX: usize = 65_535;

/// How often each number has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    counts: Vec<u64>,
}

impl Tally {
    /// Counts a number; those above 65,535 count as that.
    pub fn add(&mut self, number: usize) {
        let number = number.min(MAX);
        if self.counts.len() <= number {
            self.counts.resize(number + 1, 0);
        }
        self.counts[number] += 1;
    }

    /// How often each number from zero has come, as far as the largest.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The usual figures, percentiles by nearest rank; none where nothing has come.
    pub fn summary(&self) -> Option<Summary> {
        let total: u64 = self.counts.iter().sum();
        let max = self.counts.len().checked_sub(1)?;
        let sum: u64 = self.counts.iter().zip(0u64..).map(|(count, number)| count * number).sum();
        let mean = sum as f64 / total as f64;
        Some(Summary {
            mean,
            p50: self.at_rank((total * 50).div_ceil(100)),
            p99: self.at_rank((total * 99).div_ceil(100)),
            max: max as f64,
        })
    }

    fn at_rank(&self, rank: u64) -> f64 {
        let mut below = 0;
        let reaches = |count: &u64| {
            below += count;
            below >= rank
        };
        self.counts.iter().position(reaches).unwrap_or(0) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::report::Distribution;

    #[test]
    fn the_figures_are_those_of_the_single_numbers() {
        let mut random = Random::new(5);
        for count in [1, 2, 3, 99, 100, 101, 5000] {
            let numbers: Vec<usize> = (0..count).map(|_| random.below(40) as usize).collect();
            let mut tally = Tally::default();
            numbers.iter().for_each(|number| tally.add(*number));
            let single = Distribution::new(numbers.iter().map(|number| *number as f64)).summary().unwrap();
            let all = tally.summary().unwrap();
            assert_eq!((all.p50, all.p99, all.max), (single.p50, single.p99, single.max));
            assert!((all.mean - single.mean).abs() < 1e-9);
        }
        assert_eq!(Tally::default().summary(), None);
    }
}
