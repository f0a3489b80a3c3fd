//! Small rings under random faults, each decided by a seed.

use core::ops::ControlFlow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clap::Args;
use prost_sim::swarm::{self, Options, Sweep, Totals};

use super::progress::{Line, clock};
use super::{default_jobs, random_seed};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::exit;

/// Runs with violations that are told in full.
const MAX_TOLD: usize = 5;

#[derive(Debug, Clone, Args)]
pub(super) struct SwarmArgs {
    /// Seeds, one after the other.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed [default: random, and printed].
    #[arg(long, value_name = "SEED")]
    first_seed: Option<u64>,
    /// Runs at once [default: as many as there are processors].
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
    /// Print one JSON object with what was found.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ReplayArgs {
    /// The seed.
    #[arg(long, value_name = "SEED")]
    seed: u64,
    /// Write a line for each input of each node.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print one JSON object with what was found.
    #[arg(long)]
    json: bool,
}

/// Runs many seeds.
pub(super) fn swarm(args: &SwarmArgs) -> Result<(), Failure> {
    let first_seed = args.first_seed.map_or_else(random_seed, Ok)?;
    eprintln!("seeds from {first_seed} on");
    let jobs = args.jobs.unwrap_or_else(default_jobs);
    let line = Mutex::new(Line::start());
    let totals = swarm::sweep(&Sweep { first_seed, count: args.seeds, jobs }, &|now| {
        let text = |wall: core::time::Duration| {
            let Totals { seeds, asked, virtual_h, violations, .. } = now.totals;
            let (broken, wall) = (violations.len(), clock(wall.as_secs_f64()));
            format!("{seeds} of {asked} seeds  {virtual_h:.1} virtual hours  {broken} with violations  {wall} wall")
        };
        line.lock().unwrap_or_else(PoisonError::into_inner).show(text);
        ControlFlow::Continue(())
    });
    // The line of progress goes away.
    drop(line);
    if args.json {
        output::json(&totals)?;
    } else {
        tell(&totals)?;
    }
    totals.check().map_err(|shortfall| {
        let failure = Failure::new(exit::FAILED, shortfall);
        match totals.violations.first() {
            Some(verdict) => failure.hint(format!("see the first with {}", verdict.replay())),
            None => failure,
        }
    })
}

fn tell(totals: &Totals) -> Result<(), Failure> {
    for verdict in totals.violations.iter().take(MAX_TOLD) {
        output::line(verdict)?;
    }
    let Totals { seeds, virtual_h, events, violations, .. } = totals;
    let broken = violations.len();
    output::line(format!("{seeds} seeds, {virtual_h:.1} virtual hours, {events} events, {broken} with violations"))?;
    let rows = totals.strikes.iter().map(|(fault, strikes)| {
        let seeds = totals.seeds_struck.get(fault).copied().unwrap_or(0);
        vec![fault.to_string(), seeds.to_string(), strikes.to_string()]
    });
    output::table(&["fault", "seeds", "strikes"], &rows.collect::<Vec<_>>())
}

/// Runs one seed.
pub(super) fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let trace = match &args.trace {
        Some(path) => {
            let file = File::create(path).map_err(|error| Failure::writing(path, &error))?;
            Some(Box::new(BufWriter::new(file)) as Box<dyn Write + Send>)
        }
        None => None,
    };
    let verdict = swarm::run_with(Options::from_seed(args.seed), trace);
    if args.json {
        output::json(&verdict)?;
    } else {
        output::line(&verdict)?;
    }
    if verdict.is_clean() {
        return Ok(());
    }
    let rules: Vec<&str> = verdict.violations.iter().map(|broken| broken.rule.as_str()).collect();
    Err(Failure::new(exit::FAILED, format!("seed {} breaks {}", args.seed, rules.join(", ")))
        .hint("--trace FILE shows every input"))
}
