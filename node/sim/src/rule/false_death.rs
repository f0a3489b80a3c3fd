//! R9: whoever is declared dead is dead.

use super::{Broken, Moment, Rule};

/// Where nothing is disturbed, no live member is declared dead: time-outs follow each peer's round-trip time, and a node
/// that has missed one answer gets a second chance (Rhea et al., "Handling Churn in a DHT", USENIX 2004). Zave's proof
/// takes failure detectors to be perfect.
#[derive(Debug)]
pub struct FalseDeath;

impl Rule for FalseDeath {
    fn name(&self) -> &'static str {
        "R9 no false deaths"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        match moment.false_death.filter(|_| moment.is_undisturbed()) {
            Some((node, dead)) => Err(Broken::at(moment.now, node, format!("declares {dead:?} dead, which lives"))),
            None => Ok(()),
        }
    }
}
