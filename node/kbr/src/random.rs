//! The machine's own randomness.

use core::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A generator that gives the same numbers for the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Random {
        Random(ChaCha8Rng::from_seed(seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0.5 `period`, 1.5 `period`], so that nodes that started together do not stay in step.
    pub(crate) fn jitter(&mut self, period: Duration) -> Duration {
        period / 2 + period.mul_f64(f64::from(self.0.next_u32()) / f64::from(u32::MAX))
    }
}
