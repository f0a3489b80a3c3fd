//! Fresh seeds, thousands of them: each a small ring under a swarm of faults, with every rule looking on. Ignored unless
//! asked for, as it wants an optimised build: `cargo test --release --package prost-sim --test sweep -- --ignored`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::ControlFlow;

use prost_sim::swarm::{Progress, Sweep, sweep};

/// Seeds of a sweep, unless `PROST_SWEEP_SEEDS` says another number.
const SEEDS: u64 = 2300;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Another one in each run.
fn fresh() -> u64 {
    RandomState::new().build_hasher().finish() >> 11
}

fn told(progress: &Progress) -> ControlFlow<()> {
    for broken in &progress.last.violations {
        println!("seed {}: {} at {:.1} s", progress.last.options.seed, broken.rule, broken.at_us as f64 / 1e6);
    }
    if progress.totals.seeds.is_multiple_of(250) {
        println!("{} seeds, {:.1} virtual hours", progress.totals.seeds, progress.totals.virtual_h);
    }
    ControlFlow::Continue(())
}

#[test]
#[ignore = "minutes, and in an optimised build"]
fn fresh_seeds_break_no_rule() {
    let first_seed = number("PROST_SWEEP_FIRST").unwrap_or_else(fresh);
    let count = number("PROST_SWEEP_SEEDS").unwrap_or(SEEDS);
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    println!("seeds {first_seed} to {}", first_seed + count - 1);
    let totals = sweep(&Sweep { first_seed, count, jobs }, &|progress| told(&progress));
    println!("{} seeds, {:.1} virtual hours, {} events", totals.seeds, totals.virtual_h, totals.events);
    println!("{}", serde_json::to_string(&totals.strikes).expect("it is plain data"));
    if let Err(shortfall) = totals.check() {
        panic!("{shortfall}: replay with prost sim replay --seed N");
    }
}
