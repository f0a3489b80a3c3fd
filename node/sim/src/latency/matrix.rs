//! Measured round-trip times between hosts.

use core::time::Duration;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::{LatencyError, Malformed};
use super::{binary, csv};

/// Fewest hosts of a matrix.
pub(super) const MIN_HOSTS: usize = 2;
/// Most hosts of a matrix: ten times those of the usual data sets.
pub(super) const MAX_HOSTS: usize = 4096;
/// Longest round-trip time, in microseconds: what is longer is a mistake of the measurement.
pub(super) const MAX_MICROS: u64 = 60_000_000;
/// Longest file, in bytes: sixteen for each cell of the largest matrix as text.
const MAX_FILE: u64 = 16 * (MAX_HOSTS * MAX_HOSTS) as u64;

const PLANETLAB: &[u8] = include_bytes!("../../data/planetlab490/planetlab490_rtt_u16le_tenth_ms_upper.bin");
const WONDER: &str = include_str!("../../data/wonder_cities/wonder_rtt_ms.csv");

/// Round-trip times between each two of some hosts, the same both ways.
#[derive(Clone, PartialEq, Eq)]
pub struct Matrix {
    hosts: usize,
    /// Microseconds between `high` and a smaller `low`, at `high (high - 1) / 2 + low`.
    micros: Vec<u32>,
}

impl Matrix {
    /// 490 PlanetLab hosts (`data/README.md`).
    pub fn planetlab() -> Matrix {
        binary::parse(PLANETLAB).expect("the data of the crate are sound")
    }

    /// 235 cities (`data/README.md`).
    pub fn wonder() -> Matrix {
        csv::parse(WONDER).expect("the data of the crate are sound")
    }

    /// Reads a file: text where its name ends in `.csv`, else binary (`data/README.md`).
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or is no matrix.
    pub fn read(path: &Path) -> Result<Matrix, LatencyError> {
        let bytes = read(path)?;
        let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let matrix = if is_csv {
            str::from_utf8(&bytes).map_err(|_| Malformed::Text).and_then(csv::parse)
        } else {
            binary::parse(&bytes)
        };
        matrix.map_err(|cause| LatencyError::Malformed { path: path.to_owned(), cause })
    }

    /// A matrix of this many hosts; `micros` gives each pair's round-trip time, for a row and a smaller column.
    pub(super) fn build(
        hosts: usize,
        mut micros: impl FnMut(usize, usize) -> Result<u64, Malformed>,
    ) -> Result<Matrix, Malformed> {
        if !(MIN_HOSTS..=MAX_HOSTS).contains(&hosts) {
            return Err(Malformed::Hosts(hosts));
        }
        let mut matrix = Matrix { hosts, micros: Vec::with_capacity(hosts * (hosts - 1) / 2) };
        for high in 1..hosts {
            for low in 0..high {
                let micros = micros(high, low)?;
                if micros == 0 || micros > MAX_MICROS {
                    return Err(Malformed::Time { a: low + 1, b: high + 1, micros });
                }
                matrix.micros.push(micros as u32);
            }
        }
        Ok(matrix)
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.hosts
    }

    /// The round-trip time between two hosts, which are numbered from zero; zero from a host to itself.
    pub fn round_trip(&self, a: usize, b: usize) -> Duration {
        Duration::from_micros(self.micros(a, b).into())
    }

    /// The same in microseconds.
    pub(super) fn micros(&self, a: usize, b: usize) -> u32 {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        if low == high { 0 } else { self.micros[high * (high - 1) / 2 + low] }
    }
}

impl core::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Matrix of {} hosts", self.hosts)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LatencyError> {
    let failed = |error| LatencyError::Read { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(LatencyError::TooLong(path.to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair's milliseconds, in rising order.
    fn sorted(matrix: &Matrix) -> Vec<f64> {
        let mut all: Vec<f64> = matrix.micros.iter().map(|micros| f64::from(*micros) / 1000.0).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn planetlab_is_as_its_source_describes_it() {
        let matrix = Matrix::planetlab();
        let all = sorted(&matrix);
        assert_eq!((matrix.hosts(), all.len()), (490, 119_805));
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        assert!((146.5..147.5).contains(&mean), "{mean}");
        assert!((134.5..135.5).contains(&all[all.len() / 2]), "{}", all[all.len() / 2]);
        assert!((324.5..325.5).contains(&all[all.len() * 95 / 100]), "{}", all[all.len() * 95 / 100]);
    }

    #[test]
    fn the_first_row_of_the_binary_triangle_is_the_first_host() {
        let value = |at: usize| u64::from(u16::from_le_bytes([PLANETLAB[2 * at], PLANETLAB[2 * at + 1]])) * 100;
        let matrix = Matrix::planetlab();
        // 489 values of host 0, then 488 of host 1, and the last is that of the last two hosts.
        for (at, a, b) in [(0, 0, 1), (488, 0, 489), (489, 1, 2), (119_804, 488, 489)] {
            assert_eq!(u64::from(matrix.micros(a, b)), value(at), "{a} {b}");
            assert_eq!(matrix.micros(a, b), matrix.micros(b, a));
        }
    }

    #[test]
    fn wonder_is_as_its_source_describes_it() {
        let matrix = Matrix::wonder();
        let all = sorted(&matrix);
        assert_eq!(matrix.hosts(), 235);
        assert!((144.0..146.0).contains(&all[all.len() / 2]), "{}", all[all.len() / 2]);
        // Adelaide and Albany.
        assert_eq!(matrix.round_trip(0, 1), Duration::from_micros(248_405));
    }

    #[test]
    fn a_file_is_read_by_its_ending() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("it can be written");
            Matrix::read(&path)
        };
        let text = b"host,a,b\na,0,2.5\nb,2.5,0\n";
        assert_eq!(write("m.CSV", text).expect("a matrix").micros(0, 1), 2500);
        assert_eq!(write("m.bin", &[25, 0]).expect("a matrix").micros(0, 1), 2500);
        let error = write("text", text).expect_err("no triangle has 25 bytes").to_string();
        assert!(error.contains("has to end in .csv"), "{error}");
        let error = write("b.csv", &[0xff, 0xfe]).expect_err("no text").to_string();
        assert!(error.contains("must not end in .csv"), "{error}");
    }
}
