//! A node's own clock.

use prost_kbr::Time;

/// A clock that may run too fast or too slow, and jump. What it shows never goes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// From here on, by the world's time and by its own, it runs evenly.
    since: Time,
    own: i128,
    /// Millionths too fast.
    drift: i64,
    /// The latest that it has shown.
    shown: Time,
}

/// Most millionths that a clock runs wrong: at half and at double speed timers still mean something.
const MAX_DRIFT: i32 = 500_000;

impl Clock {
    /// A clock that is right.
    pub(super) fn new(now: Time) -> Clock {
        Clock { since: now, own: i128::from(now.as_micros()), drift: 0, shown: now }
    }

    /// Jumps, and runs at another speed from now on.
    pub(super) fn set(&mut self, now: Time, jump: i64, drift: i32) {
        self.own = self.raw(now) + i128::from(jump);
        self.since = now;
        self.drift = i64::from(drift.clamp(-MAX_DRIFT, MAX_DRIFT));
    }

    fn raw(&self, now: Time) -> i128 {
        let passed = i128::from(now.as_micros()) - i128::from(self.since.as_micros());
        self.own + passed * i128::from(1_000_000 + self.drift) / 1_000_000
    }

    /// What it shows.
    pub(super) fn show(&mut self, now: Time) -> Time {
        if self.drift == 0 && self.own == i128::from(self.since.as_micros()) {
            self.shown = self.shown.max(now);
        } else {
            let raw = u64::try_from(self.raw(now).max(0)).unwrap_or(u64::MAX);
            self.shown = self.shown.max(Time::from_micros(raw));
        }
        self.shown
    }

    /// The world's time at which it shows this, at the earliest `now`.
    pub(super) fn when(&self, shows: Time, now: Time) -> Time {
        let ahead = i128::from(shows.as_micros()) - self.own;
        if shows <= self.shown || ahead <= 0 {
            return now;
        }
        let speed = i128::from(1_000_000 + self.drift);
        let passed = (ahead * 1_000_000 + speed - 1) / speed;
        let at = i128::from(self.since.as_micros()) + passed;
        Time::from_micros(u64::try_from(at).unwrap_or(u64::MAX)).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn a_right_clock_shows_the_worlds_time() {
        let mut clock = Clock::new(at(1_000));
        assert_eq!((clock.show(at(5_000)), clock.when(at(9_000), at(5_000))), (at(5_000), at(9_000)));
    }

    #[test]
    fn a_fast_clock_is_ahead_and_its_timers_come_early() {
        let mut clock = Clock::new(at(1_000_000));
        clock.set(at(1_000_000), 0, 100_000);
        assert_eq!(clock.show(at(2_000_000)), at(2_100_000));
        let due = clock.when(at(3_200_000), at(2_000_000));
        assert_eq!((due, clock.show(due)), (at(3_000_000), at(3_200_000)));
    }

    #[test]
    fn a_clock_never_goes_back() {
        let mut clock = Clock::new(at(1_000_000));
        assert_eq!(clock.show(at(10_000_000)), at(10_000_000));
        clock.set(at(10_000_000), -5_000_000, 0);
        assert_eq!(clock.show(at(12_000_000)), at(10_000_000));
        assert_eq!(clock.show(at(16_000_000)), at(11_000_000));
        assert_eq!(clock.when(at(12_000_000), at(16_000_000)), at(17_000_000));
    }

    #[test]
    fn a_timer_is_never_early_by_the_clock_that_set_it() {
        for drift in [-400_000, -333, -1, 1, 77, 499_999] {
            let mut clock = Clock::new(at(1_000));
            clock.set(at(1_000), 12_345, drift);
            for due in (20_000..90_000).step_by(997) {
                let when = clock.when(at(due), at(1_000));
                let mut seen = clock;
                assert!(seen.show(when) >= at(due), "{drift} {due}");
            }
        }
    }
}
