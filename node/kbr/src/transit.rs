//! Messages that this node answers for: sent and not acknowledged yet, or held back.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use crate::id::NodeId;
use crate::message::{Peer, Routed};
use crate::time::Time;

/// Most messages that wait for any next hop to become usable.
pub(crate) const MAX_HELD: usize = 4096;
/// Most hops that are remembered as failed for one message.
const MAX_TRIED: usize = 64;

/// Where a message goes from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Toward its key, or to the next replica where it has been refused.
    Ring,
    /// First to this node, then toward its key.
    First(Peer),
    /// To this node and no other.
    Node(Peer),
}

/// A message, and what this node knows of its way.
#[derive(Debug)]
pub(crate) struct Transit {
    pub(crate) routed: Routed,
    /// The node it came from; this node where it starts here.
    pub(crate) previous: Peer,
    pub(crate) deadline: Time,
    /// Next hops that failed.
    pub(crate) tried: Vec<NodeId>,
    /// The applications here have had their say.
    pub(crate) asked: bool,
    pub(crate) aim: Aim,
}

/// A message on its way: boxed, as it is large and moves from queue to queue.
pub(crate) type Parcel = Box<Transit>;

impl Transit {
    pub(crate) fn fail(&mut self, hop: NodeId) {
        if self.tried.len() == MAX_TRIED {
            self.tried.clear();
        }
        self.tried.push(hop);
    }
}

#[derive(Debug)]
struct Slot {
    seq: u64,
    sent: Time,
    /// None once acknowledged.
    transit: Option<Parcel>,
}

/// What an acknowledgement brought.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) transits: Vec<Parcel>,
    /// From the sending of the newest of them.
    pub(crate) rtt: Option<Duration>,
}

/// Hops that wait for their acknowledgement: for each peer a queue in order of sequence number, and so of time.
#[derive(Debug)]
pub(crate) struct InFlight {
    queues: BTreeMap<NodeId, VecDeque<Slot>>,
    next_seq: u64,
    /// Not after the first timeout; it may be before, so that sending need not look at every queue.
    due: Option<Time>,
}

impl InFlight {
    pub(crate) fn new(first_seq: u64) -> InFlight {
        InFlight { queues: BTreeMap::new(), next_seq: first_seq, due: None }
    }

    /// Hops to this peer that wait.
    pub(crate) fn waiting(&self, to: NodeId) -> usize {
        self.queues.get(&to).map_or(0, VecDeque::len)
    }

    /// The sequence number of the hop, which times out after `timeout`.
    pub(crate) fn push(&mut self, now: Time, to: NodeId, timeout: Duration, transit: Parcel) -> u64 {
        let seq = self.next_seq;
        self.next_seq = self.next_seq.wrapping_add(1);
        let queue = self.queues.entry(to).or_default();
        if queue.is_empty() {
            let due = now + timeout;
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
        queue.push_back(Slot { seq, sent: now, transit: Some(transit) });
        seq
    }

    pub(crate) fn acknowledge(&mut self, now: Time, from: NodeId, runs: &[(u64, u32)]) -> Acknowledged {
        let mut done = Acknowledged { transits: Vec::new(), rtt: None };
        let Some(queue) = self.queues.get_mut(&from) else { return done };
        for (first, count) in runs {
            let end = first.saturating_add(u64::from(*count));
            let start = queue.partition_point(|slot| slot.seq < *first);
            for slot in queue.range_mut(start..).take_while(|slot| slot.seq < end) {
                if let Some(transit) = slot.transit.take() {
                    done.transits.push(transit);
                    done.rtt = Some(now.since(slot.sent));
                }
            }
        }
        while queue.front().is_some_and(|slot| slot.transit.is_none()) {
            queue.pop_front();
        }
        done
    }

    /// Takes all hops to a peer.
    pub(crate) fn take(&mut self, to: NodeId) -> Vec<Parcel> {
        let queue = self.queues.remove(&to).unwrap_or_default();
        queue.into_iter().filter_map(|slot| slot.transit).collect()
    }

    /// Takes the hops that have timed out, by peer.
    pub(crate) fn overdue(&mut self, now: Time, timeout: impl Fn(NodeId) -> Duration) -> Vec<(NodeId, Vec<Parcel>)> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = None;
        self.queues.retain(|_, queue| !queue.is_empty());
        let mut late = Vec::new();
        for (to, queue) in &mut self.queues {
            let timeout = timeout(*to);
            let count = queue.partition_point(|slot| slot.sent + timeout <= now);
            if count > 0 {
                late.push((*to, queue.drain(..count).filter_map(|slot| slot.transit).collect()));
            }
            if let Some(slot) = queue.front() {
                let due = slot.sent + timeout;
                self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
            }
        }
        late
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.due
    }
}

/// Messages that no next hop can take at present, each to be tried again after the same time.
#[derive(Debug, Default)]
pub(crate) struct Held(VecDeque<(Time, Parcel)>);

impl Held {
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_HELD
    }

    pub(crate) fn push(&mut self, again: Time, transit: Parcel) {
        self.0.push_back((again, transit));
    }

    /// Takes one that is due.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<Parcel> {
        self.0.front().filter(|(again, _)| *again <= now)?;
        self.0.pop_front().map(|(_, transit)| transit)
    }

    /// Something has changed: all are due.
    pub(crate) fn release(&mut self, now: Time) {
        for (again, _) in &mut self.0 {
            *again = now;
        }
    }

    /// Takes those for this node and no other.
    pub(crate) fn take_for(&mut self, id: NodeId) -> Vec<Parcel> {
        let only = |aim: Aim| matches!(aim, Aim::Node(peer) if peer.id == id);
        let (taken, kept) = std::mem::take(&mut self.0).into_iter().partition(|(_, transit)| only(transit.aim));
        self.0 = kept;
        let taken: VecDeque<(Time, Parcel)> = taken;
        taken.into_iter().map(|(_, transit)| transit).collect()
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.0.front().map(|(again, _)| *again)
    }
}
