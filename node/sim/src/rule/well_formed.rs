//! R1: lists are well formed (Zave 2017, "OrderedSuccessorList" and "DistinctSuccessorList").

use prost_kbr::NodeId;

use super::{Broken, Limits, Moment, Rule, Seat};

/// Each list holds at most its length of distinct other nodes, in the order of the ring.
#[derive(Debug)]
pub struct WellFormed {
    successors: usize,
    predecessors: usize,
}

impl WellFormed {
    /// With the lengths of the lists.
    pub fn new(limits: &Limits) -> WellFormed {
        WellFormed { successors: limits.successors, predecessors: limits.predecessors }
    }

    fn flaw(&self, seat: &Seat) -> Option<String> {
        let after: Vec<NodeId> = seat.successors.iter().map(|id| seat.id.distance_to(*id)).collect();
        let before: Vec<NodeId> = seat.predecessors.iter().map(|id| id.distance_to(seat.id)).collect();
        let fault = |ways: &[NodeId], most: usize| {
            if ways.len() > most {
                Some("is too long")
            } else if ways.contains(&NodeId::ZERO) {
                Some("names the node itself")
            } else if !ways.is_sorted_by(|a, b| a < b) {
                Some("is out of order or names a node twice")
            } else {
                None
            }
        };
        let successors = fault(&after, self.successors);
        let successors = successors.map(|fault| format!("the successor list {fault}: {:?}", seat.successors));
        let predecessors = fault(&before, self.predecessors);
        successors
            .or_else(|| predecessors.map(|fault| format!("the predecessor list {fault}: {:?}", seat.predecessors)))
    }
}

impl Rule for WellFormed {
    fn name(&self) -> &'static str {
        "R1 well-formed lists"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        for node in moment.changed {
            let flaw = moment.picture.seat(*node).and_then(|seat| self.flaw(seat));
            if let Some(flaw) = flaw {
                return Err(Broken::at(moment.now, *node, flaw));
            }
        }
        Ok(())
    }
}
