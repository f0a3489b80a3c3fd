//! The circle.

use core::f64::consts::TAU;

use plotters::element::{Circle, PathElement, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, ShapeStyle};

use crate::plot::canvas::{Area, Fault};
use crate::plot::font::text;
use crate::plot::number::count;
use crate::plot::palette::{GREY, GRID, INK, scale};
use crate::report::Load;

/// Places on the circle that can be told apart. With more nodes, those of one place are shown by their mean.
const PLACES: usize = 1080;
/// Radius of the ring, in units of the canvas.
const RADIUS: f64 = 450.0;
/// Length of the ray of a node with the full load; others in proportion, up to twice that.
const RAY: f64 = 95.0;

/// Draws each node where it is on the ring, from the top clockwise, with a ray for its load.
pub(super) fn draw<B: DrawingBackend>(area: &Area<B>, nodes: &[Load], full: f64) -> Result<(), Fault> {
    let (width, height) = area.dim_in_pixel();
    let middle = (width as i32 / 2, height as i32 / 2);
    area.draw(&Circle::new(middle, RADIUS as i32, ShapeStyle::from(&GRID).stroke_width(4)))?;
    let at = |position: f64, radius: f64| {
        let (sin, cos) = (position * TAU).sin_cos();
        (middle.0 + (radius * sin).round() as i32, middle.1 - (radius * cos).round() as i32)
    };
    let places = places(nodes);
    let crowded = places.len() > 200;
    for (position, load) in &places {
        let share = load / full;
        let colour = scale(share);
        let ray = vec![at(*position, RADIUS), at(*position, RADIUS + RAY * share.min(2.0))];
        area.draw(&PathElement::new(ray, ShapeStyle::from(&colour).stroke_width(if crowded { 3 } else { 6 })))?;
        let size = if crowded { 4 } else { 12 };
        area.draw(&Circle::new(at(*position, RADIUS), size, colour.filled()))?;
    }
    quarters(area, at)?;
    let centre = Pos::new(HPos::Center, VPos::Center);
    let number = count(nodes.len() as u64);
    area.draw(&Text::new(number, (middle.0, middle.1 - 50), text(90, INK).pos(centre)))?;
    let what = if nodes.len() == 1 { "node" } else { "nodes" };
    area.draw(&Text::new(what, (middle.0, middle.1 + 40), text(44, GREY).pos(centre)))?;
    Ok(())
}

/// Where on the ring the quarters begin.
fn quarters<B: DrawingBackend>(area: &Area<B>, at: impl Fn(f64, f64) -> (i32, i32)) -> Result<(), Fault> {
    let centre = Pos::new(HPos::Center, VPos::Center);
    for (quarter, name) in ["0", "¼ · 2¹⁶⁰", "½ · 2¹⁶⁰", "¾ · 2¹⁶⁰"].into_iter().enumerate() {
        let inside = if quarter % 2 == 0 { 50.0 } else { 100.0 };
        let place = at(quarter as f64 / 4.0, RADIUS - inside);
        area.draw(&Text::new(name, place, text(32, GREY).pos(centre)))?;
    }
    Ok(())
}

/// Positions and loads: of each node, or the means of those that share a place.
fn places(nodes: &[Load]) -> Vec<(f64, f64)> {
    if nodes.len() <= PLACES {
        return nodes.iter().map(|node| (node.position, node.messages as f64)).collect();
    }
    let mut sums = vec![(0_u64, 0_u64); PLACES];
    for node in nodes {
        let place = (node.position.clamp(0.0, 1.0) * PLACES as f64) as usize % PLACES;
        sums[place].0 += node.messages;
        sums[place].1 += 1;
    }
    let mean = |(place, (messages, nodes)): (usize, &(u64, u64))| {
        (*nodes > 0).then(|| ((place as f64 + 0.5) / PLACES as f64, *messages as f64 / *nodes as f64))
    };
    sums.iter().enumerate().filter_map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_nodes_are_shown_by_the_mean_of_their_place() {
        let node = |position, messages| Load { position, messages, connections: 0 };
        assert_eq!(places(&[node(0.25, 3)]), [(0.25, 3.0)]);
        // Twice as many as places, and each pair has the mean 5.
        let count = 2 * PLACES;
        let many: Vec<Load> =
            (0..count).map(|at| node((at as f64 + 0.25) / count as f64, if at % 2 == 0 { 0 } else { 10 })).collect();
        let places = places(&many);
        assert_eq!(places.len(), PLACES);
        assert!(places.iter().all(|(_, load)| (load - 5.0).abs() < 1e-9));
    }
}
