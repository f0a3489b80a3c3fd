//! How many nodes have how much load.

use plotters::element::{Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::Color;

use crate::plot::canvas::{Area, Fault};
use crate::plot::font::text;
use crate::plot::frame::{self, Axis};
use crate::plot::number::{measure, tick, ticks};
use crate::plot::palette::{GREY, INK, scale};
use crate::report::Distribution;

/// Bars of the histogram.
const BARS: usize = 30;
/// Height of the figures above it, in units of the canvas.
const FIGURES: u32 = 470;

/// Draws the figures and the histogram; colours are those of the circle.
pub(super) fn draw<B: DrawingBackend>(
    area: &Area<B>,
    messages: &Distribution,
    connections: &Distribution,
    full: f64,
) -> Result<(), Fault> {
    let (upper, lower) = area.split_vertically(FIGURES);
    figures(&upper, messages, connections)?;
    chart(&lower, messages, full, "messages handed on by a node")
}

/// Draws the histogram, with this text below it.
pub(in crate::plot) fn chart<B: DrawingBackend>(
    area: &Area<B>,
    messages: &Distribution,
    full: f64,
    name: &str,
) -> Result<(), Fault> {
    let largest = messages.max().unwrap_or(0.0).min(full * 1.5).max(1.0);
    let x_ticks = ticks(largest, 5);
    let right = x_ticks[x_ticks.len() - 1];
    let bars = bars(messages, right);
    let y_ticks = ticks(bars.iter().copied().max().unwrap_or(1) as f64 * 1.05, 4);
    let top = y_ticks[y_ticks.len() - 1];
    let x = Axis { name, range: 0.0..right, ticks: x_ticks, label: &tick };
    let y = Axis { name: "nodes", range: 0.0..top, ticks: y_ticks, label: &tick };
    let mut chart = frame::axes(area, &x, &y)?;
    let width = right / BARS as f64;
    chart.draw_series(bars.iter().enumerate().filter(|(_, nodes)| **nodes > 0).map(|(bar, nodes)| {
        let (left, middle) = (bar as f64 * width, (bar as f64 + 0.5) * width);
        Rectangle::new([(left, 0.0), (left + width * 0.92, *nodes as f64)], scale(middle / full).filled())
    }))?;
    Ok(())
}

/// Nodes by load, in equal steps; the last bar has also what lies beyond.
fn bars(messages: &Distribution, right: f64) -> Vec<u64> {
    let mut bars = vec![0; BARS];
    for load in messages.samples() {
        bars[((load / right * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    bars
}

fn figures<B: DrawingBackend>(
    area: &Area<B>,
    messages: &Distribution,
    connections: &Distribution,
) -> Result<(), Fault> {
    let (Some(load), Some(links)) = (messages.summary(), connections.summary()) else { return Ok(()) };
    let even = if load.mean > 0.0 { measure(load.max / load.mean) } else { "-".to_owned() };
    let groups = [
        ("Messages of a node", [("mean", measure(load.mean)), ("99 %", measure(load.p99)), ("most / mean", even)]),
        (
            "Connections of a node",
            [("mean", measure(links.mean)), ("99 %", measure(links.p99)), ("most", measure(links.max))],
        ),
    ];
    for (row, (title, figures)) in (0..).zip(groups) {
        let top = 30 + row * 200;
        area.draw(&Text::new(title, (60, top), text(42, INK)))?;
        for (column, (name, value)) in (0..).zip(figures) {
            let left = 60 + column * 290;
            area.draw(&Text::new(value, (left, top + 64), text(52, INK)))?;
            area.draw(&Text::new(name, (left, top + 124), text(34, GREY)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_in_one_bar() {
        let messages = Distribution::new((0..1000).map(|load| f64::from(load) / 10.0));
        let bars = bars(&messages, 60.0);
        assert_eq!(bars.iter().sum::<u64>(), 1000);
        assert_eq!((bars[0], bars[BARS - 1]), (20, 420));
    }
}
