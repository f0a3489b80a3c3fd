//! Values of a study's file that must be in range.

use core::fmt::Display;
use core::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::span;
use crate::scenario::options::Options;

fn within<'de, D: Deserializer<'de>, T: Deserialize<'de> + PartialOrd + Display>(
    deserializer: D,
    low: T,
    high: T,
) -> Result<T, D::Error> {
    let value = T::deserialize(deserializer)?;
    if value >= low && value <= high {
        return Ok(value);
    }
    Err(D::Error::custom(format_args!("{value} is not in {low} to {high}")))
}

pub(super) fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    within(deserializer, 0.0, 1.0)
}

pub(in crate::scenario) fn half<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    within(deserializer, 0.0, 0.5)
}

pub(super) fn some_share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    share(deserializer).map(Some)
}

pub(super) fn loss<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    within(deserializer, 0.0, 0.5).map(Some)
}

pub(super) fn burst<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    within(deserializer, 0.0, 1000.0).map(Some)
}

pub(super) fn nodes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    within(deserializer, 1, Options::MAX_NODES).map(Some)
}

pub(super) fn askers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    within(deserializer, 1, 100).map(Some)
}

pub(super) fn parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    within(deserializer, 1, 8).map(Some)
}

pub(super) fn delay<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    span::deserialize(deserializer).map(Some)
}

/// The length of a phase or the median of sessions: at least a second.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let time = span::deserialize(deserializer)?;
    if (Duration::from_secs(1)..=Options::MAX_SPAN).contains(&time) {
        return Ok(time);
    }
    Err(D::Error::custom(format_args!(
        "{} is not in 1s to {}",
        span::span_text(time),
        span::span_text(Options::MAX_SPAN)
    )))
}
