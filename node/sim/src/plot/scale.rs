//! From numbers to places on a picture.

use core::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// A linear scale whose ticks the picture chooses.
pub(super) struct Scale {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Scale {
    /// A scale from the range's start to its end; an empty range becomes one from its start.
    pub(super) fn new(range: Range<f64>, ticks: Vec<f64>) -> Scale {
        let range = if range.start < range.end { range } else { range.start..range.start + 1.0 };
        Scale { range, ticks }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        low + (share * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        let inside = |tick: &&f64| (self.range.start..=self.range.end).contains(*tick);
        self.ticks.iter().filter(inside).copied().collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

#[cfg(test)]
mod tests {
    use plotters::coord::ranged1d::BoldPoints;

    use super::*;

    #[test]
    fn numbers_have_their_places_and_ticks_stay_inside() {
        let scale = Scale::new(10.0..20.0, vec![5.0, 10.0, 15.0, 20.0, 25.0]);
        assert_eq!([10.0, 15.0, 20.0].map(|value| scale.map(&value, (100, 300))), [100, 200, 300]);
        assert_eq!(scale.key_points(BoldPoints(2)), [10.0, 15.0, 20.0]);
        // Downwards, as screens count.
        assert_eq!(scale.map(&12.0, (500, 0)), 400);
        assert_eq!(Scale::new(3.0..3.0, Vec::new()).map(&3.0, (7, 9)), 7);
    }
}
