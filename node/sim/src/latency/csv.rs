//! A matrix as text.

use super::error::Malformed;
use super::matrix::{MAX_HOSTS, Matrix};

/// Reads a square matrix in milliseconds with a header row and a header column.
pub(super) fn parse(text: &str) -> Result<Matrix, Malformed> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let hosts = lines.next().map_or(0, |(_, header)| header.split(',').count() - 1);
    if hosts > MAX_HOSTS {
        return Err(Malformed::Hosts(hosts));
    }
    let mut rows = Vec::with_capacity(hosts);
    for (line, text) in lines {
        rows.push(row(line + 1, text, hosts, rows.len())?);
    }
    if rows.len() != hosts {
        return Err(Malformed::Rows { found: rows.len(), expected: hosts });
    }
    Matrix::build(hosts, |high, low| Ok(both(rows[high][low], rows[low][high])))
}

/// A row's microseconds; none where a cell is empty, and on the diagonal.
fn row(line: usize, text: &str, hosts: usize, diagonal: usize) -> Result<Vec<Option<u64>>, Malformed> {
    let cells: Vec<&str> = text.split(',').skip(1).map(str::trim).collect();
    if cells.len() != hosts {
        return Err(Malformed::Row { line, found: cells.len(), expected: hosts });
    }
    let cell = |(host, text): (usize, &&str)| {
        if host == diagonal || text.is_empty() {
            return Ok(None);
        }
        let bad = || Malformed::Cell { line, host: host + 1, text: text.chars().take(32).collect() };
        let millis: f64 = text.parse().map_err(|_| bad())?;
        if millis.is_finite() && millis >= 0.0 { Ok(Some((millis * 1000.0).round() as u64)) } else { Err(bad()) }
    };
    cells.iter().enumerate().map(cell).collect()
}

/// The mean of both directions, or the one that is known; zero where none is.
fn both(one: Option<u64>, other: Option<u64>) -> u64 {
    match (one, other) {
        (Some(one), Some(other)) => one.midpoint(other),
        (one, other) => one.or(other).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_count() {
        let matrix = parse("h,a,b,c\na,-,10,\nb,12,-,0.5\n\nc,7.25, 0.5 ,-\n").expect("a matrix");
        assert_eq!([(0, 1), (0, 2), (1, 2)].map(|(a, b)| matrix.micros(a, b)), [11_000, 7250, 500]);
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let expect = |text: &str, error: Malformed| assert_eq!(parse(text), Err(error), "{text:?}");
        expect("", Malformed::Hosts(0));
        expect("h,a\na,0\n", Malformed::Hosts(1));
        expect("h,a,b\na,0\nb,1,0\n", Malformed::Row { line: 2, found: 1, expected: 2 });
        expect("h,a,b\na,0,1\n", Malformed::Rows { found: 1, expected: 2 });
        expect("h,a,b\na,0,1\nb,1,0\nc,1,1\n", Malformed::Rows { found: 3, expected: 2 });
        expect("h,a,b\na,0,far\nb,1,0\n", Malformed::Cell { line: 2, host: 2, text: "far".to_owned() });
        expect("h,a,b\na,0,1\nb,-1,0\n", Malformed::Cell { line: 3, host: 1, text: "-1".to_owned() });
        expect("h,a,b\na,0,inf\nb,1,0\n", Malformed::Cell { line: 2, host: 2, text: "inf".to_owned() });
        expect("h,a,b\na,0,\nb,,0\n", Malformed::Time { a: 1, b: 2, micros: 0 });
        expect("h,a,b\na,0,60000.1\nb,,0\n", Malformed::Time { a: 1, b: 2, micros: 60_000_100 });
    }

    #[test]
    fn a_header_without_end_is_refused_before_the_rows() {
        assert_eq!(parse(&",h".repeat(5000)), Err(Malformed::Hosts(5000)));
    }
}
