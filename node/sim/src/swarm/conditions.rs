//! Several faults of the network at once.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::FaultId;
use crate::{Index, Network};

/// Share of the frames that take 100 times as long while frames are late.
const TAIL: f64 = 0.001;

/// What one fault does to the network while it lasts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Chance of a loss, and packets in a row.
    Loss(f64, f64),
    Duplicate(f64),
    Delay(Duration),
    Clog(f64, Duration),
    Bandwidth(u64),
    Cut(BTreeSet<(Index, Index)>),
    Sides(Vec<u8>),
}

/// The faults of the network that last at the moment.
#[derive(Debug)]
pub(super) struct Conditions {
    jitter: f64,
    effects: BTreeMap<FaultId, Effect>,
}

impl Conditions {
    pub(super) fn new(jitter: f64) -> Conditions {
        Conditions { jitter, effects: BTreeMap::new() }
    }

    /// A fault begins, or changes.
    pub(super) fn begin(&mut self, id: FaultId, effect: Effect) {
        self.effects.insert(id, effect);
    }

    /// A fault ends.
    pub(super) fn end(&mut self, id: FaultId) {
        self.effects.remove(&id);
    }

    /// All faults end.
    pub(super) fn clear(&mut self) {
        self.effects.clear();
    }

    /// What they make together: the worst of each.
    pub(super) fn network(&self) -> Network {
        let mut network = Network { jitter: self.jitter, ..Network::default() };
        for effect in self.effects.values() {
            match effect {
                Effect::Loss(loss, burst) => {
                    network.loss = network.loss.max(*loss);
                    network.loss_burst = network.loss_burst.max(*burst);
                }
                Effect::Duplicate(chance) => network.duplicate = *chance,
                Effect::Delay(mean) => (network.extra_delay, network.tail) = (*mean, TAIL),
                Effect::Clog(chance, mean) => network.clog = (*chance, *mean),
                Effect::Bandwidth(bytes) => network.bandwidth = Some(*bytes),
                Effect::Cut(pairs) => network.cut.extend(pairs),
                Effect::Sides(sides) => network.sides.clone_from(sides),
            }
        }
        network
    }
}
