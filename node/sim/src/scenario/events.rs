//! What the driver has to do, by time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use prost_kbr::Time;

use crate::world::Index;

/// Something that the driver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A session ends.
    End(Index),
    /// A node starts.
    Start(Index),
    /// The next group of lookups is asked.
    Ask,
    /// Progress is told, and the ring looked at.
    Look,
    /// A program sends a message of the application.
    Message,
    /// A program calls the application.
    Call,
}

/// Things to do, in order of time; those at one time in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(Time, u64, Due)>>,
    count: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Time, due: Due) {
        self.heap.push(Reverse((at, self.count, due)));
        self.count += 1;
    }

    /// The next thing that is due at `until` or before.
    pub(super) fn next(&mut self, until: Time) -> Option<(Time, Due)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > until {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, due))| (at, due))
    }

    pub(super) fn clear(&mut self) {
        self.heap.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_by_time_and_then_in_order() {
        let mut agenda = Agenda::default();
        for (at, node) in [(5, 1), (3, 9), (5, 0), (8, 4)] {
            agenda.add(Time::from_micros(at), Due::End(node));
        }
        let mut taken = Vec::new();
        while let Some((at, Due::End(node))) = agenda.next(Time::from_micros(7)) {
            taken.push((at.as_micros(), node));
        }
        assert_eq!(taken, [(3, 9), (5, 1), (5, 0)]);
    }
}
