//! The same scenario with several sizes and seeds.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clap::Args;
use prost_sim::report::Report;
use prost_sim::{plot, scenario};

use super::options::ScenarioArgs;
use super::progress::{Line, clock};
use super::{broken, default_jobs, failed, random_seed};
use crate::cli::failure::Failure;
use crate::cli::output;

#[derive(Debug, Clone, Args)]
pub(super) struct SweepArgs {
    /// Seeds of each size, one after the other.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    seeds: u32,
    /// The first seed [default: random, and printed].
    #[arg(long, value_name = "SEED")]
    first_seed: Option<u64>,
    /// Sizes of the ring, with commas between them.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "100,1000")]
    nodes: Vec<u32>,
    /// Runs at once [default: as many as there are processors].
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Print a JSON list of what was measured, an object for each run. Their wall time is not measured.
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Draw the hops against the size into this directory, as SVG and PNG.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    plot: Option<PathBuf>,
}

/// Does it.
pub(super) fn run(args: &SweepArgs) -> Result<(), Failure> {
    let first = args.first_seed.map_or_else(random_seed, Ok)?;
    let nodes = args.nodes.first().copied().unwrap_or(1);
    let options = args.scenario.options(nodes, first)?;
    if args.first_seed.is_none() {
        eprintln!("first seed {first}");
    }
    let all = args.nodes.len() as u64 * u64::from(args.seeds);
    let state = Mutex::new((Line::start(), 0_u64, 0_u64));
    let done = |_, outcome: &scenario::Outcome| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (line, runs, events) = &mut *state;
        *runs += 1;
        *events += outcome.report.events;
        line.show(|wall| {
            let (millions, wall) = (*events as f64 / 1e6, clock(wall.as_secs_f64()));
            format!("{runs} of {all} runs  {millions:.1} M events  {wall} wall")
        });
    };
    let jobs = args.jobs.unwrap_or_else(default_jobs);
    let outcomes = scenario::sizes(&options, &args.nodes, args.seeds, jobs, &done);
    // The line of progress goes away.
    drop(state);
    let outcomes = outcomes.map_err(|error| failed(error, None))?;
    let reports: Vec<Report> = outcomes.iter().map(|outcome| outcome.report.clone()).collect();
    if args.json {
        output::json(&reports)?;
    } else {
        output::bytes(scenario::table(&outcomes).as_bytes())?;
    }
    if let Some(dir) = &args.plot {
        for file in plot::draw_sizes(dir, &reports)? {
            eprintln!("{}", file.display());
        }
    }
    broken(reports.iter().flat_map(|report| report.violations.iter().map(|violation| (report.seed, violation))))
}
