//! R6, the cost: a message is sent as often as its way takes.

use super::{Broken, Moment, Rule, Trails};

/// How often a message may be sent, by all nodes together: twice the way round the largest ring of the swarm.
const MAX_SENT: u32 = 64;
/// Hops that may be made again in any case, and one in so many beyond them.
const FEW: u32 = 3;
const ONE_IN: u32 = 50;

/// Where nothing is disturbed, hops are acknowledged in time: hardly one is made again, as time-outs follow each peer's
/// round-trip time (Rhea et al., "Handling Churn in a DHT", USENIX 2004, section 4.3), and no message multiplies.
#[derive(Debug)]
pub struct Flows {
    trails: Trails,
    hops: u32,
    repeats: u32,
}

impl Flows {
    /// Judges these trails.
    pub fn new(trails: Trails) -> Flows {
        Flows { trails, hops: 0, repeats: 0 }
    }
}

impl Rule for Flows {
    fn name(&self) -> &'static str {
        "R6 each hop once"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        let flow = self.trails.take_flow();
        if !moment.is_undisturbed() {
            (self.hops, self.repeats) = (0, 0);
            return Ok(());
        }
        self.hops += flow.hops;
        self.repeats += flow.repeats;
        let (hops, repeats) = (self.hops, self.repeats);
        if let Some((at, node, name, sent)) = flow.most.filter(|(.., sent)| *sent > MAX_SENT) {
            return Err(Broken::at(at, node, format!("message {name:?} has been sent {sent} times")));
        }
        if repeats > FEW + hops / ONE_IN {
            return Err(Broken::somewhere(moment.now, format!("{repeats} of {hops} hops were made again")));
        }
        Ok(())
    }
}
