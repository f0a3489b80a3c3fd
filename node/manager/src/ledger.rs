//! What one application has used.

/// Use of one application on this node since it was installed; gauges where said so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Events run.
    pub calls: u64,
    /// Events that trapped.
    pub traps: u64,
    /// Events whose handler returned an error.
    pub refusals: u64,
    /// Fuel burnt.
    pub fuel: u64,
    /// Microseconds of wall clock in the sandbox.
    pub micros: u64,
    /// Bytes of memory that the instance holds (gauge).
    pub memory_bytes: u64,
    /// Bytes of records (gauge).
    pub storage_bytes: u64,
    /// Messages sent.
    pub messages: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Timers set (gauge).
    pub timers: u64,
    /// Effects dropped because a budget was used up.
    pub over_budget: u64,
}

/// A budget that refills: at most ten seconds' worth at once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Allowance {
    rate: u64,
    left: f64,
    at: prost_kbr::Time,
}

impl Allowance {
    const WINDOW_S: u64 = 10;

    pub(crate) fn new(rate: u64, now: prost_kbr::Time) -> Allowance {
        Allowance { rate, left: (rate.saturating_mul(Self::WINDOW_S)) as f64, at: now }
    }

    /// Takes `amount` if that much is left.
    pub(crate) fn take(&mut self, amount: u64, now: prost_kbr::Time) -> bool {
        let refill = now.since(self.at).as_secs_f64() * self.rate as f64;
        self.left = (self.left + refill).min(self.rate.saturating_mul(Self::WINDOW_S) as f64);
        self.at = now;
        let enough = self.left >= amount as f64;
        if enough {
            self.left -= amount as f64;
        }
        enough
    }

    /// Takes `amount` whether or not it is left; what is owed must refill first.
    pub(crate) fn charge(&mut self, amount: u64, now: prost_kbr::Time) {
        if !self.take(amount, now) {
            self.left -= amount as f64;
        }
    }

    /// How long until something is left again; zero where something is.
    pub(crate) fn wait(&self) -> core::time::Duration {
        if self.left >= 0.0 || self.rate == 0 {
            return core::time::Duration::ZERO;
        }
        core::time::Duration::from_secs_f64((-self.left / self.rate as f64).min(60.0))
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use prost_kbr::Time;

    use super::Allowance;

    #[test]
    fn an_allowance_is_used_up_and_refills_at_its_rate() {
        let mut allowance = Allowance::new(10, Time::ZERO);
        assert!(allowance.take(100, Time::ZERO), "ten seconds' worth at once");
        assert!(!allowance.take(1, Time::ZERO));
        assert!(!allowance.take(11, Time::ZERO + Duration::from_secs(1)));
        assert!(allowance.take(10, Time::ZERO + Duration::from_secs(1)));
    }

    #[test]
    fn what_is_overdrawn_must_refill_first() {
        let mut allowance = Allowance::new(10, Time::ZERO);
        allowance.charge(120, Time::ZERO);
        assert_eq!(allowance.wait(), Duration::from_secs(2));
        assert!(!allowance.take(1, Time::ZERO + Duration::from_secs(2)));
        assert!(allowance.take(1, Time::ZERO + Duration::from_secs(3)));
    }
}
