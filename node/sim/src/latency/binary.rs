//! A matrix as a triangle of 16-bit numbers.

use super::error::Malformed;
use super::matrix::Matrix;

/// Microseconds of the file's unit.
const UNIT: u64 = 100;

/// Reads a strict upper triangle, row by row.
pub(super) fn parse(bytes: &[u8]) -> Result<Matrix, Malformed> {
    let hosts = hosts(bytes.len()).ok_or(Malformed::Length(bytes.len()))?;
    Matrix::build(hosts, |high, low| {
        // The rows before `low` have hosts - 1, hosts - 2, ... values.
        let at = low * (2 * hosts - low - 1) / 2 + (high - low - 1);
        Ok(u64::from(u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]])) * UNIT)
    })
}

/// The n of n(n-1)/2 values of two bytes.
fn hosts(length: usize) -> Option<usize> {
    // n(n-1) lies between (n-1)^2 and n^2.
    let hosts = length.isqrt() + 1;
    (length > 0 && hosts * (hosts - 1) == length).then_some(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_gives_the_hosts() {
        for hosts in 2..2000 {
            let length = hosts * (hosts - 1);
            assert_eq!(super::hosts(length), Some(hosts));
            assert_eq!(super::hosts(length + 1), None);
            assert_eq!(super::hosts(length - 1), None);
        }
        assert_eq!(super::hosts(0), None);
    }

    #[test]
    fn values_go_where_a_naive_reader_puts_them() {
        let hosts = 7;
        let values: Vec<u16> = (1..=21).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let matrix = parse(&bytes).expect("a matrix");
        let mut values = values.into_iter();
        for a in 0..hosts {
            for b in a + 1..hosts {
                let value = u32::from(values.next().expect("as many as pairs"));
                assert_eq!(matrix.micros(a, b), value * 100);
            }
        }
    }

    #[test]
    fn a_zero_is_an_error_and_not_a_distance() {
        assert_eq!(parse(&[1, 0, 0, 0, 1, 0]), Err(Malformed::Time { a: 1, b: 3, micros: 0 }));
        assert_eq!(parse(&[1, 0, 1, 0]), Err(Malformed::Length(4)));
        assert_eq!(parse(&[]), Err(Malformed::Length(0)));
    }
}
