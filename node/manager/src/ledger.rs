//! What one application has used.

use core::time::Duration;

use prost_kbr::Time;
use serde::{Deserialize, Serialize};

/// Log bytes of one application in a minute; what is more is dropped and counted.
const LOG_BYTES: u64 = 64 << 10;
/// The minute.
const LOG_WINDOW: Duration = Duration::from_secs(60);
/// Longest log line of an application; the rest is cut off.
pub(crate) const LOG_LINE_BYTES: usize = 1 << 10;
/// Log lines of one event; what is more is dropped and counted.
pub(crate) const LOG_LINES_AN_EVENT: usize = 16;

/// Use of one application on this node since it was installed; gauges where said so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Events run.
    pub calls: u64,
    /// Events that trapped.
    pub traps: u64,
    /// Events whose handler returned an error.
    pub refusals: u64,
    /// Fuel burnt.
    pub fuel: u64,
    /// Fuel a second, over the last ten seconds (gauge).
    pub fuel_rate: u64,
    /// Microseconds of wall clock in the sandbox.
    pub micros: u64,
    /// Microseconds that the compiler took.
    pub compile_micros: u64,
    /// Bytes of manifests and code that came for it from other nodes.
    pub downloaded_bytes: u64,
    /// Bytes of memory that the instance holds (gauge).
    pub memory_bytes: u64,
    /// Bytes of records (gauge).
    pub storage_bytes: u64,
    /// Messages sent.
    pub messages: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Bytes of names and values that its events wrote.
    pub bytes_written: u64,
    /// Timers set (gauge).
    pub timers: u64,
    /// Events that wait or run (gauge).
    pub queued: u64,
    /// Lines for the log, by the application or because of what it did.
    pub log_lines: u64,
    /// Such lines that were dropped because there were too many.
    pub dropped_log_lines: u64,
    /// Effects dropped because a budget was used up.
    pub over_budget: u64,
}

impl Usage {
    /// Adds what another application has used.
    pub fn add(&mut self, other: &Usage) {
        let Usage {
            calls,
            traps,
            refusals,
            fuel,
            fuel_rate,
            micros,
            compile_micros,
            downloaded_bytes,
            memory_bytes,
            storage_bytes,
            messages,
            bytes_sent,
            bytes_written,
            timers,
            queued,
            log_lines,
            dropped_log_lines,
            over_budget,
        } = other;
        let pairs = [
            (&mut self.calls, calls),
            (&mut self.traps, traps),
            (&mut self.refusals, refusals),
            (&mut self.fuel, fuel),
            (&mut self.fuel_rate, fuel_rate),
            (&mut self.micros, micros),
            (&mut self.compile_micros, compile_micros),
            (&mut self.downloaded_bytes, downloaded_bytes),
            (&mut self.memory_bytes, memory_bytes),
            (&mut self.storage_bytes, storage_bytes),
            (&mut self.messages, messages),
            (&mut self.bytes_sent, bytes_sent),
            (&mut self.bytes_written, bytes_written),
            (&mut self.timers, timers),
            (&mut self.queued, queued),
            (&mut self.log_lines, log_lines),
            (&mut self.dropped_log_lines, dropped_log_lines),
            (&mut self.over_budget, over_budget),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(*more);
        }
    }
}

/// What was used in each of the last seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Recent {
    by_second: [u64; Recent::SECONDS as usize],
    /// The second in which something was used last.
    second: u64,
}

impl Recent {
    const SECONDS: u64 = 10;

    pub(crate) fn add(&mut self, amount: u64, now: Time) {
        let second = second_of(now);
        // Seconds in which nothing was used are empty; all of them, after a long pause.
        for empty in (self.second + 1..=second).rev().take(Recent::SECONDS as usize) {
            self.by_second[(empty % Recent::SECONDS) as usize] = 0;
        }
        self.second = second;
        let slot = &mut self.by_second[(second % Recent::SECONDS) as usize];
        *slot = slot.saturating_add(amount);
    }

    /// What was used a second, over the ten seconds that end with this one.
    pub(crate) fn per_second(&self, now: Time) -> u64 {
        let oldest = (second_of(now) + 1).saturating_sub(Recent::SECONDS);
        let first = (self.second + 1).saturating_sub(Recent::SECONDS).max(oldest);
        let seconds = first..=self.second;
        let sum = seconds.map(|second| self.by_second[(second % Recent::SECONDS) as usize]);
        sum.fold(0, u64::saturating_add) / Recent::SECONDS
    }
}

fn second_of(time: Time) -> u64 {
    time.as_micros() / 1_000_000
}

/// What an application may still write into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogBudget {
    since: Time,
    used: u64,
    full: bool,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is written.
    Written,
    /// It is dropped, the first of this minute.
    FirstDropped,
    /// It is dropped, as others before it.
    Dropped,
}

impl LogBudget {
    pub(crate) fn new(now: Time) -> LogBudget {
        LogBudget { since: now, used: 0, full: false }
    }

