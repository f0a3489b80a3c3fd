//! H2: nothing grows beyond its bound.

use prost_kbr::Id;

use super::{Broken, Moment, Rule};

/// Most fingers: one for each bit of an id.
const MAX_FINGERS: usize = Id::BITS as usize;
/// Connections beyond those to other live processes: to ones that have died and are not missed yet.
const STALE: usize = 64;

/// A node has at most one finger for each bit of an id, and at most one connection to each process. The lengths of the
/// lists are part of R1.
#[derive(Debug)]
pub struct Caps;

impl Rule for Caps {
    fn name(&self) -> &'static str {
        "H2 bounded tables"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        let most = moment.picture.seats().len() + STALE;
        for node in moment.changed {
            let Some(seat) = moment.picture.seat(*node) else { continue };
            let tables = [("fingers", seat.fingers.len(), MAX_FINGERS), ("connections", seat.connections, most)];
            if let Some((what, count, most)) = tables.into_iter().find(|(_, count, most)| count > most) {
                return Err(Broken::at(moment.now, *node, format!("{count} {what}, at most {most} allowed")));
            }
        }
        Ok(())
    }
}
