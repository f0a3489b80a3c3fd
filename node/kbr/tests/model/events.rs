//! What is under way, and which of it happens next.

use prost_kbr::{Message, Time};

use crate::world::{Place, World};

/// Something that will happen to a node.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Frame {
        from: Place,
        message: Box<Message>,
    },
    /// The transport gives up the connection to a dead node.
    Notice {
        dead: Place,
    },
    /// A dial has come to an end.
    Connect {
        to: Place,
        by_address: bool,
    },
}

/// Whether an event is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delay {
    None,
    /// Until something else has happened to its node, or for as long as it may take at most.
    Next,
    /// For as long as it may take at most.
    Longest,
}

#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) seq: u64,
    pub(crate) node: Place,
    pub(crate) at: Time,
    pub(crate) latest: Time,
    pub(crate) delay: Delay,
    pub(crate) event: Event,
    /// Identifies the event by what caused it.
    pub(crate) origin: u64,
}

impl Pending {
    /// What comes from the same node comes in the order sent.
    fn channel(&self) -> Option<(Place, Place)> {
        match self.event {
            Event::Frame { from, .. } => Some((from, self.node)),
            Event::Notice { dead } => Some((dead, self.node)),
            Event::Connect { .. } => None,
        }
    }

    fn due(&self) -> Time {
        if self.delay == Delay::None { self.at } else { self.latest }
    }
}

/// The next thing to happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) at: Time,
    pub(crate) node: Place,
    /// Where it is in [`World::pending`]; none for the node's own timer.
    pub(crate) pending: Option<usize>,
    /// It can still come later.
    pub(crate) can_wait: bool,
}

impl World {
    /// The earliest event. Of several at the same time the order does not depend on how the world came to be so.
    pub(crate) fn due(&self) -> Option<Due> {
        let events = (0..self.pending.len()).filter(|at| self.is_first_of_its_channel(*at)).map(|at| {
            let pending = &self.pending[at];
            let due = pending.due().max(self.now);
            let can_wait = pending.delay == Delay::None && due < pending.latest;
            let from = pending.channel().map_or(0, |(from, _)| from + 1);
            let key = (due, pending.node, from, pending.origin);
            (key, Due { at: due, node: pending.node, pending: Some(at), can_wait })
        });
        let wakes = (0..self.nodes.len()).filter_map(|node| {
            let (wanted, latest) = self.wake_times(node)?;
            let held = self.nodes[node].wake != Delay::None;
            let at = if held { latest } else { wanted }.max(self.now);
            let key = (at, node, usize::MAX, 0);
            Some((key, Due { at, node, pending: None, can_wait: !held && at < latest }))
        });
        events.chain(wakes).min_by_key(|(key, _)| *key).map(|(_, due)| due)
    }

    fn is_first_of_its_channel(&self, at: usize) -> bool {
        let this = &self.pending[at];
        let Some(channel) = this.channel() else { return true };
        !self.pending.iter().any(|other| other.seq < this.seq && other.channel() == Some(channel))
    }

    /// Holds the next event back.
    pub(crate) fn delay(&mut self, delay: Delay) {
        match self.due() {
            Some(Due { pending: Some(at), .. }) => self.pending[at].delay = delay,
            Some(Due { node, .. }) => self.node(node).wake = delay,
            None => {}
        }
    }

    /// Nothing is on its way but the timers of the machines.
    pub(crate) fn is_quiet(&self) -> bool {
        self.pending.is_empty()
    }
}
