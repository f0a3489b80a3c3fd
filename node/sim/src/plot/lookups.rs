//! Lookups over time, through whatever happened to the ring.

mod buckets;

use plotters::chart::SeriesLabelPosition;
use plotters::element::Text;
use plotters::prelude::DrawingBackend;
use plotters::series::DashedLineSeries;
use plotters::style::ShapeStyle;

use super::canvas::{Area, Fault, Picture};
use super::font::text;
use super::frame::{self, Axis, Chart};
use super::number::{measure, tick, ticks};
use super::palette::{BLUE, GREEN, INK, ORANGE, PALE};
use super::time::Time;
use crate::report::{Mark, Report, Series};
use buckets::Buckets;

/// Height of the upper part, in units of the canvas.
const UPPER: u32 = 780;
/// Marks that are shown, the first ones.
const MAX_MARKS: usize = 12;

/// Lookups asked, answered and answered correctly, as a rate and as a share of those asked.
pub(super) struct Lookups<'a> {
    pub(super) report: &'a Report,
    pub(super) series: &'a Series,
}

impl Picture for Lookups<'_> {
    const NAME: &'static str = "lookups";

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault> {
        let mut subtitle = frame::run_text(self.report);
        if let Some(heal) = self.report.heal_s {
            subtitle = format!("{subtitle}  ·  all right again after {} s", measure(heal));
        }
        let area = frame::paper(area, "Lookups over time", &subtitle)?;
        let Some(buckets) = Buckets::of(&self.series.seconds) else {
            return frame::nothing(&area, "no lookup was asked");
        };
        let (upper, lower) = area.split_vertically(UPPER);
        let time = Time::over(buckets.span());
        self.rates(&upper, &buckets, &time)?;
        self.shares(&lower, &buckets, &time)
    }
}

impl Lookups<'_> {
    fn rates<B: DrawingBackend>(&self, area: &Area<B>, buckets: &Buckets, time: &Time) -> Result<(), Fault> {
        // Above the curves there is room for the marks' texts.
        let y_ticks = ticks(buckets.largest_rate() * 1.05, 4);
        let top = y_ticks[y_ticks.len() - 1] * 1.3;
        let y = Axis { name: "lookups a second", range: 0.0..top, ticks: y_ticks, label: &tick };
        let mut chart = frame::axes(area, &time.axis(""), &y)?;
        marks(&mut chart, &self.series.marks, time, top, true)?;
        frame::line(&mut chart, buckets.rate(|second| second.asked), PALE, "asked")?;
        frame::line(&mut chart, buckets.rate(|second| second.answered), BLUE, "answered")?;
        frame::line(&mut chart, buckets.rate(|second| second.correct), GREEN, "correct")?;
        frame::legend(&mut chart, SeriesLabelPosition::LowerRight)
    }

    fn shares<B: DrawingBackend>(&self, area: &Area<B>, buckets: &Buckets, time: &Time) -> Result<(), Fault> {
        let (answered, correct) = (buckets.share(|second| second.answered), buckets.share(|second| second.correct));
        let bottom = bottom(answered.iter().chain(&correct).map(|(_, share)| *share));
        let span = 100.0 - bottom;
        let y_ticks = (0..=4).map(|quarter| bottom + span * f64::from(quarter) / 4.0).collect();
        let range = bottom - span * 0.03..100.0 + span * 0.06;
        let y = Axis { name: "of those asked, %", range: range.clone(), ticks: y_ticks, label: &tick };
        let mut chart = frame::axes(area, &time.axis(&time.name()), &y)?;
        marks(&mut chart, &self.series.marks, time, range.end, false)?;
        frame::line(&mut chart, answered, BLUE, "answered")?;
        frame::line(&mut chart, correct, GREEN, "correct")?;
        frame::legend(&mut chart, SeriesLabelPosition::LowerRight)
    }
}

/// The lower end of an axis of shares on which small losses can be seen.
fn bottom(shares: impl Iterator<Item = f64>) -> f64 {
    let least = shares.fold(100.0, f64::min);
    [99.0, 98.0, 96.0, 92.0, 80.0, 60.0].into_iter().find(|bottom| least >= *bottom).unwrap_or(0.0)
}

/// Lines where something happened, with what it was above the curves, each a little lower than the one before.
fn marks<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    marks: &[Mark],
    time: &Time,
    top: f64,
    with_text: bool,
) -> Result<(), Fault> {
    let length = time.seconds.end - time.seconds.start;
    let shown = marks.iter().filter(|mark| time.seconds.contains(&mark.at_s)).take(MAX_MARKS);
    for (number, mark) in shown.enumerate() {
        let style = ShapeStyle::from(&ORANGE).stroke_width(3);
        let line = vec![(mark.at_s, 0.0), (mark.at_s, top)];
        chart.draw_series(DashedLineSeries::new(line, 10, 10, style))?;
        if with_text {
            let height = top * (0.99 - 0.065 * (number % 3) as f64);
            let short: String = mark.text.chars().take(40).collect();
            // Near the right end the text stands before its line.
            let late = mark.at_s > time.seconds.end - length * 0.25;
            let style = text(34, INK).pos(side(late));
            let place = mark.at_s + if late { -0.005 } else { 0.005 } * length;
            chart.draw_series([Text::new(short, (place, height), style)])?;
        }
    }
    Ok(())
}

fn side(late: bool) -> plotters::style::text_anchor::Pos {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    Pos::new(if late { HPos::Right } else { HPos::Left }, VPos::Top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_of_shares_shows_small_losses() {
        assert_eq!(
            [100.0, 99.4, 97.0, 50.0, 0.0].map(|least| bottom([100.0, least].into_iter())),
            [99.0, 99.0, 96.0, 0.0, 0.0]
        );
        assert_eq!(bottom(std::iter::empty()), 99.0);
    }
}
