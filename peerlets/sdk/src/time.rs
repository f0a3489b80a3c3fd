//! Clocks: one for how long things take, one that all nodes roughly share.

use core::ops::{Add, Sub};
use core::time::Duration;

use crate::host::time as host;

/// A moment on this node's monotonic clock. It means nothing on another node, nor in storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// This moment.
    pub fn now() -> Instant {
        Instant(host::monotonic())
    }

    /// From `earlier` to this moment; zero where that was later.
    pub fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// From now to this moment; zero where it has passed.
    pub fn from_now(self) -> Duration {
        self.since(Instant::now())
    }

    /// Whether this moment has come.
    pub fn has_come(self) -> bool {
        self <= Instant::now()
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, later: Duration) -> Instant {
        Instant(self.0.saturating_add(later))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, earlier: Duration) -> Instant {
        Instant(self.0.saturating_sub(earlier))
    }
}

/// The wall clock, in milliseconds since 1970. Nodes' clocks differ.
pub fn wall_ms() -> u64 {
    u64::try_from(host::wall().as_millis()).unwrap_or(u64::MAX)
}
