//! How many hops lookups took.

use plotters::chart::SeriesLabelPosition;
use plotters::element::Rectangle;
use plotters::prelude::DrawingBackend;
use plotters::style::Color;

use super::canvas::{Area, Fault, Picture};
use super::frame::{self, Axis};
use super::number::{measure, tick, ticks};
use super::palette::{BLUE, GREEN, ORANGE};
use crate::report::{Report, Series};

/// Bars with at most this many numbers below them.
const MAX_LABELS: usize = 24;

/// A histogram of hops.
pub(super) struct Hops<'a> {
    pub(super) report: &'a Report,
    pub(super) series: &'a Series,
}

/// What Chord takes on average where identifiers are spread evenly: half of log2 N (SIGCOMM 2001, section 6.3).
pub(super) fn ideal(nodes: u32) -> f64 {
    f64::from(nodes.max(1)).log2() / 2.0
}

impl Picture for Hops<'_> {
    const NAME: &'static str = "hops";

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        let area = frame::paper(area, "Hops of a lookup", &frame::run_text(self.report))?;
        let counts = &self.series.hops;
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return frame::nothing(&area, "no lookup was answered");
        }
        let share = |count: u64| count as f64 * 100.0 / total as f64;
        let last = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        let ideal = ideal(self.report.nodes);
        let right = (last as f64).max(ideal.ceil()) + 0.7;
        let y_ticks = ticks(share(counts.iter().copied().max().unwrap_or(0)) * 1.08, 5);
        let top = y_ticks[y_ticks.len() - 1];
        let step = (right as usize / MAX_LABELS) + 1;
        let x_ticks = (0..=right as usize).step_by(step).map(|hop| hop as f64).collect();
        let x = Axis { name: "hops", range: -0.7..right, ticks: x_ticks, label: &tick };
        let y = Axis { name: "share of lookups, %", range: 0.0..top, ticks: y_ticks, label: &tick };
        let mut chart = frame::axes(&area, &x, &y)?;
        let bars = counts.iter().take(last + 1).enumerate().filter(|(_, count)| **count > 0);
        let bars = bars.map(|(hop, count)| {
            Rectangle::new([(hop as f64 - 0.42, 0.0), (hop as f64 + 0.42, share(*count))], BLUE.mix(0.85).filled())
        });
        chart.draw_series(bars)?.label("lookups").legend(frame::swatch(BLUE));
        let sum: u64 = counts.iter().zip(0..).map(|(count, hop): (_, u64)| count * hop).sum();
        let mean = sum as f64 / total as f64;
        let name = format!("mean: {}", measure(mean));
        frame::line(&mut chart, vec![(mean, 0.0), (mean, top)], ORANGE, &name)?;
        let name = format!("½ log₂ N: {}", measure(ideal));
        frame::dashes(&mut chart, vec![(ideal, 0.0), (ideal, top)], GREEN, &name)?;
        frame::legend(&mut chart, SeriesLabelPosition::UpperRight)
    }
}
