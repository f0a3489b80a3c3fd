//! R10: nobody who lives loses its place.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_kbr::NodeId;

use super::{Broken, Moment, Reason, Rule};
use crate::Index;

/// How long after it became a member a node may be given up: a frame in which its process said that it was none yet may
/// still be under way.
const YOUNG: Duration = Duration::from_secs(60);

/// The first neighbours of a member, and how many nodes it has declared dead.
#[derive(Debug, Clone, Copy)]
struct Near {
    predecessor: Option<NodeId>,
    successor: Option<NodeId>,
    declared_dead: u64,
}

/// A member gives its first predecessor and its first successor up for nearer ones, or where it has declared them dead.
/// One that lives and is a member is not given up for a farther one or for none (Zave 2017, rectify: the predecessor is
/// replaced if the notifier is nearer or the predecessor is dead). That a live one is declared dead is another matter.
#[derive(Debug, Default)]
pub struct GivenUp {
    near: BTreeMap<Index, Near>,
}

impl Rule for GivenUp {
    fn name(&self) -> &'static str {
        "R10 places of the living"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        for node in moment.changed {
            let Some(seat) = moment.picture.seat(*node).filter(|seat| seat.joined) else {
                self.near.remove(node);
                continue;
            };
            let (predecessor, successor) = (seat.predecessors.first().copied(), seat.successors.first().copied());
            let near = Near { predecessor, successor, declared_dead: seat.declared_dead };
            // Where ids are not unique, others give up the one by what they are told by the other.
            let judged = moment.assumption.reason() != Some(Reason::Clone);
            let Some(before) =
                self.near.insert(*node, near).filter(|before| before.declared_dead == seat.declared_dead && judged)
            else {
                continue;
            };
            let way = |id: NodeId| [id.distance_to(seat.id), seat.id.distance_to(id)];
            let pairs = [(before.predecessor, predecessor, "predecessor"), (before.successor, successor, "successor")];
            for (at, (old, new, place)) in pairs.into_iter().enumerate() {
                let Some(old) = old.filter(|old| new.is_none_or(|new| way(new)[at] > way(*old)[at])) else { continue };
                let joined = moment.picture.joined_at(old);
                if !moment.is_behind(*node) && joined.is_some_and(|joined| moment.now.since(joined) > YOUNG) {
                    let text = format!("gives up {old:?}, which lives, as its {place} for {new:?}");
                    return Err(Broken::at(moment.now, *node, text));
                }
            }
        }
        Ok(())
    }
}
