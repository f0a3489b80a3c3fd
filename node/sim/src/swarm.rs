//! Swarm testing: a seed is expanded into a small world, a random subset of all faults, and a run in phases.
//!
//! Groce et al., "Swarm Testing" (ISSTA 2012): runs that each leave out some features find more than runs that always
//! use all of them. The phases are those of reliable simulators: grow a ring without faults; let the faults strike and
//! judge what must hold even then; take all faults away; demand that the ring becomes ideal in time, and that every
//! lookup is answered rightly.

mod conditions;
mod fault;
mod latency;
mod network;
mod options;
mod phases;
mod population;
mod process;
mod schedule;
mod stage;
mod sweep;
mod verdict;

pub use fault::{Fault, FaultId};
pub use latency::Spread;
pub use options::{Class, Options};
#[cfg(feature = "planted")]
pub use phases::run_planted;
pub use phases::{run, run_with};
pub use sweep::{Progress, Shortfall, Sweep, Totals, sweep};
pub use verdict::{Phase, Verdict};
