//! Messages that started here and have not ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;
use crate::message::{MessageId, Routed};
use crate::time::Time;
use crate::transit::{Aim, Parcel};
use crate::window::Name;

/// Who waits for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The layer above.
    Caller,
    /// Finger repair, for this exponent.
    Finger(u32),
}

#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) owner: Owner,
    /// The message, to be sent a second time.
    pub(crate) routed: Routed,
    pub(crate) aim: Aim,
    /// The addressed node of a direct send has accepted it.
    pub(crate) accepted: bool,
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
#[derive(Debug)]
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
        self.origins.insert(id, Origin { owner, routed, aim, accepted: false, deadline, due });
    }

    pub(crate) fn get_mut(&mut self, id: MessageId) -> Option<&mut Origin> {
        self.origins.get_mut(&id)
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
#[derive(Debug, Default)]
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
