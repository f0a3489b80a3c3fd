//! Samples, and what is said of them.

use serde::{Deserialize, Serialize};

/// Samples in rising order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    sorted: Vec<f64>,
}

/// The usual figures of a distribution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// The median: half of the samples are no larger.
    pub p50: f64,
    /// 99 of a hundred samples are no larger.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Distribution {
    /// The distribution of these samples. What is not a finite number does not count.
    pub fn new(samples: impl IntoIterator<Item = f64>) -> Distribution {
        let mut sorted: Vec<f64> = samples.into_iter().filter(|sample| sample.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        Distribution { sorted }
    }

    /// The samples, in rising order.
    pub fn samples(&self) -> &[f64] {
        &self.sorted
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The mean; none without samples. It is summed in rising order, so that the order of the samples does not count.
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.sorted.iter().sum::<f64>() / self.len() as f64)
    }

    /// The smallest sample that at least this many per cent of the samples do not exceed (nearest rank); the smallest
    /// of all for 0, the largest for 100 and more, none without samples.
    pub fn percentile(&self, percent: u32) -> Option<f64> {
        let rank = (self.len() as u64 * u64::from(percent.min(100))).div_ceil(100) as usize;
        self.sorted.get(rank.saturating_sub(1)).copied()
    }

    /// The largest sample.
    pub fn max(&self) -> Option<f64> {
        self.sorted.last().copied()
    }

    /// All of it; none without samples.
    pub fn summary(&self) -> Option<Summary> {
        let (mean, max) = (self.mean()?, self.max()?);
        Some(Summary { mean, p50: self.percentile(50)?, p99: self.percentile(99)?, max })
    }
}

impl FromIterator<f64> for Distribution {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Distribution {
        Distribution::new(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        for count in 1..250_u32 {
            let all = Distribution::new((1..=count).rev().map(f64::from));
            for percent in 0..=100 {
                // Naively: the smallest sample with enough samples at or below it.
                let enough = |sample: &u32| u64::from(*sample) * 100 >= u64::from(count) * u64::from(percent);
                let naive = (1..=count).find(enough).map(f64::from);
                assert_eq!(all.percentile(percent), naive, "{percent} % of {count}");
            }
        }
    }

    #[test]
    fn a_summary_is_exact() {
        let all = Distribution::new([4.0, 1.0, f64::NAN, 2.0, f64::INFINITY, 3.0]);
        assert_eq!(all.len(), 4);
        assert_eq!(all.summary(), Some(Summary { mean: 2.5, p50: 2.0, p99: 4.0, max: 4.0 }));
        assert_eq!(all.percentile(500), Some(4.0));
    }

    #[test]
    fn without_samples_there_is_nothing_to_say() {
        let none = Distribution::default();
        assert_eq!((none.mean(), none.percentile(50), none.max(), none.summary()), (None, None, None, None));
    }
}
