//! Why there is no latency model.

use std::io;
use std::path::PathBuf;

use super::MODELS;
use super::matrix::{MAX_HOSTS, MAX_MICROS, MIN_HOSTS};

/// Why a latency model cannot be had, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// `fixed:` is not followed by a time.
    #[error("{0} is no latency model; write a time with its unit, as fixed:50ms")]
    Fixed(String),
    /// The file cannot be read; perhaps it was meant to be a name.
    #[error("cannot read the latency matrix {path}: {error}; a model is one of {MODELS}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is too long for any matrix that is allowed.
    #[error("the latency matrix {0} is too long; a matrix has at most {MAX_HOSTS} hosts")]
    TooLong(PathBuf),
    /// The file is no matrix.
    #[error("{path} is no latency matrix: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: Malformed,
    },
}

/// What is wrong with a matrix, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A binary matrix has a length that no number of hosts gives.
    #[error("{0} bytes are not n(n-1)/2 values of two bytes; a matrix as text has to end in .csv")]
    Length(usize),
    /// Too few hosts, or too many.
    #[error("it has {0} hosts; {MIN_HOSTS} to {MAX_HOSTS} are allowed")]
    Hosts(usize),
    /// The text is not UTF-8.
    #[error("it is not UTF-8 text; a binary matrix must not end in .csv")]
    Text,
    /// A row of a CSV file has another number of cells than there are hosts, or there are too many or too few rows.
    #[error("line {line} has {found} round-trip times and the header names {expected} hosts; the matrix is square")]
    Row {
        /// Line, from one.
        line: usize,
        /// Cells after the header's.
        found: usize,
        /// Hosts in the header.
        expected: usize,
    },
    /// A CSV file has fewer or more rows than hosts.
    #[error("it has {found} rows and the header names {expected} hosts; the matrix is square")]
    Rows {
        /// Rows after the header.
        found: usize,
        /// Hosts in the header.
        expected: usize,
    },
    /// A cell of a CSV file is no time.
    #[error(
        "line {line}, host {host}: {text:?} is no time in milliseconds; write a number above 0, as 12.5, or nothing"
    )]
    Cell {
        /// Line, from one.
        line: usize,
        /// Column of the host, from one.
        host: usize,
        /// What stands there.
        text: String,
    },
    /// A round-trip time is zero, missing both ways or too long.
    #[error("hosts {a} and {b} are {micros} us apart; a round trip takes more than 0 and at most {MAX_MICROS} us")]
    Time {
        /// Row, from one.
        a: usize,
        /// Column, from one.
        b: usize,
        /// Microseconds; zero where it is missing.
        micros: u64,
    },
}
