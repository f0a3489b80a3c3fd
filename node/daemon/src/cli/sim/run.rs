//! One run of a scenario.

use std::path::PathBuf;

use clap::Args;
use prost_sim::{plot, scenario};

use super::options::ScenarioArgs;
use super::peerlet::PeerletArgs;
use super::progress::{self, Line};
use super::{broken, failed, random_seed, text};
use crate::cli::failure::Failure;
use crate::cli::output;

#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// Nodes of the ring.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    nodes: u32,
    /// What everything random follows from [default: random, and printed].
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    #[command(flatten)]
    scenario: ScenarioArgs,
    #[command(flatten, next_help_heading = "An application on the ring")]
    peerlet: PeerletArgs,
    /// Print one JSON object with what was measured.
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Draw what was measured into this directory, as SVG and PNG.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    plot: Option<PathBuf>,
    /// Write a line for each input of each node.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    trace: Option<PathBuf>,
}

/// Does it.
pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let seed = args.seed.map_or_else(random_seed, Ok)?;
    let mut options = args.scenario.options(args.nodes, seed)?;
    options.trace.clone_from(&args.trace);
    let peerlet = args.peerlet.peerlet()?;
    if args.seed.is_none() {
        // At the start, so that a run that is stopped can be done again.
        eprintln!("seed {seed}");
    }
    let mut line = Line::start();
    let mut show = |now| line.show(|wall| progress::of_run(&now, wall));
    let outcome = match peerlet {
        Some(peerlet) => scenario::run_peerlet(&options, peerlet, &mut show),
        None => scenario::run(&options, &mut show),
    };
    let wall = line.elapsed();
    line.clear();
    let mut outcome = outcome.map_err(|error| failed(error, args.trace.as_deref()))?;
    outcome.report.wall_s = wall.as_secs_f64();
    let report = &outcome.report;
    if args.json {
        output::json(report)?;
    } else {
        text::report(report).into_iter().try_for_each(output::line)?;
    }
    if let Some(dir) = &args.plot {
        for file in plot::draw(dir, report, &outcome.series)? {
            eprintln!("{}", file.display());
        }
    }
    broken(report.violations.iter().map(|violation| (report.seed, violation)))
}
