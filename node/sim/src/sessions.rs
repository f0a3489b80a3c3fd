//! How long nodes stay.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// How the lengths of sessions are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetimes {
    /// Exponential: deaths are a Poisson process (Rhea et al., "Handling churn in a DHT", USENIX 2004, section 3).
    #[default]
    Exponential,
    /// Pareto with shape 2: many sessions are short and some very long. It is the smallest whole shape with a mean, and
    /// its samples need a square root, which IEEE 754 defines to the last bit.
    Pareto,
}

/// A source of session lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// Their distribution.
    pub lifetimes: Lifetimes,
    /// Half of them are shorter.
    pub median: Duration,
}

impl Sessions {
    /// The length of one session.
    pub fn draw(&self, random: &mut Random) -> Duration {
        match self.lifetimes {
            Lifetimes::Exponential => random.exponential(self.median.div_f64(core::f64::consts::LN_2)),
            Lifetimes::Pareto => {
                let uniform = 1.0 - random.fraction();
                self.median.mul_f64((1.0 / (2.0 * uniform)).sqrt())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(lifetimes: Lifetimes) -> Vec<f64> {
        let sessions = Sessions { lifetimes, median: Duration::from_secs(600) };
        let mut random = Random::new(11);
        let mut drawn: Vec<f64> = (0..100_001).map(|_| sessions.draw(&mut random).as_secs_f64()).collect();
        drawn.sort_by(f64::total_cmp);
        drawn
    }

    #[test]
    fn half_of_the_sessions_are_shorter_than_the_median() {
        for lifetimes in [Lifetimes::Exponential, Lifetimes::Pareto] {
            let median = drawn(lifetimes)[50_000];
            assert!((585.0..615.0).contains(&median), "{lifetimes:?} {median}");
        }
    }

    #[test]
    fn exponential_sessions_have_the_mean_and_the_tail_of_a_poisson_process() {
        let drawn = drawn(Lifetimes::Exponential);
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!((mean * core::f64::consts::LN_2 / 600.0 - 1.0).abs() < 0.02, "{mean}");
        // Three medians: an eighth is left.
        let left = drawn.iter().filter(|time| **time > 1800.0).count();
        assert!((12_000..13_000).contains(&left), "{left}");
    }

    #[test]
    fn pareto_sessions_have_a_shortest_length_and_a_heavy_tail() {
        let drawn = drawn(Lifetimes::Pareto);
        assert!((drawn[0] - 600.0 / 2f64.sqrt()).abs() < 0.1, "{}", drawn[0]);
        // Ten medians: (1 / (10 √2))² = 1 in 200.
        let left = drawn.iter().filter(|time| **time > 6000.0).count();
        assert!((420..580).contains(&left), "{left}");
    }
}
