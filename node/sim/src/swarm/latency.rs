//! Distances for small worlds.

use core::time::Duration;

use crate::Latency;
use crate::random::Random;

/// Each pair of nodes has a round-trip time of its own, uniform between two bounds.
#[derive(Debug, Clone)]
pub struct Spread {
    seed: u64,
    least: Duration,
    most: Duration,
}

impl Spread {
    /// Between these bounds; the seed says which pair gets what.
    pub fn new(seed: u64, least: Duration, most: Duration) -> Spread {
        Spread { seed, least, most: most.max(least) }
    }
}

impl Latency for Spread {
    fn round_trip(&self, a: u32, b: u32) -> Duration {
        let pair = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
        let span = (self.most - self.least).as_micros() as u64;
        let share = Random::new(Random::new(self.seed ^ pair).number()).below(span + 1);
        self.least + Duration::from_micros(share)
    }
}
