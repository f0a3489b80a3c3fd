//! R7: a lookup's answer was true while it was under way.

use core::time::Duration;

use prost_kbr::{Interval, NodeId};

use super::{Asked, Broken, Moment, Rule};

/// How long after it became a member a node may still be unknown to those around it. A join ends with a notification
/// of the successor; where that frame is late, or the successor starts again just then, the next round of stabilisation
/// says it again, and that of a node whose clock stands still comes only when it goes on.
const YOUNG: Duration = Duration::from_secs(20);

/// The owner that a lookup names was responsible at some instant between question and answer, or only members that
/// had just joined stood before it. Judged where the operating assumption has held for all of that time: in a ring that
/// is cut in two, or takes a node that stands still for dead, each side answers as well as it can.
#[derive(Debug)]
pub struct Responsible;

impl Responsible {
    fn excuses(moment: &Moment, asked: &Asked, named: NodeId) -> bool {
        let before = Interval::open_closed(asked.key, named);
        let others = moment.picture.members().keys().filter(|id| **id == asked.key || before.contains(**id));
        let mut others = others.filter(|id| **id != named);
        let young = |id: &NodeId| moment.picture.joined_at(*id).is_some_and(|at| at + YOUNG > asked.at);
        others.all(young)
    }
}

impl Rule for Responsible {
    fn name(&self) -> &'static str {
        "R7 right owner"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        for ended in moment.ended.iter().filter(|ended| !ended.again) {
            let Ok(named) = &ended.outcome.result else { continue };
            let asked = &ended.asked;
            let judged = moment.assumption.held_since(asked.at);
            if judged && !asked.owners.contains(&named.id) && !Self::excuses(moment, asked, named.id) {
                let owners = &asked.owners;
                let text =
                    format!("lookup {} of {:?} was told {:?}, not {owners:?}", asked.request, asked.key, named.id);
                return Err(Broken::at(moment.now, asked.node, text));
            }
        }
        Ok(())
    }
}
