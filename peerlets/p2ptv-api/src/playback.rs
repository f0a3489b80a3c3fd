//! The clock of a watcher: when playback starts, when it stalls, how late segments are. It knows no real clock: every
//! moment is an argument, in milliseconds from any origin.

/// How a stream has played so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// From the start of watching to the start of playback, in milliseconds; none before that.
    pub startup_ms: Option<u64>,
    /// What has come and not been played, in milliseconds.
    pub buffered_ms: u64,
    /// Times that playback stopped for want of segments, and for how many milliseconds together.
    pub stalls: u64,
    /// See `stalls`.
    pub stalled_ms: u64,
    /// Segments that came.
    pub segments: u64,
    /// Segments that came after playback had reached their place.
    pub late: u64,
    /// Numbers that were passed over.
    pub lost: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// From the source's clock to this one's, in milliseconds: half of all segments took no longer.
    pub delay_p50_ms: u64,
    /// Ninety-five of a hundred.
    pub delay_p95_ms: u64,
    /// Ninety-nine of a hundred.
    pub delay_p99_ms: u64,
    /// The longest.
    pub delay_max_ms: u64,
}

/// Delays that percentiles are taken over, the latest.
const DELAYS: usize = 1 << 16;

/// A watcher's playback.
#[derive(Debug, Clone)]
pub struct Playback {
    /// Segments that must be there before playback starts, and before it goes on after a stall.
    enough: u64,
    began: u64,
    /// When the state of the clock was looked at last.
    looked: u64,
    state: State,
    next: Option<u64>,
    unplayed: u64,
    ended: bool,
    delays: Vec<u32>,
    report: Report,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for so many segments more; `stalled` tells whether it had played before.
    Waits {
        more: u64,
        stalled: bool,
    },
    Plays,
}

impl Playback {
    /// Watching begins. Playback starts when `enough` segments have come.
    pub fn new(now: u64, enough: u64) -> Playback {
        Playback {
            enough,
            began: now,
            looked: now,
            state: State::Waits { more: enough, stalled: false },
            next: None,
            unplayed: 0,
            ended: false,
            delays: Vec::new(),
            report: Report::default(),
        }
    }

    /// The next segment has come: in order, though numbers may be missing.
    pub fn arrived(&mut self, now: u64, segment: &crate::Segment, delay_ms: u64) {
        self.look(now);
        let number = segment.number;
        self.report.lost += number.saturating_sub(self.next.unwrap_or(number));
        self.next = Some(number.saturating_add(1));
        self.report.segments += 1;
        self.report.bytes += segment.data.len() as u64;
        self.ended = segment.last;
        let delay = u32::try_from(delay_ms).unwrap_or(u32::MAX);
        if self.delays.len() < DELAYS {
            self.delays.push(delay);
        } else {
            self.delays[self.report.segments as usize % DELAYS] = delay;
        }
        if matches!(self.state, State::Waits { stalled: true, .. }) {
            self.report.late += 1;
        }
        self.unplayed += u64::from(segment.duration_ms);
        if let State::Waits { more, stalled } = self.state {
            let more = if self.ended { 0 } else { more.saturating_sub(1) };
            self.state = State::Waits { more, stalled };
            if more == 0 {
                self.report.startup_ms.get_or_insert(now.saturating_sub(self.began));
                self.state = State::Plays;
            }
        }
    }

    /// Time has passed.
    pub fn look(&mut self, now: u64) {
        let passed = now.saturating_sub(self.looked);
        self.looked = self.looked.max(now);
        match self.state {
            State::Waits { stalled, .. } => self.report.stalled_ms += if stalled { passed } else { 0 },
            State::Plays if passed <= self.unplayed => self.unplayed -= passed,
            State::Plays => {
                let dry = passed - self.unplayed;
                self.unplayed = 0;
                if !self.ended {
                    self.report.stalls += 1;
                    self.report.stalled_ms += dry;
                    self.state = State::Waits { more: self.enough.min(2), stalled: true };
                }
            }
        }
    }

    /// Whether all has come and been played.
    pub fn is_over(&self) -> bool {
        self.ended && self.unplayed == 0
    }

    /// How it has gone so far.
    pub fn report(&self) -> Report {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        let at = |share: usize| {
            let rank = (delays.len() * share).div_ceil(100).max(1) - 1;
            delays.get(rank).map_or(0, |delay| u64::from(*delay))
        };
        Report {
            buffered_ms: self.unplayed,
            delay_p50_ms: at(50),
            delay_p95_ms: at(95),
            delay_p99_ms: at(99),
            delay_max_ms: at(100),
            ..self.report
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Segment;

    fn segment(number: u64, last: bool) -> Segment {
        Segment { stream: 1, number, sent_ms: 0, duration_ms: 500, last, data: vec![0; 10].into() }
    }

    #[test]
    fn playback_starts_when_enough_is_there_and_plays_to_the_end() {
        let mut playback = Playback::new(1000, 3);
        for (at, number) in [(1200, 4), (1300, 5), (1400, 6)] {
            assert_eq!(playback.report().startup_ms, None);
            playback.arrived(at, &segment(number, false), number);
        }
        assert_eq!(playback.report().startup_ms, Some(400));
        playback.arrived(1900, &segment(7, true), 9);
        playback.look(3300);
        assert!(!playback.is_over());
        playback.look(3400);
        let report = playback.report();
        assert!(playback.is_over());
        assert_eq!((report.stalls, report.late, report.lost, report.segments, report.bytes), (0, 0, 0, 4, 40));
        assert_eq!((report.delay_p50_ms, report.delay_p99_ms), (5, 9));
    }

    #[test]
    fn it_stalls_when_nothing_is_left_and_counts_what_comes_late() {
        let mut playback = Playback::new(0, 1);
        playback.arrived(0, &segment(0, false), 0);
        playback.look(700);
        playback.arrived(1000, &segment(1, false), 0);
        assert_eq!((playback.report().stalls, playback.report().stalled_ms, playback.report().late), (1, 500, 1));
        playback.arrived(1100, &segment(5, true), 0);
        playback.look(1900);
        let report = playback.report();
        assert_eq!((report.lost, report.stalls, report.buffered_ms), (3, 1, 100));
    }
}
