//! What became of the messages that were delivered here, so that none is delivered twice.

use std::collections::{BTreeMap, VecDeque};

use crate::failure::Refusal;
use crate::id::NodeId;
use crate::message::{MessageId, Outcome};
use crate::transit::Parcel;

/// Messages that are remembered.
pub(crate) const WINDOW: usize = 65_536;
/// Most messages that the layer above works on at once.
pub(crate) const MAX_HANDLING: usize = 16_384;

/// A message: its origin and its id.
pub(crate) type Name = (NodeId, MessageId);

#[derive(Debug, Clone)]
pub(crate) enum Progress {
    /// The layer above has it.
    Handling(Parcel),
    /// The layer above has done with it; what came of it is noted next.
    Handled,
    /// It was refused here, and the next replica answers for it.
    Refused(Refusal),
    /// It ended here.
    Ended(Box<Outcome>),
}

/// The last [`WINDOW`] messages that were delivered here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    known: BTreeMap<Name, Progress>,
    order: VecDeque<Name>,
    handling: usize,
}

impl Window {
    pub(crate) fn get(&self, name: Name) -> Option<&Progress> {
        self.known.get(&name)
    }

    /// Too many messages are with the layer above.
    pub(crate) fn is_busy(&self) -> bool {
        self.handling >= MAX_HANDLING
    }

    /// The message, which is not known yet, goes to the layer above.
    pub(crate) fn deliver(&mut self, name: Name, transit: Parcel) {
        if self.order.len() == WINDOW
            && let Some(oldest) = self.order.pop_front()
            && matches!(self.known.remove(&oldest), Some(Progress::Handling(_)))
        {
            self.handling -= 1;
        }
        self.known.insert(name, Progress::Handling(transit));
        self.order.push_back(name);
        self.handling += 1;
    }

    /// Takes back a message that the layer above has done with.
    pub(crate) fn handled(&mut self, name: Name) -> Option<Parcel> {
        let progress = self.known.get_mut(&name)?;
        match std::mem::replace(progress, Progress::Handled) {
            Progress::Handling(transit) => {
                self.handling -= 1;
                Some(transit)
            }
            other => {
                *progress = other;
                None
            }
        }
    }

    /// The message goes on from here, and so does each further attempt.
    pub(crate) fn refused(&mut self, name: Name, refusal: Refusal) {
        if let Some(progress) = self.known.get_mut(&name) {
            *progress = Progress::Refused(refusal);
        }
    }

    /// How the message ended, for those who ask again.
    pub(crate) fn ended(&mut self, name: Name, outcome: Outcome) {
        if let Some(progress) = self.known.get_mut(&name) {
            *progress = Progress::Ended(Box::new(outcome));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::{Envelope, Peer, Purpose, Routed};
    use crate::time::Time;
    use crate::transit::{Aim, Transit};

    fn parcel(id: MessageId) -> Parcel {
        let origin = Peer { id: NodeId::ZERO, addr: ([10, 0, 0, 1], 1).into() };
        let (refused, via, path) = (Vec::new(), Vec::new(), None);
        let envelope =
            Envelope { id, origin, key: None, purpose: Purpose::Lookup, hops: 0, remaining_ms: 1, refused, via, path };
        let routed = Routed { envelope, header: Bytes::new(), payload: Bytes::new() };
        Box::new(Transit {
            routed,
            previous: origin,
            deadline: Time::ZERO,
            tried: Vec::new(),
            waited: false,
            asked: false,
            aim: Aim::Ring,
        })
    }

    #[test]
    fn a_message_is_taken_back_once() {
        let mut window = Window::default();
        let name = (NodeId::ZERO, 1);
        window.deliver(name, parcel(1));
        assert!(matches!(window.get(name), Some(Progress::Handling(_))));
        assert!(window.handled(name).is_some());
        assert!(window.handled(name).is_none());
        assert!(matches!(window.get(name), Some(Progress::Handled)));
        let outcome = Outcome::failed(1, Purpose::Lookup, crate::Failure::Deadline);
        window.ended(name, outcome);
        assert!(matches!(window.get(name), Some(Progress::Ended(_))));
        assert!(window.handled(name).is_none());
    }

    #[test]
    fn the_oldest_are_forgotten_and_what_is_handled_is_bounded() {
        let mut window = Window::default();
        for id in 0..MAX_HANDLING as u64 {
            assert!(!window.is_busy());
            window.deliver((NodeId::ZERO, id), parcel(id));
        }
        assert!(window.is_busy());
        window.handled((NodeId::ZERO, 7));
        assert!(!window.is_busy());
        for id in 0..WINDOW as u64 {
            window.deliver((NodeId::hash(b"other"), id), parcel(id));
            window.handled((NodeId::hash(b"other"), id));
        }
        assert_eq!((window.known.len(), window.order.len(), window.handling), (WINDOW, WINDOW, 0));
        assert!(window.get((NodeId::ZERO, 3)).is_none());
    }
}
