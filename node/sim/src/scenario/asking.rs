//! Asking: when, who, and for what.

use core::time::Duration;

use prost_kbr::Time;

use super::driver::Driver;
use super::events::Due;
use super::plan::Phase;
use crate::measure::Asked;
use crate::world::Act;

/// The lookups of a phase, which come in groups at about even distances.
#[derive(Debug, Default)]
pub(super) struct Asking {
    began: Time,
    time: Duration,
    /// Lookups that are still to be asked.
    left: u64,
    groups: u64,
    askers: u32,
    /// Groups that this phase has asked.
    asked: u64,
    /// Groups that all phases have asked.
    number: u32,
}

impl Driver<'_> {
    pub(super) fn start_asking(&mut self, phase: &Phase) {
        self.asking = Asking {
            began: self.world.now(),
            time: phase.time,
            left: phase.lookups,
            groups: phase.lookups.div_ceil(u64::from(phase.askers.max(1))),
            askers: phase.askers.max(1),
            asked: 0,
            number: self.asking.number,
        };
        self.plan_next_ask();
    }

    /// Each group has an equal share of the phase, and is asked somewhere in it.
    fn plan_next_ask(&mut self) {
        let asking = &self.asking;
        if asking.asked == asking.groups {
            return;
        }
        let share = asking.time.as_micros() as u64 / asking.groups;
        let begins = (asking.time.as_micros() * u128::from(asking.asked) / u128::from(asking.groups)) as u64;
        let at = asking.began + Duration::from_micros(begins + self.random.below(share));
        self.agenda.add(at, Due::Ask);
    }

    /// Asks one group, all of whose askers are in one part of the network.
    pub(super) fn ask_next(&mut self) {
        let askers = self.asking.left.min(self.asking.askers.into());
        self.asking.left -= askers;
        self.asking.asked += 1;
        self.plan_next_ask();
        let Some(first) = self.crowd.members.pick(&mut self.random) else { return };
        let (fabric, part) = (&self.fabric, self.fabric.part(first));
        let fits = |node| node != first && fabric.part(node) == part;
        let mut nodes = self.crowd.members.pick_some(askers as usize - 1, &mut self.random, fits);
        nodes.push(first);
        let key = self.asked_key(self.asking.number);
        let (at, group, measured) = (self.world.now(), self.asking.number, self.measured);
        self.asking.number = group.wrapping_add(1);
        let search = self.options.search();
        for node in nodes {
            let request = self.lookups.ask(Asked { at, node, key, group, part, measured });
            self.act(Act::Lookup { node, request, key, search });
        }
    }
}
