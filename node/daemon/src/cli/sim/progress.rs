//! How far a simulation has come, on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use prost_sim::scenario::Progress;

/// Shortest time between two lines on a terminal, where each takes the place of the one before.
const ON_TERMINAL: Duration = Duration::from_millis(250);
/// Shortest time between two lines in a file.
const IN_FILE: Duration = Duration::from_secs(2);

/// One line about something that takes time.
pub(super) struct Line {
    started: Instant,
    last: Instant,
    terminal: bool,
    /// Whether the terminal shows a line that has to be taken away.
    shown: bool,
}

impl Line {
    /// Starts the clock.
    pub(super) fn start() -> Line {
        let now = Instant::now();
        Line { started: now, last: now, terminal: io::stderr().is_terminal(), shown: false }
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Shows this, if it is time; the text is made only then. Who closed standard error does not want it.
    pub(super) fn show(&mut self, text: impl FnOnce(Duration) -> String) {
        let pause = if self.terminal { ON_TERMINAL } else { IN_FILE };
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        let text = text(self.started.elapsed());
        let mut err = io::stderr().lock();
        let _ = if self.terminal { write!(err, "\r{text}\x1b[K") } else { writeln!(err, "{text}") };
        let _ = err.flush();
        self.shown = self.terminal;
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
            self.shown = false;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What is said of one run.
pub(super) fn of_run(progress: &Progress, wall: Duration) -> String {
    format!(
        "{:<9} {} of {} virtual  {:>7} nodes  {:>7.1} M events  {} wall",
        progress.phase,
        clock(progress.virtual_s),
        clock(progress.of_s),
        progress.nodes_alive,
        progress.events as f64 / 1e6,
        clock(wall.as_secs_f64()),
    )
}

/// Seconds as hours, minutes and seconds.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_hours_minutes_and_seconds() {
        assert_eq!(
            [0.0, 59.9, 61.0, 3600.0, 360_000.0].map(clock),
            ["0:00:00", "0:00:59", "0:01:01", "1:00:00", "100:00:00"]
        );
        assert_eq!(clock(f64::NAN), "0:00:00");
    }

    #[test]
    fn a_line_too_soon_is_not_even_made() {
        let mut line = Line::start();
        line.show(|_| panic!("it is too soon"));
    }
}
