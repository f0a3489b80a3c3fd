//! Repairing fingers, one a round.

use core::time::Duration;

use super::Machine;
use crate::message::Outcome;
use crate::pending::Owner;

/// How much longer the period gets at most in a ring too small for fingers, or whose fingers do not change.
const SLOWEST: u32 = 8;

impl Machine {
    pub(super) fn handle_repair_timer(&mut self) {
        if self.repair_due.is_none_or(|due| due > self.now) {
            return;
        }
        let last = self.ring.successors().last().filter(|_| !self.ring.is_short());
        let exponent = last.and_then(|last| self.fingers.turn(last.id));
        match exponent {
            Some(exponent) => {
                let id = self.random.number();
                let start = self.me.id.plus_power(exponent);
                self.start_lookup_for(Owner::Finger(exponent), id, start);
            }
            None => self.fingers.clear(),
        }
        self.repair_due = Some(self.now + self.random.jitter(self.repair_period(exponent.is_some())));
    }

    fn repair_period(&self, needed: bool) -> Duration {
        if needed { self.config.fingers } else { self.config.fingers * SLOWEST }
    }

    pub(super) fn on_finger_outcome(&mut self, exponent: u32, outcome: Outcome) {
        match outcome.result {
            Ok(owner) if owner.id == self.me.id || !self.ring.contains(owner.id) => {
                if let Some(candidate) = self.fingers.found(exponent, owner) {
                    self.probe(candidate);
                }
            }
            Ok(neighbour) => {
                // The lists hold it already; beyond it the next finger may differ.
                self.fingers.covered(exponent, neighbour);
            }
            Err(_) => self.fingers.missed(exponent),
        }
    }
}
