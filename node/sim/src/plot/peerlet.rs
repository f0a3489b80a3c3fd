//! An application on the ring: where it has come to, and what each node has to do for it.

use plotters::prelude::DrawingBackend;

use super::canvas::{Area, Fault, Picture};
use super::frame::{self, Axis};
use super::number::{count, measure, tick, ticks};
use super::palette::BLUE;
use super::ring::histogram;
use super::time::Time;
use crate::report::{AppSeries, Distribution, PeerletReport, Report};

/// Height of the upper part, in units of the canvas.
const UPPER: u32 = 680;
/// Points of the curve that can be told apart.
const POINTS: usize = 2000;

/// The nodes that run an application over time, and the distribution of its messages over the nodes.
pub(super) struct OnTheRing<'a> {
    pub(super) report: &'a Report,
    pub(super) peerlet: &'a PeerletReport,
    pub(super) series: &'a AppSeries,
}

impl Picture for OnTheRing<'_> {
    const NAME: &'static str = "peerlet";

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        let peerlet = self.peerlet;
        let title = format!("{} {} on the ring", peerlet.name, peerlet.version);
        let mut subtitle = format!("{}  ·  {} nodes", self.report.scenario, count(self.report.nodes.into()));
        for (asked, what) in [(peerlet.messages.asked, "messages"), (peerlet.calls.asked, "calls")] {
            if asked > 0 {
                subtitle = format!("{subtitle}  ·  {} {what}", count(asked));
            }
        }
        subtitle = format!("{subtitle}  ·  seed {}", self.report.seed);
        let messages = Distribution::new(self.series.messages.iter().map(|count| *count as f64));
        if let Some(load) = messages.summary().filter(|load| load.mean > 0.0) {
            subtitle = format!("{subtitle}  ·  most / mean load {}", measure(load.max / load.mean));
        }
        let area = frame::paper(area, &title, &subtitle)?;
        let (upper, lower) = area.split_vertically(UPPER);
        self.running(&upper)?;
        let full = messages.percentile(99).unwrap_or(0.0).max(1.0);
        histogram::chart(&lower, &messages, full, "messages of the application handled by a node")
    }
}

impl OnTheRing<'_> {
    fn running<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        let (began, ends) = self.series.span_s;
        let first = self.series.running.first().map_or(began, |(at, _)| at.min(began));
        let last = self.series.running.last().map_or(ends, |(at, _)| at.max(ends));
        let time = Time::over(first..last.max(first + 1.0));
        let most = self.series.running.iter().map(|(_, nodes)| *nodes).max().unwrap_or(0);
        let y_ticks = ticks(most as f64 * 1.05, 4);
        let top = y_ticks[y_ticks.len() - 1];
        let y = Axis { name: "nodes that run it", range: 0.0..top, ticks: y_ticks, label: &tick };
        let name = time.name();
        let mut chart = frame::axes(area, &time.axis(&name), &y)?;
        frame::line(&mut chart, steps(&self.series.running, last), BLUE, "")
    }
}

/// The curve of a number that stays as it is until it changes, as far as `last`.
fn steps(changes: &[(f64, u64)], last: f64) -> Vec<(f64, f64)> {
    let every = changes.len().div_ceil(POINTS).max(1);
    let mut points = Vec::new();
    let mut before = 0.0;
    for (at, number) in changes.iter().step_by(every).chain(changes.last()) {
        points.extend([(*at, before), (*at, *number as f64)]);
        before = *number as f64;
    }
    points.push((last, before));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_until_it_changes() {
        let points = steps(&[(1.0, 1), (2.0, 3)], 9.0);
        assert_eq!(points[..4], [(1.0, 0.0), (1.0, 1.0), (2.0, 1.0), (2.0, 3.0)]);
        assert_eq!(points.last(), Some(&(9.0, 3.0)));
        let many: Vec<(f64, u64)> = (0..100_000).map(|at| (f64::from(at), 7)).collect();
        assert!(steps(&many, 1e5).len() <= 2 * POINTS + 4);
        assert_eq!(steps(&[], 1.0), [(1.0, 0.0)]);
    }
}
