//! Random numbers that nobody can foretell.

use crate::Id;
use crate::host::time as host;

/// Random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    host::random(&mut bytes);
    bytes
}

/// A random number.
pub fn number() -> u64 {
    u64::from_be_bytes(bytes())
}

/// A random number below `bound`; zero where that is zero. Bounds far below 2^64 are drawn evenly enough for choices.
pub fn below(bound: u64) -> u64 {
    number().checked_rem(bound).unwrap_or(0)
}

/// A random point on the ring.
pub fn id() -> Id {
    Id::from_bytes(bytes())
}
