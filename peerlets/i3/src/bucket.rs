//! A token bucket: so many at once, and so many a second in the long run.

use core::time::Duration;

use prost_i3_api::Rate;
use prost_peerlet::time::Instant;

/// Tokens are counted in parts, so that a slow rate loses nothing to rounding.
const PARTS: u64 = 1_000_000;

/// What is left of a trigger's rate.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    rate: Rate,
    parts: u64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Rate) -> Bucket {
        Bucket { rate, parts: u64::from(rate.burst) * PARTS, at: Instant::now() }
    }

    /// The same tokens at another rate.
    pub(crate) fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
        self.parts = self.parts.min(u64::from(rate.burst) * PARTS);
    }

    /// Takes one token. False where there is none.
    pub(crate) fn take(&mut self) -> bool {
        let now = Instant::now();
        let passed = now.since(self.at).min(Duration::from_secs(3600)).as_micros() as u64;
        self.at = now;
        let most = u64::from(self.rate.burst) * PARTS;
        self.parts = (self.parts + passed * u64::from(self.rate.per_second)).min(most);
        let has = self.parts >= PARTS;
        if has {
            self.parts -= PARTS;
        }
        has
    }
}
