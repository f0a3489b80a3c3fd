//! R1, the beginning: a member begins with its successor's list.

use std::collections::BTreeSet;

use super::{Broken, Moment, Rule};
use crate::Index;

/// While the operating assumption holds, a newcomer has more than one successor: it has adopted its successor's list with
/// the successor (Zave 2017, join). With one it would be lost with that one.
#[derive(Debug, Default)]
pub struct FullStart {
    members: BTreeSet<Index>,
}

impl Rule for FullStart {
    fn name(&self) -> &'static str {
        "R1 full lists at joining"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        for node in moment.changed {
            let Some(seat) = moment.picture.seat(*node).filter(|seat| seat.joined) else {
                self.members.remove(node);
                continue;
            };
            let new = self.members.insert(*node);
            if new && moment.assumption.holds() && seat.successors.len() < 2 {
                let text = format!("joins with no other successors than {:?}", seat.successors);
                return Err(Broken::at(moment.now, *node, text));
            }
        }
        Ok(())
    }
}
