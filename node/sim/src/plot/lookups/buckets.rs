//! Seconds put together, so that a curve is no noise.

use core::ops::Range;

use crate::report::Second;

/// Widths of a bucket, in seconds.
const WIDTHS: [usize; 12] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
/// Most buckets.
const MAX: usize = 180;
/// Lookups that a bucket should have on average: fewer are noise.
const ENOUGH: u64 = 50;

/// Consecutive seconds in groups of the same length.
pub(super) struct Buckets {
    /// The second at which the first begins.
    start: usize,
    width: usize,
    sums: Vec<Second>,
}

impl Buckets {
    /// From the first second in which a lookup was asked to the last; none where there is no such second.
    pub(super) fn of(seconds: &[Second]) -> Option<Buckets> {
        let asked = |second: &Second| second.asked > 0;
        let (start, last) = (seconds.iter().position(asked)?, seconds.iter().rposition(asked)?);
        let seconds = &seconds[start..=last];
        let total: u64 = seconds.iter().map(|second| second.asked).sum();
        let fits = |width: &usize| {
            let count = seconds.len().div_ceil(*width);
            count <= 8 || (count <= MAX && total / count as u64 >= ENOUGH)
        };
        let widest = seconds.len().div_ceil(MAX);
        let width = WIDTHS.into_iter().find(fits).unwrap_or(widest);
        let sums = seconds.chunks(width).map(sum).collect();
        Some(Buckets { start, width, sums })
    }

    /// All of the time, in seconds.
    pub(super) fn span(&self) -> Range<f64> {
        let start = self.start as f64;
        start..start + (self.sums.len() * self.width) as f64
    }

    /// The largest number of lookups a second.
    pub(super) fn largest_rate(&self) -> f64 {
        let largest = self.sums.iter().map(|sum| sum.asked).max().unwrap_or(0);
        largest as f64 / self.width as f64
    }

    /// How many a second, as points in the middle of each bucket.
    pub(super) fn rate(&self, of: impl Fn(&Second) -> u64) -> Vec<(f64, f64)> {
        self.points(|sum| Some(of(sum) as f64 / self.width as f64))
    }

    /// Per cent of those asked; nothing where none was.
    pub(super) fn share(&self, of: impl Fn(&Second) -> u64) -> Vec<(f64, f64)> {
        self.points(|sum| (sum.asked > 0).then(|| of(sum) as f64 * 100.0 / sum.asked as f64))
    }

    fn points(&self, of: impl Fn(&Second) -> Option<f64>) -> Vec<(f64, f64)> {
        let middle = |bucket: usize| self.start as f64 + (bucket as f64 + 0.5) * self.width as f64;
        self.sums.iter().enumerate().filter_map(|(bucket, sum)| Some((middle(bucket), of(sum)?))).collect()
    }
}

fn sum(seconds: &[Second]) -> Second {
    seconds.iter().fold(Second::default(), |sum, second| Second {
        asked: sum.asked + second.asked,
        answered: sum.answered + second.answered,
        correct: sum.correct + second.correct,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(asked: u64, correct: u64) -> Second {
        Second { asked, answered: asked, correct }
    }

    #[test]
    fn silence_before_and_after_is_cut_off() {
        let mut seconds = vec![second(0, 0); 100];
        seconds.extend([second(40, 30), second(20, 20)]);
        seconds.extend([second(0, 0); 50]);
        let buckets = Buckets::of(&seconds).expect("lookups");
        assert_eq!(buckets.span(), 100.0..102.0);
        assert_eq!(buckets.rate(|second| second.asked), [(100.5, 40.0), (101.5, 20.0)]);
        assert_eq!(buckets.share(|second| second.correct), [(100.5, 75.0), (101.5, 100.0)]);
        assert!(Buckets::of(&[second(0, 0); 9]).is_none());
        assert!(Buckets::of(&[]).is_none());
    }

    #[test]
    fn a_long_run_has_few_buckets_and_loses_no_lookup() {
        for (length, rate) in [(7200, 2), (1_000_000, 1), (600, 100), (30, 0)] {
            let seconds: Vec<Second> = (0..length).map(|at| second(rate + u64::from(at == 0), 0)).collect();
            let buckets = Buckets::of(&seconds).expect("lookups");
            assert!(buckets.sums.len() <= MAX, "{length}: {}", buckets.sums.len());
            let total: u64 = buckets.sums.iter().map(|sum| sum.asked).sum();
            assert_eq!(total, rate * length + 1);
        }
    }
}
