//! R7: a lookup's answer was true while it was under way.

use core::time::Duration;

use prost_kbr::{Interval, NodeId};

use super::{Asked, Broken, Moment, Rule};

/// How long after it became a member a node may still be unknown to those around it. A join ends with a notification
/// of the successor; where that frame is late, the next round of stabilisation says it again.
const YOUNG: Duration = Duration::from_secs(10);
/// The same for one that stands still meanwhile or is slow: where its successor starts again just then, nobody says it until
/// the node goes on.
const YOUNG_AND_BEHIND: Duration = Duration::from_secs(60);

/// The owner that a lookup names was responsible at some instant between question and answer, or only members that
/// had just joined stood before it. Judged where the operating assumption has held for all of that time: in a ring that
/// is cut in two, or takes a node that stands still for dead, each side answers as well as it can.
#[derive(Debug)]
pub struct Responsible;

impl Responsible {
    fn excuses(moment: &Moment, asked: &Asked, named: NodeId) -> bool {
        let before = Interval::open_closed(asked.key, named);
        let others = moment.picture.members().iter().filter(|(id, _)| **id == asked.key || before.contains(**id));
        let mut others = others.filter(|(id, _)| **id != named);
        others.all(|(id, node)| {
            let young = if moment.is_behind(*node) { YOUNG_AND_BEHIND } else { YOUNG };
            moment.picture.joined_at(*id).is_some_and(|at| at + young > asked.at)
        })
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
