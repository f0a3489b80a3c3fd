//! Many seeds, over threads.

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use super::{FaultId, Verdict, run};
use crate::rule::Tally;

/// Of this many seeds one is done twice, to see that it ends in the same hash.
const TWICE: u64 = 50;
/// Seeds that are enough for every fault to strike: each seed has each fault with a chance of a twelfth at the least.
const ENOUGH: u64 = 300;

/// Which seeds to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// The first.
    pub first_seed: u64,
    /// How many, one after the other.
    pub count: u64,
    /// Threads; at least one is used.
    pub jobs: usize,
}

/// How far a sweep has come.
#[derive(Debug, Clone)]
pub struct Progress<'a> {
    /// What it has until now.
    pub totals: &'a Totals,
    /// The run that has just ended.
    pub last: &'a Verdict,
}

/// What a sweep comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Seeds asked for.
    pub asked: u64,
    /// Seeds run.
    pub seeds: u64,
    /// Virtual hours.
    pub virtual_h: f64,
    /// Events handled.
    pub events: u64,
    /// How often each fault has struck.
    pub strikes: BTreeMap<FaultId, u64>,
    /// Seeds in which each fault has struck.
    pub seeds_struck: BTreeMap<FaultId, u64>,
    /// Runs of the class that breaks the operating assumption on purpose.
    pub careless: u64,
    /// All counters of the judges, summed.
    pub tally: Tally,
    /// The longest that a ring took to become ideal again, in virtual milliseconds.
    pub healed_max_ms: u64,
    /// Seeds that were run twice.
    pub twice: u64,
    /// Those that gave another hash the second time.
    pub unsteady: Vec<u64>,
    /// Runs in which a rule was broken, in order of their seeds.
    pub violations: Vec<Verdict>,
}

/// Why a sweep has not shown what it was to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    /// It was stopped before its end.
    #[error("only {seeds} of {asked} seeds were run")]
    TooFew {
        /// Seeds run.
        seeds: u64,
        /// Seeds asked for.
        asked: u64,
    },
    /// Rules were broken.
    #[error("rules were broken with the seeds {0:?}")]
    Broken(Vec<u64>),
    /// The same seed gave different runs.
    #[error("the seeds {0:?} gave another trace hash the second time")]
    Unsteady(Vec<u64>),
    /// Some fault never struck, so that the sweep says nothing of it.
    #[error("these faults never struck: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    NeverStruck(Vec<FaultId>),
}

impl Totals {
    /// Whether the sweep has run all that was asked for, found nothing, and had every fault where it was long enough.
    ///
    /// # Errors
    ///
    /// The first thing that is missing, the gravest first.
    pub fn check(&self) -> Result<(), Shortfall> {
        if !self.violations.is_empty() {
            return Err(Shortfall::Broken(self.violations.iter().map(|verdict| verdict.options.seed).collect()));
        }
        if !self.unsteady.is_empty() {
            return Err(Shortfall::Unsteady(self.unsteady.clone()));
        }
        if self.seeds < self.asked {
            return Err(Shortfall::TooFew { seeds: self.seeds, asked: self.asked });
        }
        let struck: BTreeSet<FaultId> = self.seeds_struck.keys().copied().collect();
        let missing: Vec<FaultId> = FaultId::ALL.into_iter().filter(|id| !struck.contains(id)).collect();
        if self.asked >= ENOUGH && !missing.is_empty() {
            return Err(Shortfall::NeverStruck(missing));
        }
        Ok(())
    }

    /// Takes in one run.
    pub fn add(&mut self, verdict: &Verdict) {
        self.seeds += 1;
        self.virtual_h += verdict.virtual_s / 3600.0;
        self.events += verdict.events;
        self.careless += u64::from(verdict.options.class == super::Class::AssumptionBroken);
        self.healed_max_ms = self.healed_max_ms.max(verdict.healed_ms.unwrap_or(0));
        for (id, count) in &verdict.strikes {
            *self.strikes.entry(*id).or_default() += count;
            *self.seeds_struck.entry(*id).or_default() += 1;
        }
        self.tally.add(&verdict.tally);
        if !verdict.is_clean() {
            let at = self.violations.partition_point(|other| other.options.seed < verdict.options.seed);
            self.violations.insert(at, verdict.clone());
        }
    }
}

/// Runs seeds on several threads, each seed by itself. `progress` hears of each run that has ended, and can stop the
/// sweep; the totals then say that it ran too few.
pub fn sweep(sweep: &Sweep, progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync)) -> Totals {
    let totals = Mutex::new(Totals { asked: sweep.count, ..Totals::default() });
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= sweep.count {
                return;
            }
            let verdict = run(sweep.first_seed.wrapping_add(at));
            let again = (at % TWICE == 0).then(|| run(verdict.options.seed));
            let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
            totals.add(&verdict);
            if let Some(again) = again {
                totals.twice += 1;
                if again.hash != verdict.hash {
                    totals.unsteady.push(verdict.options.seed);
                }
            }
            if progress(Progress { totals: &totals, last: &verdict }).is_break() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..sweep.jobs.max(1) {
            scope.spawn(work);
        }
    });
    totals.into_inner().unwrap_or_else(PoisonError::into_inner)
}
