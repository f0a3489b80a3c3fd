//! Hops against the size of the ring.

use std::collections::BTreeMap;

use plotters::chart::SeriesLabelPosition;
use plotters::element::Circle;
use plotters::prelude::DrawingBackend;
use plotters::style::Color;

use super::canvas::{Area, Fault, Picture};
use super::frame::{self, Axis};
use super::hops::ideal;
use super::number::{count, measure, ticks};
use super::palette::{BLUE, GREEN, ORANGE};
use crate::report::{Report, Summary};

/// Sizes with a number below them.
const MAX_LABELS: usize = 10;

/// Mean and 99th percentile of hops of runs with several sizes.
pub(super) struct Sizes<'a> {
    pub(super) reports: &'a [Report],
}

impl Picture for Sizes<'_> {
    const NAME: &'static str = "sizes";

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        let scenario = self.reports.first().map_or("", |report| report.scenario.as_str());
        let runs = if self.reports.len() == 1 { "run" } else { "runs" };
        let subtitle = format!("{scenario}  ·  {} {runs}", self.reports.len());
        let area = frame::paper(area, "Hops against the size of the ring", &subtitle)?;
        let sizes = self.by_size();
        let (Some(first), Some(last)) = (sizes.keys().next(), sizes.keys().next_back()) else {
            return frame::nothing(&area, "no lookup was answered");
        };
        let (left, right) = ((log2(*first) - 0.5).max(-0.5), log2(*last) + 0.5);
        let largest = sizes.values().flatten().map(|hops| hops.p99).fold(ideal(*last), f64::max);
        let y_ticks = ticks(largest * 1.1, 6);
        let top = y_ticks[y_ticks.len() - 1];
        let step = sizes.len().div_ceil(MAX_LABELS);
        let x_ticks = sizes.keys().step_by(step).map(|nodes| log2(*nodes)).collect();
        let label = |log: &f64| count(log.exp2().round() as u64);
        let x = Axis { name: "nodes (log₂ scale)", range: left..right, ticks: x_ticks, label: &label };
        let y = Axis { name: "hops", range: 0.0..top, ticks: y_ticks, label: &|hops| measure(*hops) };
        let mut chart = frame::axes(&area, &x, &y)?;
        let ends = [left.max(0.0), right];
        frame::dashes(&mut chart, ends.map(|log| (log, log / 2.0)).to_vec(), GREEN, "½ log₂ N")?;
        for (colour, name, of) in [(ORANGE, "99 %", p99 as fn(&Summary) -> f64), (BLUE, "mean", mean)] {
            let means = sizes.iter().map(|(nodes, runs)| (log2(*nodes), average(runs, of)));
            frame::line(&mut chart, means.collect(), colour, name)?;
            let each = sizes.iter().flat_map(|(nodes, runs)| runs.iter().map(|run| (log2(*nodes), of(run))));
            chart.draw_series(each.map(|point| Circle::new(point, 11, colour.filled())))?;
        }
        frame::legend(&mut chart, SeriesLabelPosition::UpperLeft)
    }
}

impl Sizes<'_> {
    /// The hops of the runs of each size.
    fn by_size(&self) -> BTreeMap<u32, Vec<Summary>> {
        let mut sizes = BTreeMap::<u32, Vec<Summary>>::new();
        for report in self.reports {
            if let Some(hops) = report.hops {
                sizes.entry(report.nodes).or_default().push(hops);
            }
        }
        sizes
    }
}

fn log2(nodes: u32) -> f64 {
    f64::from(nodes.max(1)).log2()
}

fn mean(hops: &Summary) -> f64 {
    hops.mean
}

fn p99(hops: &Summary) -> f64 {
    hops.p99
}

fn average(runs: &[Summary], of: impl Fn(&Summary) -> f64) -> f64 {
    runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64
}
