//! How far nodes are from each other.
//!
//! The matrices that come with the crate, their sources and their formats are described in `data/README.md`.

mod binary;
mod csv;
mod error;
mod fixed;
mod matrix;
mod placed;
mod sample;
mod span;

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

pub use error::LatencyError;
pub use fixed::Fixed;
pub use matrix::Matrix;
pub use placed::Placed;
pub use sample::{mean_round_trip, round_trips};
pub use span::{BadSpan, parse_span};

/// Round-trip times between nodes.
pub trait Latency: Send + Sync + core::fmt::Debug {
    /// The round-trip time between two different nodes, which are numbered from zero; the same both ways.
    fn round_trip(&self, a: u32, b: u32) -> Duration;
}

/// The names of the models, for messages and help.
pub const MODELS: &str = "planetlab, wonder, fixed:TIME (as fixed:50ms) or a file with a matrix";

/// The model with this name: `planetlab`, `wonder`, `fixed:TIME` with the round-trip time of every pair, or the path of
/// a file. The seed decides where each node is.
///
/// # Errors
///
/// Where the time is none, or the file cannot be read or is no matrix.
pub fn parse(spec: &str, seed: u64) -> Result<Arc<dyn Latency>, LatencyError> {
    if let Some(time) = spec.strip_prefix("fixed:") {
        let time = parse_span(time).map_err(|_| LatencyError::Fixed(spec.to_owned()))?;
        return Ok(Arc::new(Fixed(time)));
    }
    let matrix = match spec {
        "planetlab" => Matrix::planetlab(),
        "wonder" => Matrix::wonder(),
        path => Matrix::read(Path::new(path))?,
    };
    Ok(Arc::new(Placed::new(matrix, seed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_a_name() {
        let millis = |spec: &str| parse(spec, 1).expect("a model").round_trip(0, 1).as_micros();
        assert_eq!(millis("fixed:50ms"), 50_000);
        assert!((100..1_000_000).contains(&millis("planetlab")));
        assert!((100..1_000_000).contains(&millis("wonder")));
    }

    #[test]
    fn what_is_no_model_is_an_error_that_names_the_models() {
        let text = |spec: &str| parse(spec, 1).expect_err("no model").to_string();
        assert!(text("fixed:soon").contains("fixed:50ms"), "{}", text("fixed:soon"));
        assert!(text("planetlabs").contains("planetlab, wonder"), "{}", text("planetlabs"));
    }
}
