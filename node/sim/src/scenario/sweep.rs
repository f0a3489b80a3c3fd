//! The same scenario over several sizes and seeds.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Error, Options, Outcome, run};
use crate::report::Summary;

/// Most runs of a sweep.
const MAX_RUNS: usize = 100_000;

/// Plays the scenario with each of these sizes and with so many seeds from [`Options::seed`] on, up to `jobs` at a time.
/// `done` is told each outcome as it comes, with its place in the result: sizes in their order, and for each the seeds
/// in theirs.
///
/// # Errors
///
/// The first of the options' errors, by place. All runs that have begun come to their end.
pub fn sizes(
    options: &Options,
    sizes: &[u32],
    seeds: u32,
    jobs: usize,
    done: &(dyn Fn(usize, &Outcome) + Sync),
) -> Result<Vec<Outcome>, Error> {
    let pairs = sizes.iter().flat_map(|nodes| (0..seeds).map(move |seed| (*nodes, seed)));
    let all: Vec<Options> = pairs
        .take(MAX_RUNS + 1)
        .map(|(nodes, seed)| Options { nodes, seed: options.seed.wrapping_add(seed.into()), ..options.clone() })
        .collect();
    if all.len() > MAX_RUNS {
        return Err(Error::Option { name: "seeds", reason: format!("more than {MAX_RUNS} runs") });
    }
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<Outcome, Error>>>> = all.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let Some((place, options)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|place| Some((place, all.get(place)?)))
        {
            let result = run(options, &mut |_| ());
            if let Ok(outcome) = &result {
                done(place, outcome);
            } else {
                next.store(all.len(), Ordering::Relaxed);
            }
            *results[place].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, all.len().max(1)) {
            scope.spawn(work);
        }
    });
    results.into_iter().filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// A table of outcomes, one a line.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "   nodes                 seed    asked answered  correct consistent  hops   p99  lat. ms   p99 ms stretch  conn.  max  B/node/s  heal s ideal\n",
    );
    for Outcome { report, .. } in outcomes {
        let share = |count| report.lookups.share(count) * 100.0;
        let mean = |summary: Option<Summary>| summary.unwrap_or_default();
        let (hops, latency, connections) = (mean(report.hops), mean(report.latency_ms), mean(report.connections));
        let heal = report.heal_s.map_or_else(|| "-".to_owned(), |heal| format!("{heal:.1}"));
        let _ = writeln!(
            text,
            "{:>8} {:>20} {:>8} {:>7.3}% {:>7.3}% {:>9.3}% {:>5.2} {:>5.0} {:>8.1} {:>8.1} {:>7.2} {:>6.1} {:>4.0} {:>9.0} {:>7} {:>5}",
            report.nodes,
            report.seed,
            report.lookups.asked,
            share(report.lookups.answered),
            share(report.lookups.correct),
            share(report.lookups.consistent),
            hops.mean,
            hops.p99,
            latency.mean,
            latency.p99,
            report.stretch_mean.unwrap_or(0.0),
            connections.mean,
            connections.max,
            report.maintenance_bytes_per_node_s,
            heal,
            if report.ideal_ring { "yes" } else { "no" },
        );
    }
    text
}
