//! R2: every member knows a live member (Zave 2017, "OneLiveSuccessor").

use super::{Broken, Moment, Rule};

/// While the operating assumption holds, each member's successor list names a live member.
#[derive(Debug)]
pub struct LiveSuccessor;

impl Rule for LiveSuccessor {
    fn name(&self) -> &'static str {
        "R2 live successor"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        if !moment.assumption.holds() {
            return Ok(());
        }
        let Some(node) = moment.picture.stranded().first() else { return Ok(()) };
        let list = moment.picture.seat(*node).map(|seat| seat.successors.clone()).unwrap_or_default();
        Err(Broken::at(moment.now, *node, format!("no live member among its successors {list:?}")))
    }
}
