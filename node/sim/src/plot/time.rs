//! Virtual time along the bottom of a picture.

use core::ops::Range;

use super::frame::Axis;
use super::number::{tick, ticks};

/// The axis of time.
pub(super) struct Time {
    pub(super) seconds: Range<f64>,
    ticks: Vec<f64>,
    unit: f64,
}

impl Time {
    /// From one second to another, in seconds, minutes or hours.
    pub(super) fn over(seconds: Range<f64>) -> Time {
        let length = seconds.end - seconds.start;
        let unit = if length > 7200.0 {
            3600.0
        } else if length > 300.0 {
            60.0
        } else {
            1.0
        };
        let steps = ticks(length / unit, 10);
        let step = steps.get(1).copied().unwrap_or(1.0) * unit;
        let first = (seconds.start / step).ceil() as u64;
        let last = (seconds.end / step).floor() as u64;
        let ticks = (first..=last).map(|tick| tick as f64 * step).collect();
        Time { seconds, ticks, unit }
    }

    /// What the axis is called, with the unit.
    pub(super) fn name(&self) -> String {
        let unit = if self.unit > 60.0 {
            "h"
        } else if self.unit > 1.0 {
            "min"
        } else {
            "s"
        };
        format!("virtual time, {unit}")
    }

    /// The axis, with this name.
    pub(super) fn axis<'a>(&'a self, name: &'a str) -> Axis<'a> {
        Axis { name, range: self.seconds.clone(), ticks: self.ticks.clone(), label: self.label() }
    }

    fn label(&self) -> &'static dyn Fn(&f64) -> String {
        if self.unit > 60.0 {
            &|second| tick(&(second / 3600.0))
        } else if self.unit > 1.0 {
            &|second| tick(&(second / 60.0))
        } else {
            &tick
        }
    }
}
