//! When the faults of a run strike.

use core::time::Duration;
use std::collections::BTreeSet;

use prost_kbr::Time;

use super::stage::Stage;
use super::{Fault, FaultId};
use crate::Index;
use crate::world::Act;

/// A fault of a run that is under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) fault: Fault,
    /// When it does its next thing.
    pub(super) due: Time,
    /// Whether a strike lasts at the moment.
    pub(super) on: bool,
    /// Steps of a strike that takes several: a node that is cut off, or comes back.
    pub(super) steps: Vec<(Index, bool)>,
    /// Nodes that a strike has cut off.
    pub(super) cut: BTreeSet<Index>,
    /// When sessions end.
    pub(super) sessions: BTreeSet<(Time, Index)>,
}

impl Running {
    /// Its first strike comes soon, so that short runs have it.
    fn new(fault: Fault, stage: &mut Stage) -> Running {
        let due = stage.now() + stage.random.exponential(Duration::from_millis(fault.every_ms / 3));
        Running { fault, due, on: false, steps: Vec::new(), cut: BTreeSet::new(), sessions: BTreeSet::new() }
    }

    /// It goes on after about this long.
    pub(super) fn after(&mut self, stage: &mut Stage, mean_ms: u64) {
        let wait = stage.random.exponential(Duration::from_millis(mean_ms));
        self.due = stage.now() + wait + Duration::from_millis(1);
    }

    /// The next strike is drawn.
    pub(super) fn again(&mut self, stage: &mut Stage) {
        let every = self.fault.every_ms;
        self.after(stage, every);
    }

    fn fire(&mut self, stage: &mut Stage) {
        match self.fault.id {
            FaultId::Loss
            | FaultId::Duplicate
            | FaultId::Delay
            | FaultId::Clog
            | FaultId::Partition
            | FaultId::OneWay
            | FaultId::Pairs
            | FaultId::FlappingPairs
            | FaultId::BurstLoss
            | FaultId::Bandwidth => self.toggle(stage),
            FaultId::Swizzle => self.swizzle(stage),
            FaultId::ExponentialChurn | FaultId::ParetoChurn => self.churn(stage),
            _ => self.strike(stage),
        }
    }
}

/// Lets these faults strike until then.
pub(super) fn rage(stage: &mut Stage, until: Time) {
    let faults = stage.options.faults.clone();
    let mut running: Vec<Running> = faults.into_iter().map(|fault| Running::new(fault, stage)).collect();
    while !stage.is_broken() {
        let next = (0..running.len()).min_by_key(|at| (running[*at].due, *at));
        let fault_at = next.map(|at| running[at].due);
        let back_at = stage.returning.first().map(|(at, _)| *at);
        let Some(at) = fault_at.into_iter().chain(back_at).min().filter(|at| *at < until) else { break };
        stage.advance(at);
        if stage.is_broken() {
            return;
        }
        if back_at == Some(at) {
            match stage.returning.pop_first() {
                Some((_, node)) if stage.world.is_clone(node) => stage.act(Act::Crash { node }),
                Some((_, node)) => stage.restart(node),
                None => {}
            }
        } else if let Some(next) = next {
            running[next].fire(stage);
        }
    }
    stage.advance(until);
}
