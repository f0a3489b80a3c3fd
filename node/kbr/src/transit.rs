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
#[derive(Debug, Clone)]
pub(crate) struct Transit {
    pub(crate) routed: Routed,
    /// The node it came from; this node where it starts here.
    pub(crate) previous: Peer,
    pub(crate) deadline: Time,
    /// Next hops that failed.
    pub(crate) tried: Vec<NodeId>,
    /// It has waited here for a way on.
    pub(crate) waited: bool,
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

#[derive(Debug, Clone)]
struct Slot {
    seq: u64,
    sent: Time,
    /// None once acknowledged.
    transit: Option<Parcel>,
}

/// What an acknowledgement brought.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) transits: Vec<Parcel>,
    /// From the sending of the newest of them.
    pub(crate) rtt: Option<Duration>,
}

/// Hops that wait for their acknowledgement: for each peer a queue in order of sequence number, and so of time.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, Default)]
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::{Envelope, Purpose};

    fn parcel(id: u64, aim: Aim) -> Parcel {
        let origin = peer(b"origin");
        let (refused, via, path) = (Vec::new(), Vec::new(), None);
        let envelope =
            Envelope { id, origin, key: None, purpose: Purpose::Lookup, hops: 0, remaining_ms: 1, refused, via, path };
        let routed = Routed { envelope, header: Bytes::new(), payload: Bytes::new() };
        let deadline = Time::from_micros(u64::MAX);
        Box::new(Transit { routed, previous: origin, deadline, tried: Vec::new(), waited: false, asked: false, aim })
    }

    fn peer(name: &[u8]) -> Peer {
        Peer { id: NodeId::hash(name), addr: ([10, 0, 0, 1], 1).into() }
    }

    fn ids(transits: &[Parcel]) -> Vec<u64> {
        transits.iter().map(|transit| transit.routed.envelope.id).collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn hops_are_acknowledged_once_and_only_by_whom_they_went_to() {
        let (a, b) = (peer(b"a").id, peer(b"b").id);
        let mut hops = InFlight::new(10);
        for id in 0..6 {
            let seq = hops.push(Time::from_micros(id), if id == 2 { b } else { a }, SECOND, parcel(id, Aim::Ring));
            assert_eq!(seq, 10 + id);
        }
        let done = hops.acknowledge(Time::from_micros(100), a, &[(11, 2), (13, 1)]);
        assert_eq!(ids(&done.transits), [1, 3]);
        assert_eq!(done.rtt, Some(Duration::from_micros(97)));
        assert_eq!(hops.waiting(a), 5, "the first still waits, and those behind it in its queue");
        let done = hops.acknowledge(Time::ZERO, a, &[(u64::MAX, u32::MAX), (11, 1), (0, u32::MAX)]);
        assert_eq!(ids(&done.transits), [0, 4, 5]);
        assert_eq!((hops.waiting(a), hops.waiting(b)), (0, 1));
        assert!(hops.acknowledge(Time::ZERO, a, &[(0, u32::MAX)]).rtt.is_none());
        assert_eq!(ids(&hops.take(b)), [2]);
    }

    #[test]
    fn hops_time_out_in_the_order_they_were_sent() {
        let a = peer(b"a").id;
        let mut hops = InFlight::new(0);
        hops.push(Time::ZERO, a, SECOND, parcel(0, Aim::Ring));
        hops.push(Time::ZERO + SECOND / 2, a, SECOND, parcel(1, Aim::Ring));
        assert_eq!(hops.earliest(), Some(Time::ZERO + SECOND));
        assert!(hops.overdue(Time::ZERO + SECOND / 2, |_| SECOND).is_empty());
        let late = hops.overdue(Time::ZERO + SECOND, |_| SECOND);
        assert_eq!(late.len(), 1);
        assert_eq!((late[0].0, ids(&late[0].1)), (a, vec![0]));
        assert_eq!(hops.earliest(), Some(Time::ZERO + SECOND + SECOND / 2));
        hops.acknowledge(Time::ZERO + SECOND, a, &[(1, 1)]);
        assert!(hops.overdue(Time::ZERO + SECOND * 2, |_| SECOND).is_empty());
        assert_eq!(hops.earliest(), None);
    }

    #[test]
    fn held_messages_come_back_in_time_or_when_released() {
        let (a, b) = (peer(b"a"), peer(b"b"));
        let mut held = Held::default();
        held.push(Time::ZERO + SECOND, parcel(0, Aim::Ring));
        held.push(Time::ZERO + SECOND, parcel(1, Aim::Node(a)));
        held.push(Time::ZERO + SECOND, parcel(2, Aim::Node(b)));
        assert!(held.overdue(Time::ZERO).is_none());
        assert_eq!(ids(&held.take_for(a.id)), [1]);
        held.release(Time::ZERO);
        let back: Vec<Parcel> = std::iter::from_fn(|| held.overdue(Time::ZERO)).collect();
        assert_eq!(ids(&back), [0, 2]);
        assert_eq!(held.earliest(), None);
    }

    #[test]
    fn a_message_forgets_its_failed_hops_rather_than_collect_them_without_end() {
        let mut transit = parcel(0, Aim::Ring);
        (0..1000u32).for_each(|hop| transit.fail(NodeId::hash(&hop.to_be_bytes())));
        assert!(transit.tried.len() <= MAX_TRIED);
    }
}
