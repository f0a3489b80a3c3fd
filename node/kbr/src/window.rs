//! What became of the messages that were delivered here, so that none is delivered twice.

use std::collections::{BTreeMap, VecDeque};

use crate::id::NodeId;
use crate::message::{MessageId, Outcome};
use crate::transit::Parcel;

/// Messages that are remembered.
pub(crate) const WINDOW: usize = 65_536;
/// Most messages that the layer above works on at once.
pub(crate) const MAX_HANDLING: usize = 16_384;

/// A message: its origin and its id.
pub(crate) type Name = (NodeId, MessageId);

#[derive(Debug)]
pub(crate) enum Progress {
    /// The layer above has it.
    Handling(Parcel),
    /// It was refused here, and the next replica answers for it.
    PassedOn,
    /// It ended here.
    Ended(Box<Outcome>),
}

/// The last [`WINDOW`] messages that were delivered here.
#[derive(Debug, Default)]
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
        match std::mem::replace(progress, Progress::PassedOn) {
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

    /// How the message ended, for those who ask again.
    pub(crate) fn ended(&mut self, name: Name, outcome: Outcome) {
        if let Some(progress) = self.known.get_mut(&name) {
            *progress = Progress::Ended(Box::new(outcome));
        }
    }
}
