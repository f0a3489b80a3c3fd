//! R4 and R5: after the faults have stopped there is one ring, and every list is right.

use super::{Broken, Limits, Moment, Rule};

/// By the time that the run demands, all live processes are members of one ring in which every successor list names the
/// true next nodes and every predecessor list the true ones before (Zave 2017, the ideal state that is eventually
/// reached). A ring that was cut has merged by then.
#[derive(Debug)]
pub struct OneRing {
    successors: usize,
    predecessors: usize,
}

impl OneRing {
    /// With the lengths of the lists.
    pub fn new(limits: &Limits) -> OneRing {
        OneRing { successors: limits.successors, predecessors: limits.predecessors }
    }
}

impl Rule for OneRing {
    fn name(&self) -> &'static str {
        "R4 one ideal ring"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        if moment.ideal_by.is_none_or(|by| moment.now < by) {
            return Ok(());
        }
        let flaws = moment.picture.flaws(self.successors, self.predecessors);
        if flaws.is_empty() {
            return Ok(());
        }
        Err(Broken::somewhere(moment.now, flaws.join("; ")))
    }
}
