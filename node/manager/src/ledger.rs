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

    /// Whether that much is left.
    pub(crate) fn has(&mut self, amount: u64, now: prost_kbr::Time) -> bool {
        self.refill(now);
        self.left >= amount as f64
    }

    /// Takes `amount` whether or not it is left; what is owed must refill first.
    pub(crate) fn charge(&mut self, amount: u64, now: prost_kbr::Time) {
        self.refill(now);
        self.left -= amount as f64;
    }

    /// What is left; zero where something is owed.
    pub(crate) fn left(&mut self, now: prost_kbr::Time) -> u64 {
        self.refill(now);
        self.left as u64
    }

    fn refill(&mut self, now: prost_kbr::Time) {
        let refill = now.since(self.at).as_secs_f64() * self.rate as f64;
        self.left = (self.left + refill).min(self.rate.saturating_mul(Self::WINDOW_S) as f64);
        self.at = self.at.max(now);
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
        assert!(allowance.has(100, Time::ZERO), "ten seconds' worth at once");
        allowance.charge(100, Time::ZERO);
        assert!(!allowance.has(1, Time::ZERO));
        let later = Time::ZERO + Duration::from_secs(1);
        assert!(!allowance.has(11, later));
        assert!(allowance.has(10, later));
        assert_eq!(allowance.left(later), 10);
    }

    #[test]
    fn what_is_overdrawn_must_refill_first() {
        let mut allowance = Allowance::new(10, Time::ZERO);
        allowance.charge(120, Time::ZERO);
        assert_eq!(allowance.wait(), Duration::from_secs(2));
        assert_eq!(allowance.left(Time::ZERO), 0);
        assert!(!allowance.has(1, Time::ZERO + Duration::from_secs(2)));
        assert!(allowance.has(1, Time::ZERO + Duration::from_secs(3)));
    }
}
