//! Capability `timer`.

use core::time::Duration;

use crate::host::timer as host;

pub use host::{TimerError, cancel};

/// Calls `fired` with `tag` after this time (whole milliseconds), once. Returns the timer's id.
pub fn set(after: Duration, tag: u64) -> Result<u64, TimerError> {
    host::set(u64::try_from(after.as_millis()).unwrap_or(u64::MAX), tag)
}
