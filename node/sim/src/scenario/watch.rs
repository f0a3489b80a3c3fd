//! A place for those who look at the world while a scenario is played.

use crate::report::Violation;
use crate::world::{Index, World};

/// Looks at the world after every event.
pub trait Watch {
    /// The world has been made, and nothing has happened yet.
    fn begin(&mut self, world: &mut World) {
        let _ = world;
    }

    /// An event has been handled; the lists, the liveness or the membership of these nodes have changed. Most events
    /// change none.
    fn after_event(&mut self, world: &World, changed: &[Index]);

    /// A phase begins. `whole` says whether every node can reach every other in it.
    fn phase(&mut self, world: &World, whole: bool) {
        let _ = (world, whole);
    }

    /// The run is over; says what was wrong.
    fn at_end(&mut self, world: &World) -> Vec<Violation>;
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWatch;

impl Watch for NoWatch {
    fn after_event(&mut self, _: &World, _: &[Index]) {}

    fn at_end(&mut self, _: &World) -> Vec<Violation> {
        Vec::new()
    }
}
