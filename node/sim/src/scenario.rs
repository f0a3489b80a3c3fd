//! Scenarios: what happens to a ring, and what is measured meanwhile.
//!
//! Every scenario is a [`Plan`] of phases, and one driver plays all plans. First the ring grows to its size and rests;
//! then come the phases, with lookups spread over them; at the end the lookups that are still under way may finish.
//! What is measured begins with the first phase.

mod asking;
mod byzantine;
mod crowd;
mod cut;
mod driver;
mod error;
mod events;
mod grow;
mod heal;
mod judged;
mod options;
mod peerlet;
mod phases;
mod plan;
mod result;
mod span;
mod study;
mod sweep;
mod template;
mod watch;
mod workload;

use crate::report::{Report, Series};

pub use byzantine::{Byzantine, ByzantineKind};
pub use error::Error;
pub use options::{Options, Scenario};
pub use plan::{Churn, Conditions, Phase, Plan};
pub use span::span_text;
pub use sweep::{sizes, table};
pub use template::{Template, TemplateError, written};
pub use watch::{NoWatch, Watch};
pub use workload::{Ask, Origins, Payload, Peerlet, Workload};

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Virtual seconds so far.
    pub virtual_s: f64,
    /// Virtual seconds that the run takes as far as can be told; growth of the ring is only estimated.
    pub of_s: f64,
    /// Events handled.
    pub events: u64,
    /// What is going on: `grow`, `rest`, `install`, a built-in phase's name, or `study`.
    pub phase: &'static str,
    /// Nodes whose process runs.
    pub nodes_alive: u32,
}

/// What a run has shown.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The figures.
    pub report: Report,
    /// What plots are made from.
    pub series: Series,
}

/// Plays a scenario from beginning to end. The same options give the same outcome, on any machine.
///
/// `progress` is called about once for each virtual second, and at least every 10,000 events.
/// [`Report::wall_s`](crate::report::Report) is left at zero: the caller has the clock.
pub fn run(options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Outcome, Error> {
    play(options, None, progress)
}

/// The same with an application on the ring, which is installed before the first phase and asked while phases last.
pub fn run_peerlet(options: &Options, peerlet: Peerlet, progress: &mut dyn FnMut(Progress)) -> Result<Outcome, Error> {
    play(options, Some(peerlet), progress)
}

fn play(options: &Options, peerlet: Option<Peerlet>, progress: &mut dyn FnMut(Progress)) -> Result<Outcome, Error> {
    if options.rules {
        play_watched(options, peerlet, &mut judged::Judged::new(&driver::routing(options)), progress)
    } else {
        play_watched(options, peerlet, &mut NoWatch, progress)
    }
}

/// The same, with somebody who looks at the world after every event.
pub fn run_watched(
    options: &Options,
    watch: &mut dyn Watch,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Error> {
    play_watched(options, None, watch, progress)
}

fn play_watched(
    options: &Options,
    peerlet: Option<Peerlet>,
    watch: &mut dyn Watch,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Error> {
    options.check()?;
    let plan = Plan::of(options)?;
    if options.rules && plan.phases.iter().any(|phase| phase.byzantine.is_some()) {
        let reason = "leave it out: rules are for rings in which no node lies".to_owned();
        return Err(Error::Option { name: "rules", reason });
    }
    if let Some(peerlet) = &peerlet {
        peerlet.workload.check(plan.nodes)?;
    }
    driver::Driver::new(options, plan, peerlet, watch, progress)?.run()
}
