//! Pictures of what a simulation has measured, each as SVG and as PNG.

mod canvas;
mod font;
mod frame;
mod hops;
mod latency;
mod lookups;
mod number;
mod palette;
mod peerlet;
mod ring;
mod scale;
mod sizes;
mod time;

use std::io;
use std::path::{Path, PathBuf};

use crate::report::{Report, Series};

/// Why a picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// A file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The drawing itself failed.
    #[error("cannot draw {name}: {cause}")]
    Draw {
        /// The picture.
        name: &'static str,
        /// Why.
        cause: String,
    },
}

/// Draws the pictures of one run into a directory, which is made where it is missing: `hops`, `latency`, `lookups` and
/// `ring`, and `peerlet` where an application was on the ring, each with the endings `.svg` and `.png`. Where something
/// was not measured, the picture says so.
///
/// Returns the files.
///
/// # Errors
///
/// Where a file cannot be written.
pub fn draw(dir: &Path, report: &Report, series: &Series) -> Result<Vec<PathBuf>, PlotError> {
    let mut files = Vec::new();
    files.extend(canvas::save(dir, &hops::Hops { report, series })?);
    files.extend(canvas::save(dir, &latency::Latencies { report, series })?);
    files.extend(canvas::save(dir, &lookups::Lookups { report, series })?);
    files.extend(canvas::save(dir, &ring::Ring { report, series })?);
    if let (Some(peerlet), Some(series)) = (&report.peerlet, &series.app) {
        files.extend(canvas::save(dir, &peerlet::OnTheRing { report, peerlet, series })?);
    }
    Ok(files)
}

/// Draws the mean hops of runs of several sizes against the logarithm of the size: `sizes.svg` and `sizes.png`.
///
/// Returns the files.
///
/// # Errors
///
/// Where a file cannot be written.
pub fn draw_sizes(dir: &Path, reports: &[Report]) -> Result<Vec<PathBuf>, PlotError> {
    Ok(canvas::save(dir, &sizes::Sizes { reports })?.to_vec())
}
