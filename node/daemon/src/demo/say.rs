//! What the demo says while it works.

use std::io::{self, Write};
use std::time::Instant;

/// Lines on standard error, each with the seconds since the demo began. Threads can share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Say {
    start: Instant,
}

impl Say {
    pub(super) fn new() -> Say {
        Say { start: Instant::now() }
    }

    /// One line.
    pub(super) fn line(&self, text: impl AsRef<str>) {
        // Nobody reads any more: no reason to stop.
        let _ = writeln!(io::stderr().lock(), "{:7.2} s  {}", self.seconds(), text.as_ref());
    }

    /// Seconds since the demo began.
    pub(super) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// A noun with its number.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(6 << 20), "6.0 MiB");
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(0, "file"), "0 files");
    }
}
