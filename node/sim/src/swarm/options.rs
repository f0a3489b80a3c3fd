//! What a seed is expanded into.

use core::time::Duration;

use prost_kbr::Config;
use serde::{Deserialize, Serialize};

use super::{Fault, FaultId};
use crate::random::Random;

/// How far the faults of a run may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Processes die only where Zave's operating assumption goes on to hold.
    Careful,
    /// Any process may die at any time. What must hold at every instant is not judged while the assumption is broken;
    /// what must hold after the faults have stopped is.
    AssumptionBroken,
}

/// Everything that a run depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Decides everything that is not said here.
    pub seed: u64,
    /// How far the faults may go.
    pub class: Class,
    /// Nodes of the ring that the run begins with.
    pub nodes: u32,
    /// Length of the successor list.
    pub successors: usize,
    /// Length of the predecessor list.
    pub predecessors: usize,
    /// Least round-trip time between two nodes, in milliseconds.
    pub rtt_least_ms: u64,
    /// Most.
    pub rtt_most_ms: u64,
    /// Spread of the time of a frame, per mille of sigma.
    pub jitter_pm: u32,
    /// Mean time between two nodes that join while the ring grows, in milliseconds.
    pub join_every_ms: u64,
    /// How long the faults strike, in seconds.
    pub faults_s: u64,
    /// Mean time between two lookups, in milliseconds.
    pub lookup_every_ms: u64,
    /// By when the ring has to be ideal after the faults have stopped, in seconds.
    pub heal_within_s: u64,
    /// Whether those that are dead when the faults stop start again.
    pub restart_dead: bool,
    /// The faults.
    pub faults: Vec<Fault>,
}

impl Options {
    /// Expands a seed.
    pub fn from_seed(seed: u64) -> Options {
        let mut random = Random::new(seed);
        let between = |random: &mut Random, least: u64, most: u64| least + random.below(most - least + 1);
        let successors = between(&mut random, 2, 8);
        let share = [3, 6, 12][random.below(3) as usize];
        let mut faults: Vec<Fault> = Vec::new();
        for id in FaultId::ALL {
            let fault = Fault::draw(id, &mut random);
            if random.below(share) == 0 {
                faults.push(fault);
            }
        }
        let rtt_least_ms = between(&mut random, 1, 60);
        Options {
            seed,
            class: if random.below(4) == 0 { Class::AssumptionBroken } else { Class::Careful },
            nodes: between(&mut random, 5, 24) as u32,
            successors: successors as usize,
            predecessors: between(&mut random, 2, 8) as usize,
            rtt_least_ms,
            rtt_most_ms: rtt_least_ms + between(&mut random, 0, 240),
            jitter_pm: between(&mut random, 0, 300) as u32,
            join_every_ms: between(&mut random, 50, 2_000),
            faults_s: between(&mut random, 120, 600),
            lookup_every_ms: between(&mut random, 300, 3_000),
            heal_within_s: 300,
            restart_dead: random.below(2) == 0,
            faults,
        }
    }

    /// The routing layer's settings.
    pub fn routing(&self) -> Config {
        let fall_over = self.successors.min(4);
        Config { successors: self.successors, predecessors: self.predecessors, fall_over, ..Config::default() }
    }

    /// How long the faults strike.
    pub fn faults(&self) -> Duration {
        Duration::from_secs(self.faults_s)
    }

    /// The fault of this kind, where the run has it.
    pub fn fault(&self, id: FaultId) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.id == id)
    }
}
