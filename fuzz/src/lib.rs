//! What the fuzz targets begin with: a few good inputs, made by the code under test, so that they are never stale.

use std::fs;
use std::path::Path;

mod manifest;
mod wire;

pub use manifest::{manifests, provider, sealed};
pub use wire::{encoded, frames};

/// Writes the inputs into the corpus directory of the command line, where it is there and empty.
///
/// The fuzzer calls this before it reads its corpus. Its own options begin with `-`.
pub fn plant(seeds: impl IntoIterator<Item = Vec<u8>>) {
    let Some(directory) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) else { return };
    let directory = Path::new(&directory);
    if !fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none()) {
        return;
    }
    for (number, seed) in seeds.into_iter().enumerate() {
        fs::write(directory.join(format!("seed-{number}")), seed).expect("the corpus directory can be written to");
    }
}
