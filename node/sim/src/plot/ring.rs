//! Nodes on the ring, and how much each has to do.

mod dial;
pub(super) mod histogram;

use plotters::prelude::DrawingBackend;

use super::canvas::{Area, Fault, Picture};
use super::frame;
use crate::report::{Distribution, Report, Series};

/// Width of the part with the circle, in units of the canvas.
const CIRCLE: u32 = 1340;

/// A circle of nodes, and the distribution of their load.
pub(super) struct Ring<'a> {
    pub(super) report: &'a Report,
    pub(super) series: &'a Series,
}

impl Picture for Ring<'_> {
    const NAME: &'static str = "ring";

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        let area = frame::paper(area, "The ring, and the load of its nodes", &frame::run_text(self.report))?;
        let nodes = &self.series.load;
        if nodes.is_empty() {
            return frame::nothing(&area, "no node lives");
        }
        let messages = Distribution::new(nodes.iter().map(|node| node.messages as f64));
        // Beyond the 99th percentile all have the last colour: one busy node must not make all others pale.
        let full = messages.percentile(99).unwrap_or(0.0).max(1.0);
        let (left, right) = area.split_horizontally(CIRCLE);
        dial::draw(&left, nodes, full)?;
        let connections = Distribution::new(nodes.iter().map(|node| node.connections as f64));
        histogram::draw(&right, &messages, &connections, full)
    }
}
