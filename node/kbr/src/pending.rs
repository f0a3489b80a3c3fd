//! Messages that started here and have not ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::fingers::Slot;
use crate::id::NodeId;
use crate::message::{MessageId, Routed};
use crate::time::Time;
use crate::transit::{Aim, Parcel};
use crate::window::Name;

/// First hops of one message that are remembered.
const MAX_FIRST_HOPS: usize = 8;

/// Who waits for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The layer above.
    Caller,
    /// Finger repair, for this slot.
    Finger(Slot),
}

#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) owner: Owner,
    /// The message, to be sent a second time.
    pub(crate) routed: Routed,
    pub(crate) aim: Aim,
    /// The addressed node of a direct send has accepted it.
    pub(crate) accepted: bool,
    /// The first hops that it has been sent to: what they bring back is believed.
    pub(crate) sent_to: Vec<NodeId>,
    pub(crate) deadline: Time,
    due: Time,
}

/// What time has brought.
#[derive(Debug)]
pub(crate) enum Due {
    /// Half of the time is over: once more.
    Again(MessageId),
    /// All of it is.
    Over(MessageId),
}

/// A bounded table; each entry leaves it exactly once.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    origins: BTreeMap<MessageId, Origin>,
    due: BTreeSet<(Time, MessageId)>,
    most: usize,
}

impl Pending {
    pub(crate) fn new(most: usize) -> Pending {
        Pending { origins: BTreeMap::new(), due: BTreeSet::new(), most }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.origins.len() >= self.most
    }

    pub(crate) fn contains(&self, id: MessageId) -> bool {
        self.origins.contains_key(&id)
    }

    pub(crate) fn start(&mut self, now: Time, owner: Owner, routed: Routed, aim: Aim, deadline: Time) {
        let id = routed.envelope.id;
        let due = now + deadline.since(now) / 2;
        self.due.insert((due, id));
        self.origins.insert(id, Origin { owner, routed, aim, accepted: false, sent_to: Vec::new(), deadline, due });
    }

    pub(crate) fn get_mut(&mut self, id: MessageId) -> Option<&mut Origin> {
        self.origins.get_mut(&id)
    }

    /// A message, where it is one that started here, is being sent to this node first.
    pub(crate) fn note_hop(&mut self, id: MessageId, to: NodeId) {
        if let Some(origin) = self.origins.get_mut(&id)
            && !origin.sent_to.contains(&to)
        {
            if origin.sent_to.len() == MAX_FIRST_HOPS {
                origin.sent_to.remove(0);
            }
            origin.sent_to.push(to);
        }
    }

    pub(crate) fn end(&mut self, id: MessageId) -> Option<Origin> {
        let origin = self.origins.remove(&id)?;
        self.due.remove(&(origin.due, id));
        Some(origin)
    }

    /// Something that is due. Where all time is over, the caller ends the message.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<Due> {
        let (due, id) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        let origin = self.origins.get_mut(&id)?;
        if now >= origin.deadline {
            return Some(Due::Over(id));
        }
        self.due.remove(&(due, id));
        origin.due = origin.deadline;
        self.due.insert((origin.due, id));
        Some(Due::Again(id))
    }

    /// The ids of all messages of the layer above.
    pub(crate) fn of_caller(&self) -> Vec<MessageId> {
        let callers = self.origins.iter().filter(|(_, origin)| origin.owner == Owner::Caller);
        callers.map(|(id, _)| *id).collect()
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }
}

/// Most messages that wait for a verdict at once.
pub(crate) const MAX_WAITING: usize = 4096;

/// Messages that wait for the applications' verdict.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    transits: BTreeMap<Name, (Time, Parcel)>,
    due: BTreeSet<(Time, NodeId, MessageId)>,
}

impl Waiting {
    pub(crate) fn is_full(&self) -> bool {
        self.transits.len() >= MAX_WAITING
    }

    pub(crate) fn contains(&self, name: Name) -> bool {
        self.transits.contains_key(&name)
    }

    pub(crate) fn push(&mut self, due: Time, name: Name, transit: Parcel) {
        self.due.insert((due, name.0, name.1));
        self.transits.insert(name, (due, transit));
    }

    pub(crate) fn take(&mut self, name: Name) -> Option<Parcel> {
        let (due, transit) = self.transits.remove(&name)?;
        self.due.remove(&(due, name.0, name.1));
        Some(transit)
    }

    pub(crate) fn overdue(&mut self, now: Time) -> Option<Parcel> {
        let (_, origin, id) = self.due.first().copied().filter(|(due, ..)| *due <= now)?;
        self.take((origin, id))
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.due.first().map(|(due, ..)| *due)
    }
}
