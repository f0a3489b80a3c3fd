//! Errors planted in the nodes, each alone: the swarm must find every one within a few seeds. What finds nothing here
//! would not find a real error either.
//!
//! `PROST_PLANTED_FIRST` is the first seed, in place of 0.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use prost_kbr::planted::Bug;
use prost_sim::swarm::{Options, Verdict, run_planted};

/// Seeds that may be needed for one error.
const MOST_SEEDS: u64 = 60;
/// Seeds that may be needed for half of the errors.
const MEDIAN: u64 = 20;
/// Runs without an error that have to be clean for a seed to count: the seed's own and others with its faults. An error
/// changes the course of a run, so that a seed may break a rule by chance where others like it do.
const CONTROLS: u64 = 4;
/// Events of a run: twenty times as many as the swarm's runs have on average.
const MOST_EVENTS: u64 = 1_000_000;
/// Seeds that are clean without an error, whatever the errors need.
const CLEAN: u64 = 6;

/// How an error was found.
struct Catch {
    /// Seeds run, the last of which found it.
    seeds: u64,
    seed: u64,
    rule: String,
    text: String,
}

fn first_seed() -> u64 {
    let text = std::env::var("PROST_PLANTED_FIRST").ok();
    text.map_or(0, |text| text.parse().expect("PROST_PLANTED_FIRST is a number"))
}

/// Whether runs like that of a seed are clean without an error, each looked at once.
#[derive(Default)]
struct Control(Mutex<BTreeMap<u64, bool>>);

impl Control {
    fn is_clean(&self, seed: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&seed).copied();
        known.unwrap_or_else(|| {
            let clean = (0..CONTROLS).all(|turn| control(seed, turn).is_clean());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, clean);
            clean
        })
    }
}

/// A run with the faults of a seed; the first is that of the seed itself.
fn control(seed: u64, turn: u64) -> Verdict {
    run_planted(Options { seed: seed ^ (turn << 40), ..Options::from_seed(seed) }, None, MOST_EVENTS)
}

/// The first seed that breaks a rule with the error and breaks none without it.
fn hunt(bug: Bug, first: u64, control: &Control) -> Option<Catch> {
    (0..MOST_SEEDS).find_map(|at| {
        let seed = first.wrapping_add(at);
        let verdict = run_planted(Options::from_seed(seed), Some(bug), MOST_EVENTS);
        let broken = verdict.violations.first().filter(|_| control.is_clean(seed))?;
        let (rule, text) = (broken.rule.clone(), broken.text.clone());
        Some(Catch { seeds: at + 1, seed, rule, text })
    })
}

/// Does this for each of a list, over all cores.
fn each<T: Copy + Sync, R: Send>(list: &[T], work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = list.get(at) else { return };
            let result = work(*one);
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(at, result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

#[test]
fn every_planted_error_is_found_within_a_few_seeds() {
    let (first, control) = (first_seed(), Control::default());
    println!("first seed {first}");
    let catches = each(&Bug::ALL, |bug| hunt(bug, first, &control));
    let mut missed = Vec::new();
    for (bug, catch) in Bug::ALL.iter().zip(&catches) {
        let name = format!("{bug:?}");
        match catch {
            Some(Catch { seeds, seed, rule, text }) => {
                println!("{name:<26} {seeds:>3} {rule:<26} seed {seed}: {text:.90}");
            }
            None => missed.push(bug),
        }
    }
    let mut needed: Vec<u64> = catches.iter().flatten().map(|catch| catch.seeds).collect();
    needed.sort_unstable();
    let median = needed.get(needed.len() / 2).copied().unwrap_or(u64::MAX);
    println!("{} errors, median {median}", needed.len());
    assert!(missed.is_empty(), "not found in {MOST_SEEDS} seeds: {missed:?}");
    assert!(median <= MEDIAN, "{needed:?}");
}

#[test]
fn the_first_seeds_are_clean_where_no_error_is_planted() {
    let seeds: Vec<u64> = (0..CLEAN).collect();
    for verdict in each(&seeds, |seed| control(seed, 0)) {
        assert!(verdict.is_clean(), "{verdict}");
    }
}
