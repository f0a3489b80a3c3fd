//! The rules, looking on while a scenario is played.

use super::watch::Watch;
use crate::report::Violation;
use crate::rule::Judge;
use crate::world::{Index, World};

/// Asks every rule after every event.
pub(super) struct Judged(Judge);

impl Judged {
    pub(super) fn new(routing: &prost_kbr::Config) -> Judged {
        Judged(Judge::new(routing.into()))
    }
}

impl Watch for Judged {
    fn begin(&mut self, world: &mut World) {
        world.observe(self.0.observer());
    }

    fn after_event(&mut self, world: &World, changed: &[Index]) {
        self.0.look(world, changed, &[]);
    }

    fn at_end(&mut self, _: &World) -> Vec<Violation> {
        let violation = |broken: &crate::rule::Broken| {
            let mut text = broken.text.clone();
            for input in &broken.recent {
                text.push_str("\n  ");
                text.push_str(input);
            }
            Violation { rule: broken.rule.clone(), time: broken.at_us as f64 / 1e6, node: broken.node, text }
        };
        self.0.broken().iter().map(violation).collect()
    }
}
