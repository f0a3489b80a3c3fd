//! Faults of the network: conditions that begin and end.

use core::time::Duration;
use std::collections::BTreeSet;

use super::conditions::Effect;
use super::schedule::Running;
use super::stage::Stage;
use super::{Fault, FaultId};
use crate::Index;

/// Losses in a row in a burst.
const BURST: f64 = 40.0;

impl Running {
    /// Begins where the fault is off, and ends where it is on.
    pub(super) fn toggle(&mut self, stage: &mut Stage) {
        let (id, lasts) = (self.fault.id, self.fault.lasts_ms);
        if self.on {
            self.on = false;
            stage.end(id);
            self.again(stage);
        } else if let Some(effect) = effect(&self.fault, stage) {
            self.on = true;
            stage.struck(id);
            stage.begin(id, effect);
            // Static pairs stay cut until all faults end.
            let lasts = if id == FaultId::Pairs { u64::MAX >> 16 } else { lasts };
            self.after(stage, lasts);
        } else {
            self.again(stage);
        }
    }

    /// Cuts nodes off one by one, seconds apart, and lets them back in another order.
    pub(super) fn swizzle(&mut self, stage: &mut Stage) {
        let (id, every, lasts) = (self.fault.id, self.fault.every_ms, self.fault.lasts_ms);
        if self.steps.is_empty() {
            let most = 2 + stage.random.below(u64::from(self.fault.strength)) as usize;
            let mut nodes = stage.some_members(most);
            self.steps.extend(nodes.iter().map(|node| (*node, false)));
            stage.shuffle(&mut nodes);
            self.steps.extend(nodes.iter().map(|node| (*node, true)));
            self.steps.reverse();
        }
        let Some((node, cut)) = self.steps.pop() else { return self.again(stage) };
        if cut {
            stage.struck(id);
            self.cut.insert(node);
        } else {
            self.cut.remove(&node);
        }
        let all = 0..stage.world.count();
        let pairs = self.cut.iter().flat_map(|cut| all.clone().flat_map(|other| both_ways(*cut, other)));
        stage.begin(id, Effect::Cut(pairs.collect()));
        let wait = if self.steps.is_empty() { every } else { lasts.min(3_000) };
        self.after(stage, wait);
    }
}

fn both_ways(a: Index, b: Index) -> [(Index, Index); 2] {
    [(a, b), (b, a)]
}

fn effect(fault: &Fault, stage: &mut Stage) -> Option<Effect> {
    let strength = u64::from(fault.strength);
    let share = f64::from(fault.strength) / 1000.0;
    Some(match fault.id {
        FaultId::Loss => Effect::Loss(share, 1.0),
        FaultId::BurstLoss => Effect::Loss(share, BURST),
        FaultId::Duplicate => Effect::Duplicate(share),
        FaultId::Delay => Effect::Delay(Duration::from_millis(strength)),
        FaultId::Clog => Effect::Clog(share, Duration::from_millis(stage.random.below(5_000))),
        FaultId::Bandwidth => Effect::Bandwidth(strength * 1000 / 8),
        FaultId::Partition => Effect::Sides(sides(stage)),
        FaultId::OneWay => Effect::Cut(one_way(stage)?),
        FaultId::Pairs | FaultId::FlappingPairs => Effect::Cut(some_pairs(strength, stage)),
        _ => return None,
    })
}

/// Which side each node is on: two or three parts of random sizes, halves, or one node alone.
fn sides(stage: &mut Stage) -> Vec<u8> {
    let count = stage.world.count() as usize;
    let mut order: Vec<usize> = stage.live().into_iter().map(|node| node as usize).collect();
    stage.shuffle(&mut order);
    let live = order.len() as u64;
    let (first, second) = match stage.random.below(4) {
        0 => (live / 2, 0),
        1 => (1, 0),
        2 => (live / 3, live / 3),
        _ => (1 + stage.random.below(live), 0),
    };
    let mut sides = vec![0; count];
    for (at, node) in order.into_iter().enumerate() {
        let at = at as u64;
        sides[node] = if at < first { 1 } else { u8::from(at < first + second) * 2 };
    }
    sides
}

/// One node that no one hears, or that hears no one; or the same for a single pair.
fn one_way(stage: &mut Stage) -> Option<BTreeSet<(Index, Index)>> {
    let pair = stage.some_members(2);
    let [node, other] = pair[..] else { return None };
    let all = 0..stage.world.count();
    Some(match stage.random.below(3) {
        0 => all.map(|other| (node, other)).collect(),
        1 => all.map(|other| (other, node)).collect(),
        _ => [(node, other)].into(),
    })
}

/// Pairs that cannot reach each other, both ways; at least one.
fn some_pairs(per_mille: u64, stage: &mut Stage) -> BTreeSet<(Index, Index)> {
    let live = stage.live();
    let mut pairs = BTreeSet::new();
    for (at, a) in live.iter().enumerate() {
        for b in &live[at + 1..] {
            if stage.random.below(1000) < per_mille {
                pairs.extend(both_ways(*a, *b));
            }
        }
    }
    if let ([a, b], true) = (&stage.some_members(2)[..], pairs.is_empty()) {
        pairs.extend(both_ways(*a, *b));
    }
    pairs
}
