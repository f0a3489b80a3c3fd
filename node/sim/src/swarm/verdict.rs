//! What came of a run.

use core::fmt;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FaultId, Options};
use crate::rule::{Broken, Tally};

/// A part of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When it began, in virtual microseconds.
    pub from_us: u64,
    /// When it ended.
    pub to_us: u64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What the seed was expanded into.
    pub options: Options,
    /// The parts of the run that it came to.
    pub phases: Vec<Phase>,
    /// Rules that were broken. The run ends with the first.
    pub violations: Vec<Broken>,
    /// How often each fault has struck.
    pub strikes: BTreeMap<FaultId, u64>,
    /// What the judge has counted.
    pub tally: Tally,
    /// How long the ring took to become ideal after the faults had stopped, in virtual milliseconds.
    pub healed_ms: Option<u64>,
    /// Virtual time, in seconds.
    pub virtual_s: f64,
    /// Events handled.
    pub events: u64,
    /// The trace hash, in hexadecimal digits.
    pub hash: String,
}

impl Verdict {
    /// Whether every rule held.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// The command that does the same run again.
    pub fn replay(&self) -> String {
        format!("prost sim replay --seed {}", self.options.seed)
    }
}

impl fmt::Display for Verdict {
    /// One line for a clean run; else everything that is needed to look for the cause.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.options.seed;
        if self.is_clean() {
            return write!(f, "seed {seed}: clean, {:.0} virtual seconds, {} events", self.virtual_s, self.events);
        }
        for broken in &self.violations {
            let node = broken.node.map(|node| format!(" at node {node}")).unwrap_or_default();
            let seconds = broken.at_us as f64 / 1e6;
            writeln!(f, "seed {seed}: {} broken at {seconds:.6} s{node}: {}", broken.rule, broken.text)?;
            for input in &broken.recent {
                writeln!(f, "    {input}")?;
            }
        }
        let phase = self.phases.last().map_or("", |phase| &phase.name);
        writeln!(f, "  phase: {phase}; trace hash {}", self.hash)?;
        writeln!(f, "  options: {}", serde_json::to_string(&self.options).map_err(|_| fmt::Error)?)?;
        writeln!(f, "  strikes: {}", serde_json::to_string(&self.strikes).map_err(|_| fmt::Error)?)?;
        write!(f, "  again: {}", self.replay())
    }
}