    /// Charges a line. Minutes follow each other, each beginning with its first line; once a line of one did not fit, no
    /// other does.
    pub(crate) fn charge(&mut self, bytes: usize, now: Time) -> Line {
        if now.since(self.since) >= LOG_WINDOW {
            *self = LogBudget::new(now);
        }
        if self.full {
            return Line::Dropped;
        }
        self.used = self.used.saturating_add(bytes as u64);
        self.full = self.used > LOG_BYTES;
        if self.full { Line::FirstDropped } else { Line::Written }
    }
}

/// A line of at most [`LOG_LINE_BYTES`], cut between two characters.
pub(crate) fn cut(mut line: String) -> String {
    if line.len() > LOG_LINE_BYTES {
        line.truncate(line.floor_char_boundary(LOG_LINE_BYTES));
    }
    line
}

/// Events of an application's own making, a second: its timers, and messages of it that came to nothing. Each costs the
/// node some microseconds of the one thread that serves all applications, which are in no receipt: with so many, one
/// application takes a twentieth of it.
const OWN_EVENTS: u64 = 10_000;
/// As many at once: all timers of most applications, or a good part of the messages that may be under way.
const OWN_EVENTS_AT_ONCE: u64 = 2_048;

/// A budget that refills: ten seconds' worth at once, unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Allowance {
    rate: u64,
    most: f64,
    left: f64,
    at: Time,
}

impl Allowance {
    const WINDOW_S: u64 = 10;
    const WRITES_S: u64 = 2;

    pub(crate) fn new(rate: u64, now: Time) -> Allowance {
        Allowance::with_most(rate, rate.saturating_mul(Self::WINDOW_S), now)
    }

    /// That of bytes written: two seconds' worth at once, as what one writes at once all others wait for.
    pub(crate) fn of_writes(rate: u64, now: Time) -> Allowance {
        Allowance::with_most(rate, rate.saturating_mul(Self::WRITES_S), now)
    }

    /// That of an application's own events.
    pub(crate) fn of_own_events(now: Time) -> Allowance {
        Allowance::with_most(OWN_EVENTS, OWN_EVENTS_AT_ONCE, now)
    }

    fn with_most(rate: u64, most: u64, now: Time) -> Allowance {
        Allowance { rate, most: most as f64, left: most as f64, at: now }
    }

    /// Whether that much is left.
    pub(crate) fn has(&mut self, amount: u64, now: Time) -> bool {
        self.refill(now);
        self.left >= amount as f64
    }

    /// Takes `amount` whether or not it is left; what is owed must refill first.
    pub(crate) fn charge(&mut self, amount: u64, now: Time) {
        self.refill(now);
        self.left -= amount as f64;
    }

    /// What is left; zero where something is owed.
    pub(crate) fn left(&mut self, now: Time) -> u64 {
        self.refill(now);
        self.left as u64
    }

    fn refill(&mut self, now: Time) {
        let refill = now.since(self.at).as_secs_f64() * self.rate as f64;
        self.left = (self.left + refill).min(self.most);
        self.at = self.at.max(now);
    }

    /// How long until something is left again; zero where something is.
    pub(crate) fn wait(&self) -> Duration {
        if self.left >= 0.0 || self.rate == 0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((-self.left / self.rate as f64).min(60.0))
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use prost_kbr::Time;

    use super::{Allowance, LOG_LINE_BYTES, Line, LogBudget, Recent, cut};

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

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
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut recent = Recent::default();
        assert_eq!(recent.per_second(at(0)), 0);
        recent.add(100, at(500));
        recent.add(50, at(3_000));
        assert_eq!(recent.per_second(at(3_000)), 15);
        assert_eq!(recent.per_second(at(9_999)), 15);
        assert_eq!(recent.per_second(at(10_000)), 5, "the first second is over");
        assert_eq!(recent.per_second(at(13_000)), 0);
        recent.add(30, at(12_000));
        assert_eq!(recent.per_second(at(12_000)), 8);
        recent.add(10, at(1_000_000));
        assert_eq!(recent.per_second(at(1_000_000)), 1);
        assert_eq!(recent.per_second(at(u64::MAX / 1000)), 0);
    }

    #[test]
    fn a_minute_has_room_for_64_kib_of_lines() {
        let mut budget = LogBudget::new(at(0));
        for _ in 0..64 {
            assert_eq!(budget.charge(1 << 10, at(1_000)), Line::Written);
        }
        assert_eq!(budget.charge(1, at(2_000)), Line::FirstDropped);
        assert_eq!(budget.charge(0, at(59_999)), Line::Dropped);
        assert_eq!(budget.charge(1 << 10, at(60_000)), Line::Written);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(cut("a".repeat(5)), "a".repeat(5));
        assert_eq!(cut("a".repeat(5000)), "a".repeat(LOG_LINE_BYTES));
        assert_eq!(cut("a".to_owned() + &"\u{fc}".repeat(5000)).len(), LOG_LINE_BYTES - 1);
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
