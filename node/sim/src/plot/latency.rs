//! How long lookups took.

use plotters::chart::SeriesLabelPosition;
use plotters::element::{Circle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::Color;

use super::canvas::{Area, Fault, Picture};
use super::font::text;
use super::frame::{self, Axis, Chart};
use super::number::{measure, tick, ticks};
use super::palette::{BLUE, INK, PURPLE};
use crate::report::{Distribution, Report, Series};

/// Points of a curve: as many as make it smooth.
const POINTS: usize = 300;

/// The cumulative distribution of the time of lookups.
pub(super) struct Latencies<'a> {
    pub(super) report: &'a Report,
    pub(super) series: &'a Series,
}

impl Latencies<'_> {
    fn subtitle(&self) -> String {
        let run = frame::run_text(self.report);
        match (self.report.stretch_mean, self.series.lookup_ms.max()) {
            (Some(stretch), Some(max)) => {
                format!("{run}  ·  mean stretch {}  ·  slowest {} ms", measure(stretch), measure(max))
            }
            (None, Some(max)) => format!("{run}  ·  slowest {} ms", measure(max)),
            (_, None) => run,
        }
    }
}

impl Picture for Latencies<'_> {
    const NAME: &'static str = "latency";

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        let area = frame::paper(area, "Time of a lookup, from asking to the answer", &self.subtitle())?;
        let (lookups, direct) = (&self.series.lookup_ms, &self.series.direct_ms);
        let Some(p99) = lookups.percentile(99) else {
            return frame::nothing(&area, "no lookup was answered");
        };
        // The last per cent may be far away: the picture shows where nearly all are.
        let largest =
            (p99 * 1.25).min(lookups.max().unwrap_or(p99)).max(direct.percentile(99).unwrap_or(0.0)).max(1e-3);
        let x_ticks = ticks(largest, 8);
        let right = x_ticks[x_ticks.len() - 1];
        let x = Axis { name: "time, ms", range: 0.0..right, ticks: x_ticks, label: &tick };
        let y_ticks = (0..=5).map(|fifth| f64::from(fifth) * 20.0).collect();
        let y = Axis { name: "share that took no longer, %", range: 0.0..102.0, ticks: y_ticks, label: &tick };
        let mut chart = frame::axes(&area, &x, &y)?;
        if !direct.is_empty() {
            frame::dashes(&mut chart, curve(direct, right), PURPLE, "direct round trip between two nodes")?;
        }
        frame::line(&mut chart, curve(lookups, right), BLUE, "lookup")?;
        for (percent, name) in [(50, "median"), (90, "90 %"), (99, "99 %")] {
            point(&mut chart, lookups, percent, name, right)?;
        }
        frame::legend(&mut chart, SeriesLabelPosition::LowerRight)
    }
}

/// The share of samples at or below each of some of them, up to the right end of the picture.
fn curve(samples: &Distribution, right: f64) -> Vec<(f64, f64)> {
    let all = samples.samples();
    let step = all.len().div_ceil(POINTS).max(1);
    let share = |rank: usize| rank as f64 * 100.0 / all.len() as f64;
    let ranks = (0..all.len()).filter(|rank| rank.is_multiple_of(step) || rank + 1 == all.len());
    let mut points: Vec<(f64, f64)> = vec![(0.0, 0.0)];
    points.extend(ranks.map(|rank| (all[rank], share(rank + 1))).take_while(|(time, _)| *time <= right));
    // Up to the right end nothing is added.
    if let Some((_, share)) = points.last().copied() {
        points.push((right, share));
    }
    points
}

/// Marks a percentile.
fn point<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    samples: &Distribution,
    percent: u32,
    name: &str,
    right: f64,
) -> Result<(), Fault> {
    let Some(time) = samples.percentile(percent).filter(|time| *time <= right) else { return Ok(()) };
    let at = (time, f64::from(percent));
    chart.draw_series([Circle::new(at, 12, BLUE.filled())])?;
    let place = (time + right * 0.012, at.1 - 1.5);
    let style = text(36, INK);
    chart.draw_series([Text::new(format!("{name}: {} ms", measure(time)), place, style)])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_to_all_samples_and_has_a_bound() {
        let samples = Distribution::new((0..100_000).map(f64::from));
        let curve = curve(&samples, 200_000.0);
        assert!(curve.len() <= POINTS + 3, "{}", curve.len());
        assert!(curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
        assert_eq!(curve.last(), Some(&(200_000.0, 100.0)));
    }

    #[test]
    fn a_curve_ends_where_the_picture_ends() {
        let samples = Distribution::new([1.0, 2.0, 3.0, 400.0]);
        assert_eq!(curve(&samples, 4.0), [(0.0, 0.0), (1.0, 25.0), (2.0, 50.0), (3.0, 75.0), (4.0, 75.0)]);
    }
}
