//! How long the ring takes to be right again.

use prost_kbr::Time;

/// Watches the ring after a fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heal {
    fault: Time,
    ideal: Option<Time>,
}

impl Heal {
    /// A fault happens, or ends, now.
    pub(super) fn new(fault: Time) -> Heal {
        Heal { fault, ideal: None }
    }

    /// When the fault happened.
    pub(super) fn fault(&self) -> Time {
        self.fault
    }

    /// Whether the ring has not been seen ideal since.
    pub(super) fn is_open(&self) -> bool {
        self.ideal.is_none()
    }

    /// The ring is ideal.
    pub(super) fn on_ideal(&mut self, now: Time) {
        self.ideal.get_or_insert(now);
    }

    /// Seconds from the fault until the ring was ideal and no lookup was wrong that was asked after; none where the ring
    /// has not become ideal. `wrong` is when the last lookup was asked whose answer was wrong.
    pub(super) fn seconds(&self, wrong: Option<Time>) -> Option<f64> {
        let right = self.ideal?.max(wrong.unwrap_or(self.fault));
        Some(right.since(self.fault).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_the_ring_and_the_lookups_must_be_right() {
        let second = |at: u64| Time::from_micros(at * 1_000_000);
        let mut heal = Heal::new(second(100));
        assert_eq!(heal.seconds(None), None);
        heal.on_ideal(second(110));
        heal.on_ideal(second(120));
        assert_eq!(heal.seconds(None), Some(10.0));
        assert_eq!(heal.seconds(Some(second(105))), Some(10.0));
        assert_eq!(heal.seconds(Some(second(130))), Some(30.0));
    }
}
