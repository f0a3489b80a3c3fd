//! R8: routing trusts only nodes whose id a handshake has proven.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_kbr::{Interval, NodeId, Time};

use super::{Broken, Moment, Rule};
use crate::Index;

/// How long a first successor may be hearsay. When the first of a list dies, the next takes its place at once and is
/// asked at once: it answers, or a dial fails and so does the ping after it.
const GRACE: Duration = Duration::from_secs(30);

/// The first predecessor and each finger have been connected with in this life of the node; so has the first successor:
/// from the first where it stands before the one there was, as only a node that has answered may (Zave 2017, stabilise),
/// and at the latest 30 seconds after it has moved up in the list, or after the node stood still. Entries further down a
/// list are hearsay by design.
#[derive(Debug, Default)]
pub struct Met {
    first: BTreeMap<Index, NodeId>,
    since: BTreeMap<Index, (NodeId, Time)>,
}

impl Rule for Met {
    fn name(&self) -> &'static str {
        "R8 proven ids"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        for node in moment.changed {
            let Some(seat) = moment.picture.seat(*node) else {
                self.since.remove(node);
                self.first.remove(node);
                continue;
            };
            let first = seat.successors.first().copied();
            if let Some(unmet) = seat.unmet.iter().find(|id| Some(**id) != first || seat.fingers.contains(*id)) {
                return Err(Broken::at(moment.now, *node, format!("routes through {unmet:?}, which it never met")));
            }
            let before = first.and_then(|first| self.first.insert(*node, first)).unwrap_or(seat.id);
            let nearer = first.filter(|first| Interval::open(seat.id, before).contains(*first));
            if let Some(unmet) = nearer.filter(|first| seat.unmet.contains(first)) {
                let text = format!("takes {unmet:?}, which it never met, for its successor");
                return Err(Broken::at(moment.now, *node, text));
            }
            match first.filter(|first| seat.unmet.contains(first)) {
                None => {
                    self.since.remove(node);
                }
                Some(first) => {
                    let since = self.since.entry(*node).or_insert((first, moment.now));
                    if since.0 != first {
                        *since = (first, moment.now);
                    }
                }
            }
        }
        let awake = |node: &Index| moment.excused.get(node).copied().unwrap_or(Time::ZERO);
        let late = self.since.iter().find(|(node, (_, since))| moment.now.since(awake(node).max(*since)) > GRACE);
        let Some((node, (id, _))) = late else { return Ok(()) };
        let text = format!("its first successor {id:?} is one that it has not met in {GRACE:?}");
        Err(Broken::at(moment.now, *node, text))
    }
}
