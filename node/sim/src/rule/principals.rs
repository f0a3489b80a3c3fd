//! R3: enough nodes that nobody's list skips (Zave 2017, "SufficientPrincipals").

use prost_kbr::NodeId;

use super::{Broken, Limits, Moment, Rule};

/// While the operating assumption holds, there are more principals than a successor list has places. It is what keeps
/// lists from growing into two rings.
#[derive(Debug)]
pub struct Principals {
    successors: usize,
}

impl Principals {
    /// With the length of a successor list.
    pub fn new(limits: &Limits) -> Principals {
        Principals { successors: limits.successors }
    }
}

impl Rule for Principals {
    fn name(&self) -> &'static str {
        "R3 sufficient principals"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        let count = moment.picture.principals();
        if !moment.assumption.holds() || count > self.successors {
            return Ok(());
        }
        let skipped: Vec<NodeId> = moment.picture.skipped().collect();
        let least = self.successors + 1;
        let members = moment.picture.members().len();
        let text = format!("{count} principals of {members} members, {least} needed; skipped by someone: {skipped:?}");
        Err(match moment.changed.first() {
            Some(node) => Broken::at(moment.now, *node, text),
            None => Broken::somewhere(moment.now, text),
        })
    }
}
