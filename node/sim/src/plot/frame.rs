//! What all pictures have in common: paper, titles, axes, legends.

use core::ops::Range;

use plotters::chart::{ChartBuilder, ChartContext, SeriesLabelPosition};
use plotters::element::{DashedPathElement, PathElement, Rectangle, Text};
use plotters::prelude::{Cartesian2d, DrawingBackend};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor, ShapeStyle, WHITE};

use super::canvas::{Area, Fault};
use super::font::text;
use super::number::count;
use super::palette::{GREY, GRID, INK};
use super::scale::Scale;
use crate::report::Report;

/// Space around everything, in units of the canvas.
const MARGIN: i32 = 60;
/// Height of the titles.
const HEAD: u32 = 210;
const SMALL: i32 = 36;

/// Axes of numbers, with the ticks that each picture chooses.
pub(super) type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<Scale, Scale>>;

/// One axis.
pub(super) struct Axis<'a> {
    /// What it shows, with the unit.
    pub(super) name: &'a str,
    /// From where to where.
    pub(super) range: Range<f64>,
    /// Where there are numbers.
    pub(super) ticks: Vec<f64>,
    /// A tick's text.
    pub(super) label: &'a dyn Fn(&f64) -> String,
}

/// Clean paper with titles; returns the part below them.
pub(super) fn paper<B: DrawingBackend>(area: &Area<B>, title: &str, subtitle: &str) -> Result<Area<B>, Fault> {
    area.fill(&WHITE)?;
    area.draw(&Text::new(title.to_owned(), (MARGIN, 50), text(64, INK)))?;
    area.draw(&Text::new(subtitle.to_owned(), (MARGIN, 136), text(SMALL, GREY)))?;
    let (_, body) = area.split_vertically(HEAD);
    Ok(body.margin(0, MARGIN / 2, MARGIN / 2, MARGIN))
}

/// What ran, in a line.
pub(super) fn run_text(report: &Report) -> String {
    let (nodes, lookups) = (count(report.nodes.into()), count(report.lookups.asked));
    format!("{}  ·  {nodes} nodes  ·  {lookups} lookups  ·  seed {}", report.scenario, report.seed)
}

/// Says why there is nothing to see.
pub(super) fn nothing<B: DrawingBackend>(area: &Area<B>, why: &str) -> Result<(), Fault> {
    let (width, height) = area.dim_in_pixel();
    let middle = text(44, GREY).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new(why.to_owned(), (width as i32 / 2, height as i32 / 2), middle))?;
    Ok(())
}

/// Draws axes and a grid; returns what to draw on.
pub(super) fn axes<'a, B: DrawingBackend>(area: &Area<B>, x: &Axis<'_>, y: &Axis<'_>) -> Result<Chart<'a, B>, Fault> {
    let mut chart = ChartBuilder::on(area)
        .x_label_area_size(130)
        .y_label_area_size(190)
        .margin_right(30)
        .margin_top(20)
        .build_cartesian_2d(
            Scale::new(x.range.clone(), x.ticks.clone()),
            Scale::new(y.range.clone(), y.ticks.clone()),
        )?;
    chart
        .configure_mesh()
        .light_line_style(GRID.mix(0.0))
        .bold_line_style(ShapeStyle::from(&GRID).stroke_width(2))
        .axis_style(ShapeStyle::from(&GREY).stroke_width(2))
        .label_style(text(SMALL, INK))
        .axis_desc_style(text(40, INK))
        .x_desc(x.name)
        .y_desc(y.name)
        .x_labels(x.ticks.len().max(1))
        .y_labels(y.ticks.len().max(1))
        .x_label_formatter(x.label)
        .y_label_formatter(y.label)
        .set_all_tick_mark_size(10)
        .draw()?;
    Ok(chart)
}

/// A line with an entry in the legend.
pub(super) fn line<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
    name: &str,
) -> Result<(), Fault> {
    let style = ShapeStyle::from(&colour).stroke_width(6);
    let series = chart.draw_series(LineSeries::new(points, style))?;
    series.label(name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 60, y)], style));
    Ok(())
}

/// A dashed line with an entry in the legend.
pub(super) fn dashes<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
    name: &str,
) -> Result<(), Fault> {
    let style = ShapeStyle::from(&colour).stroke_width(5);
    let series = chart.draw_series(DashedLineSeries::new(points, 18, 12, style))?;
    series.label(name).legend(move |(x, y)| DashedPathElement::new([(x, y), (x + 60, y)], 18, 3, style));
    Ok(())
}

/// An entry of the legend for something filled.
pub(super) fn swatch(colour: RGBColor) -> impl Fn((i32, i32)) -> Rectangle<(i32, i32)> {
    move |(x, y)| Rectangle::new([(x, y - 16), (x + 60, y + 16)], colour.filled())
}

/// Draws the legend.
pub(super) fn legend<'a, B: DrawingBackend + 'a>(
    chart: &mut Chart<'a, B>,
    at: SeriesLabelPosition,
) -> Result<(), Fault> {
    chart
        .configure_series_labels()
        .position(at)
        .margin(30)
        .legend_area_size(90)
        .label_font(text(SMALL, INK))
        .background_style(WHITE.mix(0.9))
        .border_style(ShapeStyle::from(&GRID).stroke_width(2))
        .draw()?;
    Ok(())
}
